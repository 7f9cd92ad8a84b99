"""How a service declares what is to be counted about its events; the runtime does the counting.

A counter says all the label values that it can have: what is outside of them is counted as `other`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.envelope import Event

Labels = tuple[str, ...]
Counted = tuple[Labels, int]
"""Label values in the order of the counter's labels, and by how much it grows."""


@dataclass(frozen=True, slots=True)
class EventCounter:
    """Counts committed events of some types, once each.

    `name` is without prefix and `_total`, and ends with a unit unless it counts events. `series`
    are the label values that exist. They are shown from the start, as 0, unless `sparse`.
    """

    name: str
    meaning: str
    labels: tuple[str, ...]
    series: frozenset[Labels]
    count: Mapping[type[Event], Callable[[Any], Counted]]
    sparse: bool = False
