"""Other libraries' names and exact numbers, for those who come from them."""
