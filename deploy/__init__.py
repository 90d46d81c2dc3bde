"""Everything about where Nowait runs: the local stack, requirements, units and images."""
