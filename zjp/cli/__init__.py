"""The zjp command; a file per group of verbs."""
