"""Other libraries in fnopt's terms: their names, their arguments, their numbers."""
