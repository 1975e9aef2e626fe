"""Who may come in by HTTP: users, tokens, sessions of browsers, and limits on guessing."""
