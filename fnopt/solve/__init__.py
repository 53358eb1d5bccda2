"""Whole deterministic solves as one compiled loop: ``minimize`` and ``least_squares``."""
