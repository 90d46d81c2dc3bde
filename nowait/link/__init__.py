"""Connections to the broker on an asyncio loop: opened, carried, lost, opened again. Knows nothing of tasks."""
