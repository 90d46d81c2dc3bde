"""What a server does, as metrics of Prometheus, at an address of their own. Imported where there is one alone."""
