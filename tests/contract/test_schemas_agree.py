"""asyncapi.yaml, EVENTS.md and the services agree on which headers are needed and who may publish."""

from __future__ import annotations

import json
import re
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import pytest

from schemas import EVENTS
from schemas.envelope import Message
from schemas.generation.asyncapi import asyncapi_document, example_of
from schemas.generation.headers import example_headers
from schemas.registry import Topic
from services.cli.requests.record_checks import RecordChecker
from tests.controls import T0
from tests.unit.runtime.toy import Record

PAGE: Final = (Path(__file__).parents[2] / "docs" / "EVENTS.md").read_text("utf-8")
PUBLISHED: Final = [
    pytest.param(topic, model, id=model.__name__) for model, topic in EVENTS if topic.external
]


_checker = cache(partial(RecordChecker, shard_count=8))


def headers_of(model: type[Message]) -> dict[str, Any]:
    found: dict[str, Any] = asyncapi_document()["components"]["messages"][model.__name__]["headers"]
    return found


def outcome(topic: Topic, model: type[Message], **changes: str | None) -> str:
    """Return what becomes of the published example with some headers changed or left out."""
    example = example_of(model)
    headers = {**example_headers(example), **changes}
    record = Record(
        topic.name,
        0,
        0,
        example["data"]["account_id"].encode(),
        json.dumps(example["data"]).encode(),
        [(name, value.encode()) for name, value in headers.items() if value is not None],
    )
    return _checker(topic.name).check(record, "", T0).outcome


@pytest.mark.parametrize(("topic", "model"), PUBLISHED)
def test_header_is_needed_where_the_document_says_so_and_nowhere_else(
    topic: Topic, model: type[Message]
) -> None:
    described = headers_of(model)
    assert outcome(topic, model) != "poison"
    for name in described["properties"]:
        poison = outcome(topic, model, **{name: None}) == "poison"
        assert poison == (name in described["required"]), name


@pytest.mark.parametrize(("topic", "model"), PUBLISHED)
@pytest.mark.parametrize(
    "name",
    [
        *[
            "shop",
            "a",
            "0",
            "a-",
            "a--b",
            "a" * 63,
            "a" * 64,
            "",
            "-a",
            "Shop",
            "a_b",
            "a.b",
            "a/b",
        ],
        *["a b", "ä", "a\n", "shop/", "./a"],
    ],
)
def test_source_is_taken_where_the_document_has_its_pattern(
    topic: Topic, model: type[Message], name: str
) -> None:
    pattern = headers_of(model)["properties"]["ce_source"]["pattern"]
    for prefix in ("/upstream/", "/gateway/", "/billing/", "", "//upstream/"):
        # Of JSON Schema's dialect, where $ is the very end of the text.
        fits = re.search(pattern.removesuffix("$") + r"\Z", prefix + name) is not None
        taken = outcome(topic, model, ce_source=prefix + name) != "poison"
        assert taken == fits, prefix + name


@pytest.mark.parametrize(("topic", "model"), PUBLISHED)
def test_page_calls_required_what_the_document_requires(topic: Topic, model: type[Message]) -> None:
    rows = re.findall(r"^\| `([a-z]+)` \| required \|", PAGE, re.MULTILINE)
    assert [f"ce_{row}" for row in rows] == headers_of(model)["required"], topic
