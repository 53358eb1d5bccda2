"""Methods that need the loss as a function: products with matrices of curvature, line searches."""
