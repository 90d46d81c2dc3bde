"""Schedules: edited by clients, followed by the scheduler."""
