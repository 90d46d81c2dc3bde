"""Publish and subscribe: topics, and the log that has their messages."""
