"""AMQP 0-9-1: bytes and events, in both directions. Imports nothing of the project; no I/O."""
