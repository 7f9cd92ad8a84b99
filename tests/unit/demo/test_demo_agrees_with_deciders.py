"""The oracle and the services' deciders must say the same: of the demo's records, and of any others."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from hypothesis import given, settings

from deploy.demo.expected.scenarios import tell
from deploy.demo.publish import MANIFEST_FILE, load_records
from tests.unit.demo.market import Market, played, wanted
from tests.unit.demo.stories import STORIES, Told, with_returns

STORIES_COUNT: Final = 60


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return played(tmp_path_factory.mktemp("sandbox"), load_records())


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(MANIFEST_FILE.read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("what", ["outcomes", "dead letters", "messages", "books", "wallets"])
def test_services_do_what_the_manifest_says(
    market: Market, manifest: dict[str, Any], what: str
) -> None:
    assert market.seen()[what] == wanted(manifest)[what]


@pytest.mark.timeout(600)  # a difference is made small before it is shown
@settings(max_examples=STORIES_COUNT, database=None, derandomize=True, deadline=None)
@given(STORIES)
def test_services_do_what_the_oracle_says_of_any_story(told: Told) -> None:
    story = tell(with_returns(told))
    with TemporaryDirectory() as folder:
        seen = played(Path(folder), story.records).seen()
    assert seen == wanted(story.expected.as_json())
