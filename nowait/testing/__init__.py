"""A bridge without broker and workers, for the tests of programs that use one."""

from nowait.testing.bridge import FakeBridge

__all__ = ["FakeBridge"]
