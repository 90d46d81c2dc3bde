"""Celery's messages: made, checked, read. No I/O."""
