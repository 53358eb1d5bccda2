"""Learning rates (and any other number) by the count of updates, and by the metrics of a run."""
