"""How messages travel: sockets and what keeps them drained."""
