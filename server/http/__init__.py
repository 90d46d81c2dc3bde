"""What all routes share: requests in, answers and problem documents out."""
