"""The definitions of a cluster: those of one broker, definitions.json, with its queues on several nodes.

    python3 deploy/broker/definitions.py [--passwords] >cluster.json

The two users are to be there already; with --passwords they are among the definitions, and have SERVER_PASSWORD and
WORKER_PASSWORD of the environment, as salted hashes. Needs nothing but Python.
"""

import argparse
import base64
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SOURCE = Path(__file__).with_name("definitions.json")
# A message that comes back more often is dropped, as RabbitMQ 4 has it by itself; RabbitMQ 3 would go on for ever.
_DELIVERY_LIMIT = 20
_NODES = 3


def clustered(definitions: dict[str, Any]) -> dict[str, Any]:
    """Those definitions with quorum queues for tasks, jobs and dead letters.

    The log of the topics is a stream, with a replica on each of three nodes. A queue of messages is a classic one
    still: a quorum queue keeps its bound only about.
    """
    tasks = {binding["destination"] for binding in definitions["bindings"] if binding["source"] in ("tasks", "dead")}
    queues = []
    for queue in definitions["queues"]:
        further: dict[str, Any] = {}
        if queue["name"] in tasks:
            further = {"x-queue-type": "quorum", "x-delivery-limit": _DELIVERY_LIMIT}
        elif queue["arguments"].get("x-queue-type") == "stream":
            further = {"x-initial-cluster-size": _NODES}
        queues.append({**queue, "arguments": {**queue["arguments"], **further}})
    return {**definitions, "queues": queues}


def with_passwords(definitions: dict[str, Any], passwords: Mapping[str, str]) -> dict[str, Any]:
    """Those definitions with the users and the hashes of their passwords, of variables such as SERVER_PASSWORD.

    Raises KeyError when one is missing.
    """
    users = [
        {
            "name": name,
            "password_hash": password_hash(passwords[f"{name.upper()}_PASSWORD"], os.urandom(4)),
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": [],
            "limits": {},
        }
        for name in (rights["user"] for rights in definitions["permissions"])
    ]
    return {**definitions, "users": users}


def password_hash(password: str, salt: bytes) -> str:
    """As RabbitMQ keeps it, with a salt of 4 bytes: https://www.rabbitmq.com/docs/passwords#computing-password-hash"""
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def main() -> int:
    """Print them. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Prints the definitions of a cluster of brokers.")
    parser.add_argument("--passwords", action="store_true", help="with SERVER_PASSWORD and WORKER_PASSWORD, hashed")
    options = parser.parse_args()
    definitions = clustered(json.loads(_SOURCE.read_text()))
    if options.passwords:
        try:
            definitions = with_passwords(definitions, os.environ)
        except KeyError as error:
            print(f"{error.args[0]} is missing: a password", file=sys.stderr)
            return 2
    print(json.dumps(definitions, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
