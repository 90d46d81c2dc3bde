"""What the metrics of servers and workers stand on; who has no metrics loads none of it."""
