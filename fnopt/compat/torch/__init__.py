"""torch's optimizers and schedulers as values of fnopt."""
