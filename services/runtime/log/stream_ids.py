"""What streams are called: `<kind>/<key>`. The one place where such a name is made or read."""

from __future__ import annotations

from typing import Final

REFUSED: Final = "refused/"


def stream_id(kind: str, key: str) -> str:
    """Return the id of the stream of a kind; the key may hold a slash, the kind may not."""
    return f"{kind}/{key}"


def kind_of(stream_id: str) -> str:
    """Return the kind of a stream; that of refusals is the kind of what was refused."""
    return stream_id.removeprefix(REFUSED).partition("/")[0]


def key_of(stream_id: str) -> str:
    """Return what tells a stream from the others of its kind."""
    return stream_id.partition("/")[2]


def of_kind(kind: str) -> str:
    """Return what the ids of all streams of a kind begin with."""
    return stream_id(kind, "")


def refusals_of(stream_id: str) -> str:
    """Return what the streams of requests begin with that were refused because of `stream_id`."""
    return f"{REFUSED}{stream_id}/"
