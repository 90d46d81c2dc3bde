"""The HTTP handlers: parse, one call, write. Each module ends with its routes."""
