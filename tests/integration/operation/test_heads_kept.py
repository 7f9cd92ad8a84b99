"""A running service says when it last kept the heads of its log outside."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.infrastructure.system import System

LAST = "perennial_heads_kept_timestamp_seconds"
DUE = "perennial_heads_kept_interval_seconds"


def shown(system: System) -> dict[str, float]:
    with urllib.request.urlopen(f"{system.address('orders')}/metrics", timeout=10) as page:  # noqa: S310 - our own
        families = text_string_to_metric_families(page.read().decode())
    return {s.name: s.value for each in families for s in each.samples if s.name in {LAST, DUE}}


def after(system: System, moment: float) -> float:
    """Return the time of a success after `moment`, once there is one."""
    return system.wait_for(
        "heads are kept", lambda: told if (told := shown(system)[LAST]) > moment else None
    )


def test_last_success_is_told_and_stands_still_while_the_folder_is_away(
    system: System, tmp_path: Path
) -> None:
    folder, away = tmp_path / "heads", tmp_path / "away"
    system.start("orders", ANCHOR_FOLDER=folder, ANCHOR_SECONDS=0.5)
    assert shown(system) == {LAST: 0, DUE: 0.5}, "never yet: there is no folder"

    folder.mkdir()
    assert abs(after(system, 0) - time.time()) < 60
    folder.rename(away)
    log = system.children["orders"].log
    said = log.read_text().count("heads_not_kept")
    system.wait_for(
        "it is missed twice", lambda: log.read_text().count("heads_not_kept") >= said + 2
    )
    stood = shown(system)[LAST]
    system.wait_for(
        "it is missed again", lambda: log.read_text().count("heads_not_kept") >= said + 4
    )
    assert shown(system)[LAST] == stood

    away.rename(folder)
    assert after(system, stood) > stood
    assert system.children["orders"].stop() == 0
    system.start("orders")
    assert shown(system) == {}, "not asked for"
