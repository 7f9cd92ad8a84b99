"""Who wrote a record of our own topics: MACs cover all of it, and keys may be changed."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_settings import SettingsConfigDict

from deploy.local.processes import ROOT
from deploy.local.services import SERVICES, keys_of
from schemas.registry import key_pairs, writers
from schemas.topics import LEDGER, NOTIFICATIONS, ORDERS, TOPICS, Source
from services.runtime.app.start import require_event_keys
from services.runtime.authenticity import (
    MAC,
    EventKeys,
    EventSigner,
    EventVerifier,
)
from services.runtime.errors import ConfigurationError, Poison
from services.runtime.flow.intake.parsing import RecordParser
from services.runtime.key_ring import KeyRing
from services.runtime.settings import KafkaSettings, RuntimeSettings, load_settings
from tests.controls import T0
from tests.unit.runtime.toy import (
    SHARD,
    SHARDS,
    Record,
    Toy,
    begin,
    intake_of,
    low_balance,
    memory_log,
    request,
)

PAIRS = key_pairs(TOPICS)
WRITER_OF = writers(TOPICS)


def keys_text(key_id: str, first: int) -> str:
    """Return a line for each pair, no key twice."""
    numbered = enumerate(PAIRS, first)
    return "\n".join(f"{w}/{r}/{key_id}:{number:064x}" for number, (w, r) in numbered)


OLD, NEW = keys_text("old", 0x0A0A), keys_text("new", 0x0B0B)
LINE = f"ledger/orders/old:{'0a' * 32}"
KEYS = EventKeys.read(OLD, TOPICS)
SIGNER, VERIFIER = KEYS.signer("ledger"), KEYS.verifier("orders")


def signed(record: Record, signer: EventSigner = SIGNER) -> Record:
    """Return a record as its writer would send it."""
    headers = [(name, value or b"") for name, value in record.headers]
    mac = signer.mac(
        record.topic, record.partition, record.key or b"", headers, record.value or b""
    )
    return replace(record, headers=[*headers, mac])


def is_authentic(record: Record, verifier: EventVerifier = VERIFIER) -> bool:
    try:
        verifier.check(record)
    except Poison as poison:
        return poison.reason != "not_authentic"
    return True


def test_own_topics_are_those_that_a_service_of_ours_writes() -> None:
    assert {
        ORDERS.name: "orders",
        LEDGER.name: "ledger",
        NOTIFICATIONS.name: "notifier",
    } == WRITER_OF


def test_record_is_authentic_as_it_was_signed() -> None:
    assert is_authentic(signed(low_balance(1)))


def test_each_mac_is_hmac_sha256_of_the_hash_of_parts_that_end_at_a_nul() -> None:
    record = replace(low_balance(1), headers=[("ce_id", b"1")], partition=3)
    mac = dict(signed(record).headers)[MAC]
    assert record.value is not None
    covered = b"perennial-event-2\0billing.ledger.v1\x003\0acct-1\x001\0ce_id\x001\0" + record.value
    digest = hashlib.sha256(covered).digest()
    expected = []
    for line in OLD.splitlines():
        name, _, key = line.partition(":")
        if (reader := name.removeprefix("ledger/")) != name:
            made = hmac.new(bytes.fromhex(key), digest, hashlib.sha256).hexdigest()[:32]
            expected.append(f"{reader}:{made}")
    assert mac == ",".join(expected).encode()
    assert [each.partition("/")[0] for each in expected] == ["ledger", "orders", "notifier"]


def _renamed(record: Record, name: str, value: bytes | None) -> Record:
    headers = [(n, value if n == name else held) for n, held in record.headers]
    return replace(record, headers=headers)


CHANGES: dict[str, Callable[[Record], Record]] = {
    "another topic": lambda r: replace(r, topic=ORDERS.name),
    "another partition": lambda r: replace(r, partition=(SHARD + 1) % SHARDS),
    "another key": lambda r: replace(r, key=b"acct-2"),
    "no key": lambda r: replace(r, key=None),
    "a changed body": lambda r: replace(r, value=(r.value or b"").replace(b"5", b"6")),
    "a longer body": lambda r: replace(r, value=(r.value or b"") + b" "),
    "no value": lambda r: replace(r, value=None),
    "a header more": lambda r: replace(r, headers=[("ce_causationid", b"x"), *r.headers]),
    "a header more behind": lambda r: replace(r, headers=[*r.headers, ("x", b"y")]),
    "the same header in capitals": lambda r: replace(r, headers=[("CE_ID", b"x"), *r.headers]),
    "a header less": lambda r: replace(r, headers=r.headers[1:]),
    "no header": lambda r: replace(r, headers=[]),
    "no MAC": lambda r: replace(r, headers=r.headers[:-1]),
    "a MAC that is null": lambda r: _renamed(r, MAC, None),
    "a MAC of nothing": lambda r: _renamed(r, MAC, b"orders/old:"),
    "a MAC by nobody": lambda r: _renamed(r, MAC, b"orders/new:" + b"0" * 32),
    "a MAC that is not ASCII": lambda r: _renamed(r, MAC, b"orders/old:\xff"),
    "a MAC of half the length": lambda r: _renamed(r, MAC, (dict(r.headers)[MAC] or b"")[:60]),
    "the MACs of other readers": lambda r: _renamed(
        r, MAC, (dict(r.headers)[MAC] or b"").replace(b"orders/", b"nobody/")
    ),
    "a MAC in capitals": lambda r: _renamed(r, MAC, (dict(r.headers)[MAC] or b"").upper()),
    "a header that is null": lambda r: _renamed(r, "ce_id", None),
    "a NUL in a header": lambda r: _renamed(r, "ce_id", b"\0"),
    "a name that is not UTF-8": lambda r: replace(r, headers=[("\udcff", b""), *r.headers]),
    "headers in another order": lambda r: replace(r, headers=[*r.headers[1::-1], *r.headers[2:]]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_record_with_anything_changed_is_not_authentic(name: str) -> None:
    assert not is_authentic(CHANGES[name](signed(low_balance(1))))


@pytest.mark.parametrize("header", [name for name, _ in low_balance(1).headers])
def test_every_attribute_is_covered(header: str) -> None:
    assert not is_authentic(_renamed(signed(low_balance(1)), header, b"other"))


TEXTS = st.text("ab\0", max_size=3)


@given(
    st.lists(st.tuples(TEXTS, TEXTS), max_size=3),
    st.lists(st.tuples(TEXTS, TEXTS), max_size=3),
    st.tuples(TEXTS, TEXTS),
    st.tuples(TEXTS, TEXTS),
)
def test_two_records_have_one_mac_only_when_they_are_the_same(
    ours: list[tuple[str, str]],
    theirs: list[tuple[str, str]],
    key_and_body: tuple[str, str],
    others: tuple[str, str],
) -> None:
    def record(headers: list[tuple[str, str]], key: str, body: str) -> Record:
        held = [(name, value.encode()) for name, value in headers]
        return Record(LEDGER.name, 0, 0, key.encode(), body.encode(), held)

    honest, forged = record(ours, *key_and_body), record(theirs, *others)
    try:
        mac = signed(honest).headers[-1]
    except ValueError:
        return
    same = (ours, key_and_body) == (theirs, others)
    assert is_authentic(replace(forged, headers=[*forged.headers, mac])) is same


def test_key_is_changed_by_a_second_line_that_only_verifies_first() -> None:
    both, swapped, only_new = (
        EventKeys.read(t, TOPICS) for t in (f"{OLD}\n{NEW}", f"{NEW}\n{OLD}", NEW)
    )
    by_old, by_new = (signed(low_balance(1), keys.signer("ledger")) for keys in (both, swapped))
    assert all(is_authentic(by_old, each.verifier("orders")) for each in (KEYS, both, swapped))
    assert all(is_authentic(by_new, each.verifier("orders")) for each in (both, swapped, only_new))
    assert not is_authentic(by_new)
    assert not is_authentic(by_old, only_new.verifier("orders"))


@pytest.mark.parametrize("thief", SERVICES)
def test_stolen_file_makes_others_believe_only_what_its_service_writes(thief: str) -> None:
    stolen = [line.partition(":") for line in keys_of(thief, OLD).splitlines()]
    believed = set()
    for topic, writer in WRITER_OF.items():
        record = replace(low_balance(1), topic=topic)
        for reader in (r for w, r in PAIRS if w == writer):
            forgeries = (
                signed(record, EventSigner({reader: KeyRing({"old": bytes.fromhex(key)})}))
                for _, _, key in stolen
            )
            verifier = KEYS.own(writer) if reader == writer else KEYS.verifier(reader)
            if any(is_authentic(each, verifier) for each in forgeries):
                believed.add((writer, reader))
    assert believed == {(w, r) for w, r in PAIRS if thief in {w, r}}
    assert not [(w, r) for w, r in believed if thief not in {w, r}]


def test_documented_commands_make_a_file_for_each_service(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")
    commands = next(each for each in page.split("```") if each.startswith("sh\numask 077; id="))
    openssl = 'n=10; openssl() { n=$((n + 1)); printf "%064x" "$n"; }\n'
    bash = ["bash", "-euc", openssl + commands.removeprefix("sh")]
    subprocess.run(bash, cwd=tmp_path, check=True)
    assert EventKeys.read((tmp_path / "event.keys").read_text(), TOPICS)
    for service in SERVICES:
        file = tmp_path / f"{service}.keys"
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.read_text().strip() == keys_of(service, (tmp_path / "event.keys").read_text())
        EventKeys.read(file.read_text(), TOPICS).signer(service)
        EventKeys.read(file.read_text(), TOPICS).verifier(service)


def test_process_without_a_key_that_it_needs_is_told_which() -> None:
    for service in SERVICES:
        keys = EventKeys.read(keys_of(service, OLD), TOPICS)
        keys.signer(service)
        keys.verifier(service)
        keys.own(service)
        for another in set(SERVICES) - {service}:
            with pytest.raises(ConfigurationError, match=f"no key .*{another}/{another}"):
                keys.own(another)
    with pytest.raises(ConfigurationError, match="no key orders/orders, ledger/orders"):
        EventKeys.read(keys_of("notifier", OLD), TOPICS).verifier("orders")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment",
        "0a" * 32,
        f"old:{'0a' * 32}",
        "ledger/orders/old:",
        f"ledger/orders/old:{'0a' * 31}",
        f"ledger/orders/old:{'0a' * 65}",
        f"ledger/orders/old:{'0A' * 32}",
        f"{LINE}0",
        f"ledger/orders/OLD:{'0a' * 32}",
        f"ledger/orders/old :{'0a' * 32}",
        f"ledger/orders/{'x' * 33}:{'0a' * 32}",
        f"ledger/orders:{'0a' * 32}",
        f"notifier/orders/old:{'0a' * 32}",
        f"ledger/shop/old:{'0a' * 32}",
        f"{LINE}\n{LINE}",
        f"{LINE}\nsecond",
        "\n".join(f"ledger/orders/k{n}:{'0a' * 32}" for n in range(57)),
    ],
)
def test_keys_of_another_form_are_refused_without_being_shown(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"hexadecimal|still needed|choose another|no topic of ours"
    ) as refused:
        EventKeys.read(text, TOPICS)
    assert "0a0a" not in str(refused.value).lower()


class Settings(KafkaSettings):
    """Settings of a service that does not exist."""

    model_config = SettingsConfigDict(env_prefix="PERENNIAL_TOYS_", hide_input_in_errors=True)


class RunningSettings(RuntimeSettings):
    """The same of a service that runs."""

    model_config = SettingsConfigDict(env_prefix="PERENNIAL_TOYS_", hide_input_in_errors=True)


def test_setting_takes_the_keys_from_a_file_and_never_shows_them(tmp_path: Path) -> None:
    file = tmp_path / "event.keys"
    file.write_text(f"# signs\n{OLD}\n\n{NEW}\n")
    environ = {"PERENNIAL_TOYS_BOOTSTRAP_SERVERS": "127.0.0.1:9092"}
    settings = load_settings(Settings, environ | {"PERENNIAL_TOYS_EVENT_KEYS_FILE": str(file)})
    keys = EventKeys.of(settings.event_keys, TOPICS)
    assert keys is not None
    assert is_authentic(signed(low_balance(1)), keys.verifier("orders"))
    assert "0a0a" not in f"{settings!r} {settings} {keys!r} {settings.model_dump_json()}"
    assert EventKeys.of(load_settings(Settings, environ).event_keys, TOPICS) is None
    file.write_text("ledger/orders/old:0a0a")
    with pytest.raises(ConfigurationError, match=r"EVENT_KEYS is wrong: .*has 2 bytes") as refused:
        load_settings(Settings, environ | {"PERENNIAL_TOYS_EVENT_KEYS_FILE": str(file)})
    assert "0a0a" not in str(refused.value)


def test_keys_for_pairs_that_no_topic_has_are_refused_when_the_topics_are_known(
    tmp_path: Path,
) -> None:
    file = tmp_path / "event.keys"
    file.write_text(f"ledger/shop/old:{'0a' * 32}")
    environ = {"PERENNIAL_TOYS_BOOTSTRAP_SERVERS": "127.0.0.1:9092"}
    settings = load_settings(Settings, environ | {"PERENNIAL_TOYS_EVENT_KEYS_FILE": str(file)})
    with pytest.raises(
        ConfigurationError, match=r"EVENT_KEYS: .*there are .*ledger/orders"
    ) as told:
        EventKeys.of(settings.event_keys, TOPICS)
    assert "0a0a" not in str(told.value)


def test_what_others_write_needs_no_mac() -> None:
    parser = RecordParser(Toy().processor(), SHARDS, VERIFIER)
    assert parser.parse(request(), T0).work is not None


def test_forged_record_is_refused_before_anything_of_it_is_read() -> None:
    parser = RecordParser(Toy().processor(), SHARDS, VERIFIER)
    nonsense = Record(LEDGER.name, SHARD, 0, None, None, [])
    for record in (low_balance(1), low_balance(7), nonsense):
        parsed = parser.parse(record, T0)
        assert parsed.poison is not None
        assert parsed.poison.reason == "not_authentic"
        assert parsed.sequenced is None


async def test_forged_record_takes_no_number_and_the_honest_event_is_applied() -> None:
    log = memory_log()
    await begin(log)
    intake = intake_of(log, Toy().processor(), verifier=VERIFIER)
    forged = low_balance(1, amount=5_000_000, name="forged")
    honest, next_one = low_balance(1, offset=1), low_balance(2, offset=2)

    result = await intake.handle([forged, signed(honest), signed(next_one)])

    assert dict(result.outcomes) == {"dead_lettered:not_authentic": 1, "applied": 2}
    async with log.transaction(sources=[(Source.LEDGER, SHARD)]) as tx:
        assert tx.last_sequences[Source.LEDGER, SHARD].sequence == 2
        assert await tx.open_dead_letters() == 1


def test_service_starts_without_keys_in_a_demonstration_only() -> None:
    least = {
        "PERENNIAL_TOYS_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
        "PERENNIAL_TOYS_POSTGRES_DSN": "postgresql://toys:secret@127.0.0.1/perennial",
    }
    with pytest.raises(ConfigurationError, match="EVENT_KEYS_FILE"):
        require_event_keys(load_settings(RunningSettings, least), "orders", TOPICS)
    demo = least | {"PERENNIAL_ENVIRONMENT": "demo"}
    require_event_keys(load_settings(RunningSettings, demo), "orders", TOPICS)
    keyed = load_settings(RunningSettings, least | {"PERENNIAL_TOYS_EVENT_KEYS": OLD})
    require_event_keys(keyed, "orders", TOPICS)
    part = keys_of("ledger", OLD)
    of_another = load_settings(RunningSettings, demo | {"PERENNIAL_TOYS_EVENT_KEYS": part})
    with pytest.raises(ConfigurationError, match="no key orders/orders, orders/notifier"):
        require_event_keys(of_another, "orders", TOPICS)
