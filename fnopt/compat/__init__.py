"""Other libraries' names and exact semantics."""
