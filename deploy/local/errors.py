"""What the local stack tells its user instead of a traceback."""


class LocalError(Exception):
    """The local stack cannot go on; the text says what to do next."""
