"""JSON that is encoded once, and passed on as it is."""

import json
from typing import Any

from nowait.budget import Share

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Encoded:
    """A JSON value as its text.

    A task may return one: with `nowait.worker:Results` its text is sent as the result, as it is; all other result
    backends, and messages to other tasks, get the value. A call that was sent with `encoded=True` results in one.

    Args:
        parts: of the text, which is UTF-8; that it is JSON is not checked.
        share: of a budget, for as long as the text is held; None for none.

    Attributes:
        parts: as given; none once it is released.
    """

    __slots__ = ("parts", "_share")

    def __init__(self, *parts: bytes | memoryview, share: Share | None = None) -> None:
        self.parts = parts
        self._share = share

    @classmethod
    def of(cls, value: Any, share: Share | None = None) -> "Encoded":
        """The compact text of a JSON value. Raises TypeError or ValueError for what is none."""
        # In parts: encoding all of it at once would keep the GIL to its end.
        text = "".join(_ENCODER.iterencode(value))
        # A lone surrogate has no UTF-8 form; its backslash escape is its JSON form.
        return cls(text.encode("utf-8", "backslashreplace"), share=share)

    def __len__(self) -> int:
        """Bytes."""
        return sum(map(len, self.parts))

    def __bytes__(self) -> bytes:
        return b"".join(self.parts)

    def __repr__(self) -> str:
        return f"<Encoded {len(self)} bytes>"

    def decode(self) -> Any:
        """The value. Raises ValueError when it is not JSON."""
        return json.loads(bytes(self))

    def __json__(self) -> Any:
        """What kombu encodes in its place."""
        return self.decode()

    def release(self) -> None:
        """The text is not needed any more: its bytes no longer count as held, see `Bridge`."""
        self.parts = ()
        if self._share is not None:
            self._share.release()
