"""`python -m deploy.metrics_docs` writes docs/METRICS.md; `--check` only compares it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from schemas import EVENT_TYPES
from services.ledger.metrics import COUNTERS as LEDGER
from services.notifier.metrics import COUNTERS as NOTIFIER
from services.orders.metrics import COUNTERS as ORDERS
from services.runtime.watch.event_counter import EventCounter
from services.runtime.watch.meanings import COUNTED, OBSERVED, RELAY, Meaning

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "METRICS.md"
SERVICES: Final[Mapping[str, tuple[EventCounter, ...]]] = {
    "orders": ORDERS,
    "ledger": LEDGER,
    "notifier": NOTIFIER,
}
VALUES_LISTED_MAX: Final = 20
_INTRODUCTION: Final = """\
# Metrics

Each service serves `/metrics` for Prometheus on the port of its [probes](OPERATIONS.md#probes).
[deploy/monitoring](../deploy/monitoring) has what belongs to it: a configuration, recording rules,
alerts and a Grafana dashboard. What to do about each alert is in the
[runbook](OPERATIONS.md#runbook-alerts).

- A process counts what it does itself, from 0 at its start: add up the processes of a service.
- What is *read at the scrape* comes from the service's database and from Kafka, and is at most a few
  seconds old. What the database says is the same in every process of a service: take `max`. What
  concerns a partition is given by the process that holds it: add up.
- A server that does not answer within 2 seconds costs its gauges, not the page:
  `perennial_database_up` and `perennial_kafka_up` then say 0.
- Events are counted after their transaction is committed, once.
- Labels come from closed sets, and what is outside of its set is `other`. Account, order and event
  ids are never labels. The number of series grows with shards and partitions, and nothing else.
- Money is in minor units of its currency. Prometheus keeps numbers as floating point: exact up to
  9,007,199,254,740,992.
- Where upstream uses transactions, the mark at the end of the last one counts as a lag of 1 until the
  next record comes.
- The usual `process_*` and `python_*` metrics are there as well.

## Set up

`deploy/monitoring/prometheus.yml` is an example with the rules beside it: put your addresses in, and
keep `job` and `service` as they are, because rules and dashboard ask for them. Give Prometheus an
Alertmanager of yours. In Grafana import `dashboard.json` and choose the data source.

```sh
python -m deploy.monitoring.fetch_prometheus           # Debian: unpacks both programs, as any user
promtool check config deploy/monitoring/prometheus.yml
promtool test rules deploy/monitoring/alerts_test.yml   # after each change of a rule
prometheus --config.file=deploy/monitoring/prometheus.yml
```
"""


def page() -> str:
    """Return the whole page."""
    parts = [_INTRODUCTION, "\n## Every service: what a process counts\n\n"]
    parts += [_table(map(_row, (*COUNTED, *RELAY)))]
    parts += ["\n## Every service: read at the scrape\n\n", _table(map(_row, OBSERVED))]
    for service, counters in SERVICES.items():
        parts += [f"\n## {service.capitalize()}\n\n", _table(map(_counter_row, counters))]
    return "".join(parts)


def full_names() -> dict[str, str]:
    """Return name -> type of every metric of ours."""
    meanings = (*COUNTED, *RELAY, *OBSERVED, *(_as_meaning(each) for each in _counters()))
    return {meaning.full_name: meaning.type for meaning in meanings}


def _counters() -> Iterable[EventCounter]:
    return (counter for counters in SERVICES.values() for counter in counters)


def _as_meaning(counter: EventCounter) -> Meaning:
    return Meaning(counter.name, "counter", counter.meaning, counter.labels)


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    head = "| metric | type | labels | meaning |\n|---|---|---|---|\n"
    return head + "".join(f"| {' | '.join(row)} |\n" for row in rows)


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
    parser = argparse.ArgumentParser(prog="python -m deploy.metrics_docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when stale")
    check = parser.parse_args(arguments).check
    text = page()
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    if check:
        sys.stderr.write("out of date: docs/METRICS.md: run `python -m deploy.metrics_docs`\n")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    sys.stdout.write("wrote docs/METRICS.md\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
