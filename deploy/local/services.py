"""Broker and database: the ones that the environment names, private ones otherwise."""

import os
from collections.abc import Mapping
from pathlib import Path

from deploy.local import programs
from deploy.local.broker import Broker
from deploy.local.database import Database

# Bytes of one message; larger than any reply of a worker (16 MiB).
_LIMIT = "max_message_size = 20971520\n"


class Services:
    """A broker and a database to use.

    Args:
        folder: where private ones keep their data.
        environment: what it names with NOWAIT_BROKER_URL and NOWAIT_DATABASE_URL is used as it
            is; only what it does not name is started.

    Attributes:
        broker: the private broker, None when one was given.
        database: the private database, None when one was given.
        broker_url: of the one to use.
        database_url: of the one to use.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] = os.environ) -> None:
        given_broker = environment.get("NOWAIT_BROKER_URL")
        given_database = environment.get("NOWAIT_DATABASE_URL")
        self.broker = None if given_broker else Broker(folder / "broker", config=_LIMIT)
        self.database = None if given_database else Database(folder / "database")
        self.broker_url = given_broker or (self.broker.url if self.broker else "")
        self.database_url = given_database or (self.database.url if self.database else "")

    def start(self) -> None:
        """Start what is private, side by side, and wait until all of it serves.

        Raises LocalError.
        """
        private = [service for service in (self.broker, self.database) if service is not None]
        # All at once, so that whoever has to install them does so once.
        programs.require([program for service in private for program in service.programs])
        for service in private:
            service.start()
        for service in private:
            service.wait_ready()

    def stop(self, timeout: float = 10.0) -> None:
        """Stop what was started, side by side; SIGKILL after `timeout` seconds."""
        private = [service for service in (self.broker, self.database) if service is not None]
        for service in private:
            service.terminate()
        for service in private:
            service.stop(timeout)

    def environment(self) -> dict[str, str]:
        """The settings that make server and worker use them."""
        return {"NOWAIT_BROKER_URL": self.broker_url, "NOWAIT_DATABASE_URL": self.database_url}
