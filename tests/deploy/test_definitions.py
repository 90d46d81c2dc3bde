"""The definitions of a cluster, made of those of one broker."""

import json
import os
import subprocess
import sys

import pytest

from deploy.broker.definitions import clustered, password_hash
from nowait.topology import Topology
from tasks.app import app
from tests.conftest import ROOT

SCRIPT = ROOT / "deploy/broker/definitions.py"
ONE = json.loads((ROOT / "deploy/broker/definitions.json").read_text())


def test_tasks_jobs_and_dead_letters_are_in_quorum_queues() -> None:
    types = {queue["name"]: queue["arguments"].get("x-queue-type", "classic") for queue in clustered(ONE)["queues"]}
    tasks = {queue.name for queue in app.conf.task_queues}
    assert {name for name, kind in types.items() if kind == "quorum"} == tasks | {"queries.dead"}
    assert (types["topics.log"], types["parcels"]) == ("stream", "classic")


def test_all_else_is_as_with_one_broker() -> None:
    def bare(definitions: dict[str, object]) -> dict[str, object]:
        return {key: value for key, value in definitions.items() if key != "queues"}

    found = clustered(ONE)
    assert bare(found) == bare(ONE)
    for queue, one in zip(found["queues"], ONE["queues"], strict=True):
        assert {**queue, "arguments": {}} == {**one, "arguments": {}}
        # What a quorum queue may have, too: bounds in bytes, and the head that is dropped.
        assert queue["arguments"].items() >= one["arguments"].items()


def test_a_password_is_hashed_as_the_broker_does() -> None:
    # The example of https://www.rabbitmq.com/docs/passwords
    assert password_hash("test12", bytes.fromhex("908DC60A")) == "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"


@pytest.mark.parametrize(
    ("passwords", "status", "error"),
    [
        ({"SERVER_PASSWORD": "a", "WORKER_PASSWORD": "b"}, 0, ""),
        ({"SERVER_PASSWORD": "a"}, 2, "WORKER_PASSWORD is missing: a password\n"),
    ],
)
def test_the_command_prints_definitions_with_hashes_alone(
    passwords: dict[str, str], status: int, error: str
) -> None:
    environment = {"PATH": os.environ["PATH"], **passwords}
    command = [sys.executable, str(SCRIPT), "--passwords"]
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (status, error)
    if status == 0:
        hashes = [user["password_hash"] for user in json.loads(done.stdout)["users"]]
        assert len(set(hashes)) == 2 and all(len(each) == 48 for each in hashes)


def test_workers_of_a_cluster_know_the_type_of_their_queues() -> None:
    (queue,) = Topology.clustered().queues(["queries"])
    assert queue.queue_arguments == {"x-queue-type": "quorum"} and queue.no_declare
    assert not any(queue.queue_arguments for queue in Topology.provisioned().queues(["queries"]))
