"""Methods that need nothing but the gradient, one a file."""
