"""Cuts the table of amounts into runs of pages, so that a fold of all is many short transactions.

Rows are only added, so those up to fixed positions lie in the pages that the table has now, each in
one: many short looks see the same as a long one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from services.runtime.errors import Transient

PAGES: Final = 8192
"""64 MiB: some 500,000 rows."""
EXTENT: Final = (
    "SELECT pg_relation_size('amount') / current_setting('block_size')::bigint,"
    " pg_relation_filenode('amount')"
)
"""Returns how many pages there are, and in which file."""


def slices(pages: int) -> Iterator[str]:
    """Yield a condition on `amount` for each run of pages, from the first on."""
    for first in range(0, pages, PAGES):
        yield f"amount.ctid >= '({first},0)'::tid AND amount.ctid < '({first + PAGES},0)'::tid"


def confirm_same_file(before: int, after: int) -> None:
    """See that no row went to another page meanwhile.

    Raises:
        Transient: the table was written anew.
    """
    if before != after:
        message = "the table of amounts was written anew meanwhile (VACUUM FULL?): begin again"
        raise Transient(message)
