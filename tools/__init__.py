"""What writes the files that are drawn from the methods: ``make generate``."""
