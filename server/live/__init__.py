"""What the live page shows of the server, while somebody looks."""
