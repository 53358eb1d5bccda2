"""Methods that need a matrix, and their linear algebra."""
