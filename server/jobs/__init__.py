"""Durable jobs: kept in the database, run by workers, read by clients."""
