"""A contact that was sent in every spelling is nowhere in the databases after its erasure."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final

import asyncpg
import pytest
from typer.testing import CliRunner

from schemas import BILLING
from services.cli.operation import contacts
from services.cli.setup.setup import set_up_postgres
from services.notifier.contacts.erasure import blank_letters, erase
from services.runtime.errors import Poison
from services.runtime.flow.letters.dead_letters import RedrivenRecord
from services.runtime.flow.letters.letters import dead_letter
from services.runtime.kafka.records.record_size import BODY_BYTES_MAX
from services.runtime.log.event_log import DeadLetter
from services.runtime.log.postgres_log import PostgresEventLog
from tests.controls import T0, dsn_for
from tests.integration.notifier.notifier_database import Notifier, notifier_on

ACCOUNT: Final = "acct-100042"
NEIGHBOUR: Final = "acct-1000420"
CANARY: Final = "canary.bird@example.org"
PHONE: Final = "+4915112345678"
JSON: Final = ("content-type", b"application/json")
STRUCTURED: Final = ("content-type", b"application/cloudevents+json")


@pytest.fixture
async def notifier(fresh_database: str) -> AsyncIterator[Notifier]:
    async with notifier_on(fresh_database) as running:
        yield running


def spellings(notifier: Notifier) -> list[RedrivenRecord]:
    """Return records that hold the canary: none of them can be handled."""

    def sent(**changes: Any) -> RedrivenRecord:
        base = notifier.contact_changed(CANARY, locale="en\n")
        return replace(base, **changes)

    first = sent()
    headers, value = first.headers, first.value or b""
    event = {name.removeprefix("ce_"): (text or b"").decode() for name, text in headers}
    structured = {key: text for key, text in event.items() if key != "content-type"}
    structured["data"] = json.loads(value)
    whole = json.dumps(structured).encode()
    upper = [(name.upper(), text) for name, text in headers if name != "content-type"]
    escaped = whole.replace(b"acct-100042", b"acct\\u002d100042").replace(b"@", b"\\u0040")
    unnamed = whole.replace(b"acct-100042", b"")
    return [
        first,
        sent(value=whole, headers=[STRUCTURED]),
        sent(value=whole, headers=[STRUCTURED], key=None),
        sent(headers=[*upper, JSON]),
        sent(headers=[*upper, JSON], key=None),
        sent(headers=[JSON]),
        sent(key=b"acct-other"),
        sent(value=value[:-2]),
        sent(value=unnamed[:-2], headers=[STRUCTURED], key=None),
        sent(value=escaped, headers=[STRUCTURED], key=None),
        sent(value=whole.upper(), headers=[STRUCTURED], key=None),
        sent(value=value + b" " * 70_000),
        sent(key=CANARY.encode(), value=b"{}", headers=[JSON]),
        sent(value=b"{}", key=None, headers=[("ce_subject", CANARY.encode()), JSON]),
        sent(value=b"\xff\xfe" + CANARY.encode() + b"\x00", key=None, headers=[JSON]),
        *(
            sent(value=f'{{"phone": "{number}"'.encode(), key=None, headers=[JSON])
            for number in (PHONE, "0049 151 1234-5678", "(+49) 151/123 456 78", "4915112345678")
        ),
    ]


async def keep_letters(database: str, service: str, letters: list[DeadLetter]) -> None:
    """Keep letters as the service does."""
    role = dsn_for(database, f"perennial_{service}:secret")
    pool = await asyncpg.create_pool(
        role, min_size=1, max_size=1, server_settings={"search_path": service}
    )
    async with PostgresEventLog(pool, lease_seconds=60).transaction() as tx:
        await tx.add_dead_letters(letters)
    await pool.close()


async def dump(connection: asyncpg.Connection, schema: str) -> str:
    """Return every row of every table of a schema as text, bytes and base64 made readable."""
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
    rows = []
    for table in tables:
        name = f'"{schema}"."{table["tablename"]}"'
        rows += [str(dict(row)) for row in await connection.fetch(f"SELECT * FROM {name}")]
    letters = await connection.fetch(
        f"SELECT convert_from(decode(header ->> 1, 'base64'), 'LATIN1') AS text"
        f" FROM {schema}.dead_letter, jsonb_array_elements(record_headers) AS header"
    )
    return "\n".join([*rows, *(row["text"] or "" for row in letters)]).lower()


async def test_no_spelling_of_a_contact_is_left_in_a_database(
    notifier: Notifier, fresh_database: str
) -> None:
    await set_up_postgres(fresh_database, "orders", "secret", 1)
    await notifier.take(notifier.contact_changed(CANARY, phone=PHONE, channels=["sms"]))
    await notifier.take(
        notifier.record("RenewalRequested", contact={"email": CANARY, "phone": PHONE}),
        notifier.record("TopUpRequested", account_id=NEIGHBOUR, contact={"email": "a@example.org"}),
    )
    records = spellings(notifier)
    letters = [
        dead_letter(
            replace(record, offset=1_000 + number), Poison("body_invalid", "x"), T0, BILLING.topics
        )
        for number, record in enumerate(records)
    ]
    other = notifier.record("TopUpRequested", account_id=NEIGHBOUR)
    letters.append(
        dead_letter(replace(other, offset=5_000), Poison("body_invalid", "x"), T0, BILLING.topics)
    )
    connection = await asyncpg.connect(fresh_database)
    for service in ("notifier", "orders"):
        await keep_letters(fresh_database, service, letters)
        assert "canary.bird" in await dump(connection, service)
        assert "5112345678" in await dump(connection, service)
    await connection.execute("SET search_path TO notifier")
    erasure, known = await erase(connection, ACCOUNT)
    assert known == {CANARY, PHONE}
    assert (erasure.contact, erasure.dead_letters) == (True, len(records))
    await connection.execute("SET search_path TO orders")
    assert await blank_letters(connection, ACCOUNT, known) == len(records)
    for service in ("notifier", "orders"):
        left = await dump(connection, service)
        assert "canary.bird" not in left
        assert re.search(r"151\W{0,3}1234?", left) is None
        assert left.count(NEIGHBOUR) >= 1
    await connection.close()


@pytest.mark.parametrize("service", ["notifier", "orders"])
async def test_no_beginning_of_a_cut_letter_outlives_an_erasure(
    notifier: Notifier, fresh_database: str, service: str
) -> None:
    await set_up_postgres(fresh_database, "orders", "secret", 1)
    spaces = b" " * BODY_BYTES_MAX
    begun = spaces[len(b'{"email": "canary.bird@ex') :] + b'{"email": "canary.bird@ex'
    account = b'"account_id": "%b"}' % ACCOUNT.encode()
    cut_in_its_address = begun + b'ample.org", ' + account
    account_behind = b'{"email": "canary.bird@second.example", ' + spaces + account
    base = notifier.contact_changed(CANARY)
    records = [
        replace(base, offset=n, key=b"acct-other", headers=[STRUCTURED], value=whole)
        for n, whole in enumerate([cut_in_its_address, account_behind], 7_000)
    ]
    letters = [
        dead_letter(record, Poison("oversized", "x"), T0, BILLING.topics) for record in records
    ]
    assert all(letter.account_id == "acct-other" for letter in letters)
    await keep_letters(fresh_database, service, letters)
    connection = await asyncpg.connect(fresh_database)
    await connection.execute(f"SET search_path TO {service}")
    assert "canary.bird@ex" in await dump(connection, service)
    assert await blank_letters(connection, ACCOUNT, [CANARY]) == len(letters)
    assert "canary" not in await dump(connection, service)
    still = await connection.fetch("SELECT closed_at, record_bytes, value_sha256 FROM dead_letter")
    assert {row["closed_at"] for row in still} == {None}
    assert all(row["record_bytes"] > BODY_BYTES_MAX and row["value_sha256"] for row in still)
    assert await blank_letters(connection, ACCOUNT, [CANARY]) == 0
    await connection.close()


def test_the_command_erases_and_says_what(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "PERENNIAL_NOTIFIER_POSTGRES_DSN", dsn_for(fresh_database, "perennial_notifier:secret")
    )
    monkeypatch.setenv("PERENNIAL_ORDERS_POSTGRES_DSN", fresh_database)
    monkeypatch.setenv("PERENNIAL_BOOTSTRAP_SERVERS", "127.0.0.1:1")

    async def keep_a_contact() -> None:
        await set_up_postgres(fresh_database, "orders", "secret", 1)
        async with notifier_on(fresh_database) as notifier:
            await notifier.take(notifier.contact_changed("lin@example.org"))

    asyncio.run(keep_a_contact())
    first = CliRunner().invoke(contacts.app, ["erase", ACCOUNT])
    assert (first.exit_code, first.output) == (
        0,
        f"{ACCOUNT}: contact erased, 0 dead letters blanked\n",
    )
    again = CliRunner().invoke(contacts.app, ["erase", ACCOUNT])
    assert again.exit_code == 0
    assert "no contact" in again.output
