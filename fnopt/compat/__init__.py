"""The optimizers of other libraries by their names and with their exact semantics."""
