"""Methods that need the loss as a function: products with matrices of curvature, line searches."""

from fnopt.curvature.bounds import projected_gradient as projected_gradient
