"""What make runs: the installation, and what writes the files that are drawn from the methods."""
