"""Answers to queries: one for all who ask for the same at once, and kept for as long as the query says."""
