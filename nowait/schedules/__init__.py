"""Schedules: what servers, who edit them, and schedulers, who follow them, share. Each is one row of `schedules`."""
