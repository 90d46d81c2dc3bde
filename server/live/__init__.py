"""What the live page shows of all server processes."""
