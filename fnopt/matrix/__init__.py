"""Methods that treat a leaf as a matrix, and their linear algebra."""
