"""The times of leases and messages for tests in which very many are lost."""

from types import ModuleType

TIMES = {"LEASE": 2.0, "HEARTBEAT": 0.4, "UNCONFIRMED": 1.0}


def shorten(*modules: ModuleType) -> None:
    """Have these modules use TIMES, each those that it knows."""
    for module in modules:
        for name in TIMES.keys() & vars(module).keys():
            setattr(module, name, TIMES[name])
