"""The figures of a server process: what its metrics and its live page stand on."""
