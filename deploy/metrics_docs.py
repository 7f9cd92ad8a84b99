"""`python -m deploy.metrics_docs` writes the metrics into docs/OPERATIONS.md; `--check` compares."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Final

from deploy.generated_page import DOCS, keep_up_to_date, table, with_generated
from schemas import EVENT_TYPES
from services.ledger.metrics import COUNTERS as LEDGER
from services.notifier.metrics import COUNTERS as NOTIFIER
from services.orders.metrics import COUNTERS as ORDERS
from services.runtime.event_counter import EventCounter
from services.runtime.metrics.meanings import COUNTED, OBSERVED, RELAY, Meaning

PAGE: Final = DOCS / "OPERATIONS.md"
SERVICES: Final[Mapping[str, tuple[EventCounter, ...]]] = {
    "orders": ORDERS,
    "ledger": LEDGER,
    "notifier": NOTIFIER,
}
VALUES_LISTED_MAX: Final = 20


def with_metrics(page: str) -> str:
    """Return `page` with its generated section written anew.

    Raises:
        ValueError: the page has no such section.
    """
    return with_generated(PAGE.name, page, {"metrics": _metrics()})


def _metrics() -> str:
    parts = ["### Every service: what a process counts\n\n"]
    parts += [_table(map(_row, (*COUNTED, *RELAY)))]
    parts += ["\n### Every service: read at the scrape\n\n", _table(map(_row, OBSERVED))]
    for service, counters in SERVICES.items():
        parts += [f"\n### Metrics of {service}\n\n", _table(map(_counter_row, counters))]
    return "".join(parts).rstrip("\n")


def full_names() -> dict[str, str]:
    """Return name -> type of every metric of ours."""
    meanings = (*COUNTED, *RELAY, *OBSERVED, *(_as_meaning(each) for each in _counters()))
    return {meaning.full_name: meaning.type for meaning in meanings}


def _counters() -> Iterable[EventCounter]:
    return (counter for counters in SERVICES.values() for counter in counters)


def _as_meaning(counter: EventCounter) -> Meaning:
    return Meaning(counter.name, "counter", counter.meaning, counter.labels)


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    return table(("metric", "type", "labels", "meaning"), rows) + "\n"


def _row(meaning: Meaning) -> tuple[str, ...]:
    labels = ", ".join(f"`{label}`" for label in meaning.labels)
    return f"`{meaning.full_name}`", meaning.type, labels, meaning.meaning


def _counter_row(counter: EventCounter) -> tuple[str, ...]:
    name, kind, labels, meaning = _row(_as_meaning(counter))
    events = ", ".join(model.__name__ for model in EVENT_TYPES.values() if model in counter.count)
    series = [f"`{label}`: {_values(counter, n)}" for n, label in enumerate(counter.labels)]
    return name, kind, labels, f"{meaning} {'; '.join(series)}. Counts {events}."


def _values(counter: EventCounter, number: int) -> str:
    values = sorted({labels[number] for labels in counter.series} - {""})
    if len(values) > VALUES_LISTED_MAX:
        return f"{values[0]} to {values[-1]} (ISO 4217)"
    return ", ".join(f"`{value}`" for value in values)


def main(arguments: list[str] | None = None) -> int:
    """Return 0 when the page is up to date (or now is), 1 when `--check` found a difference."""
    return keep_up_to_date("deploy.metrics_docs", PAGE, with_metrics, arguments)


if __name__ == "__main__":
    sys.exit(main())
