"""Jobs that wait: the store's protocol and the stores that keep it."""
