"""The only place where the parts are joined."""
