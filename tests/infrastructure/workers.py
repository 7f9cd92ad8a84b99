"""Which tests of a parallel run one worker does, one after the other."""

from __future__ import annotations

from typing import Final

from xdist.scheduler import LoadScopeScheduling

ALONE: Final = (
    "tests/faults/test_back_pressure.py",
    "tests/faults/test_slow_database.py",
)
"""They compare what flows in with what flows out, which takes the whole machine: they come last."""
_TOGETHER: Final = ("tests/clients/", "tests/gateways/")
"""Their files fetch the same packages into one cache, or use one server."""


def together(nodeid: str) -> str:
    """Return what a test shares with those that the same worker does."""
    if nodeid.startswith(ALONE):
        return "alone"
    shared = (folder for folder in _TOGETHER if nodeid.startswith(folder))
    return next(shared, nodeid.partition("::")[0])


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """A file goes to one worker, since its tests may share a stack; so do some files together."""

    def _split_scope(self, nodeid: str) -> str:
        return together(nodeid)
