"""What is a layer, read off a traced program."""
