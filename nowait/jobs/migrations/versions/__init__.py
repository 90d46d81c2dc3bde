"""The revisions, each with the number of its file."""
