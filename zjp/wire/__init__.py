"""What is said: every message, and how it becomes frames."""
