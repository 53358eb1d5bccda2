"""What acts on whole trees of updates or contains an optimizer."""
