"""The address of the metrics, when clients are not as they should be."""

import subprocess
import sys

SILENT = """
import socket, time, urllib.request
from prometheus_client import CollectorRegistry
from deploy.local.process import free_port
from nowait.metrics import exposition
from nowait.settings import HostPort
from threading import active_count

exposition._Request.timeout = 1.0
at = HostPort("%s", free_port())
exposition.listen(at, CollectorRegistry())
before = active_count()
silent = [socket.create_connection(at) for _ in range(200)]
# Those for which there is no room are closed; the others are, too, when nothing has come.
for connection in silent:
    connection.settimeout(30.0)
    assert connection.recv(1) == b""
    assert active_count() <= before + 16
while active_count() > before:
    time.sleep(0.01)
with urllib.request.urlopen(f"http://{at}/metrics") as answer:
    print("nowait_build_info" in answer.read().decode())
"""


def test_clients_that_send_nothing_take_few_threads_and_are_closed() -> None:
    for host in ("127.0.0.1", "::1"):
        found = subprocess.run([sys.executable, "-c", SILENT % host], capture_output=True, text=True, timeout=100)
        assert (found.stdout, found.stderr) == ("True\n", "")
