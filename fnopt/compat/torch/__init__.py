"""torch.optim: its names, its defaults and its exact trajectories."""
