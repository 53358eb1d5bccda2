"""The names and exact semantics of torch.optim, and how torch begins."""
