"""The reply queue at a broker that answers everything but the declaration of a queue, and sends its heartbeats."""

import socket
import struct
import threading
from typing import Any

import pytest
from amqp.serialization import dumps
from celery import Celery

from nowait.bridge.reply_queue import ReplyQueue
from nowait.link.opener import ConnectionLost, Opener

_HEARTBEAT = b"\x08\0\0\0\0\0\0\xce"
# What is answered, by the method that was received (0 for the protocol's header): channel, method, fields.
_ANSWERS: dict[tuple[int, int], tuple[int, int, int, str, tuple[Any, ...]]] = {
    (0, 0): (0, 10, 10, "ooFSS", (0, 9, {}, "PLAIN", "en_US")),
    (10, 11): (0, 10, 30, "BlB", (2047, 131072, 4)),
    (10, 40): (0, 10, 41, "s", ("",)),
    (20, 10): (1, 20, 11, "S", ("",)),
}


class Broker:
    """One that never answers a declaration.

    Attributes:
        port: where it listens.
        declared: the queues that were declared, in order.
        heartbeats: sent while they waited for an answer.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.declared: list[str] = []
        self.heartbeats = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
                with sock, sock.makefile("rb") as received:
                    received.read(8)
                    self._answer(sock, (0, 0))
                    while head := received.read(7):
                        payload = received.read(struct.unpack(">BHI", head)[2] + 1)
                        self._answer(sock, struct.unpack_from(">HH", payload))
                        if payload.startswith(struct.pack(">HH", 50, 10)):
                            self.declared.append(payload[7 : 7 + payload[6]].decode())
                            self._wait(sock)
            except OSError:
                if self._listener.fileno() < 0:
                    return

    def _answer(self, sock: socket.socket, method: Any) -> None:
        if method in _ANSWERS:
            channel, class_id, method_id, formats, values = _ANSWERS[method]
            payload = struct.pack(">HH", class_id, method_id) + bytes(dumps(formats, values))
            sock.sendall(struct.pack(">BHI", 1, channel, len(payload)) + payload + b"\xce")

    def _wait(self, sock: socket.socket) -> None:
        """Send ten heartbeats at the pace that was agreed, a half of 4 seconds, or until the client hangs up."""
        sock.settimeout(2.0)
        for _ in range(10):
            try:
                if not sock.recv(1):
                    return
            except TimeoutError:
                sock.sendall(_HEARTBEAT)
                self.heartbeats += 1


def test_a_reply_queue_whose_node_does_not_answer_is_given_up_for_another_one() -> None:
    broker = Broker()
    app = Celery(broker=f"amqp://127.0.0.1:{broker.port}//", set_as_current=False)
    opener = Opener(app.connection_for_read(), app.connection_for_write(), ReplyQueue("replies", "").declare)
    for _ in range(3):
        with pytest.raises(ConnectionLost, match="timed out"):
            opener.open()
    broker.close()
    assert broker.heartbeats == 0
    first, second, third = broker.declared
    assert first == second == "replies" and third.startswith("replies.")
