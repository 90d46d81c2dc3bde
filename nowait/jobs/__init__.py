"""Durable jobs: what servers and workers share of them. Each job is one row of the table `jobs`."""
