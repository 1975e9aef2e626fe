"""What each route does: one file per group of them, each with its rows of the table."""
