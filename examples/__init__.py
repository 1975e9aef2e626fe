"""Small complete programs. Each starts its own node, does its work, and ends with exit code 0 only when all is right."""
