"""Whether one of our services wrote a record: MACs over everything that a consumer relies on.

The chained hash of an event can be checked only by who has the log. A MAC can be checked from the
record alone, by who has the key, before anything else is believed. Who can check a MAC can make it
too, so every writer has another key with each of its readers and one with itself: what a service
holds makes others believe nothing but what it writes itself.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Final, Protocol, Self

from pydantic import AfterValidator, SecretStr

from schemas.registry import Topic, key_pairs, writers
from services.runtime.errors import ConfigurationError, Poison
from services.runtime.key_ring import ID, KEYS_MAX, Key, KeyRing, read_keys

NOT_AUTHENTIC: Final = "not_authentic"
CHAIN_HASH: Final = "ce_chainhash"
MAC: Final = "ce_mac"
PAIRS_MAX: Final = 100
"""Far more than a system of ours has; it bounds what is read before its topics are known."""

_FORM: Final = b"perennial-event-2"
_DIGITS: Final = 32
"""Of each MAC: 128 bits, the least that RFC 2104 (5) advises for SHA-256."""
_NAME: Final = re.compile(f"{ID}/{ID}/{ID}")


class SignedRecord(Protocol):
    """What is signed of a Kafka record."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class EventSigner:
    """Makes what vouches for the records of one service: a MAC for each of its readers."""

    __slots__ = ("_keys",)

    def __init__(self, rings: Mapping[str, KeyRing]) -> None:
        """Sign with the first key of each reader's ring."""
        signers = [(reader, *ring.signer) for reader, ring in rings.items()]
        self._keys = [(f"{reader}/{key_id}:".encode(), key) for reader, key_id, key in signers]

    def mac(
        self,
        topic: str,
        partition: int,
        key: bytes,
        headers: Sequence[tuple[str, bytes]],
        body: bytes,
    ) -> tuple[str, bytes]:
        """Return the header to put behind `headers`, which vouches for the whole record."""
        content = hashlib.sha256(_signed(topic, partition, key, headers, body)).digest()
        macs = [name + key.digest(content)[:_DIGITS] for name, key in self._keys]
        return MAC, b",".join(macs)


class EventVerifier:
    """Says which records the services wrote that one service reads."""

    __slots__ = ("_keys", "_writer_of")

    def __init__(
        self, reader: str, rings: Mapping[str, KeyRing], writer_of: Mapping[str, str]
    ) -> None:
        """Verify with every key of each writer's ring; `writer_of` says who writes which topic."""
        self._writer_of = writer_of
        self._keys: dict[str, dict[bytes, Key]] = {
            writer: {f"{reader}/{key_id}".encode(): key for key_id, key in ring.keys.items()}
            for writer, ring in rings.items()
        }

    def check(self, record: SignedRecord) -> None:
        """See that the topic's own service wrote `record`, as it is and where it is, for us.

        Raises:
            Poison: it is forged, changed, moved, or signed by a key that is not known here.
        """
        if not self._vouches_for(record):
            message = (
                f"the record on {record.topic} bears no MAC by a key that is known here: nothing "
                "was taken from it. Find out who writes to the topic, see docs/OPERATIONS.md"
            )
            raise Poison(NOT_AUTHENTIC, message)

    def _vouches_for(self, record: SignedRecord) -> bool:
        headers = list(record.headers)
        name, macs = headers.pop() if headers else ("", None)
        if name != MAC or macs is None or record.key is None or record.value is None:
            return False
        keys = self._keys.get(self._writer_of.get(record.topic, ""), {})
        for each in macs.split(b","):
            key_name, _, mac = each.partition(b":")
            if (key := keys.get(key_name)) is not None:
                break
        else:
            return False
        try:
            signed = _signed(record.topic, record.partition, record.key, headers, record.value)
        except (TypeError, ValueError):
            # A header without a value, a NUL, a name that is not UTF-8: we write none of them.
            return False
        expected = key.digest(hashlib.sha256(signed).digest())[:_DIGITS]
        return hmac.compare_digest(expected, mac)


class EventKeys:
    """The keys of one process: by (writer, reader), the first signs and all verify."""

    __slots__ = ("_pairs", "_rings", "_writer_of")

    def __init__(self, rings: Mapping[tuple[str, str], KeyRing], topics: Collection[Topic]) -> None:
        """Take what the process holds for `topics`.

        Raises:
            ValueError: a key is for a pair that none of the topics has.
        """
        self._pairs = key_pairs(topics)
        self._writer_of = writers(topics)
        if unknown := len(rings.keys() - set(self._pairs)):
            message = (
                f"{unknown} keys are named for a writer and reader that no topic of ours has: there "
                f"are {', '.join('/'.join(pair) for pair in self._pairs)}"
            )
            raise ValueError(message)
        self._rings = dict(rings)

    @classmethod
    def read(cls, text: str, topics: Collection[Topic]) -> Self:
        """Read lines of `writer/reader/id:key`; empty lines and comments (`#`) do not count.

        Raises:
            ValueError: a line is of another form or for no pair of `topics`, a key is too short, or
                an id comes twice. The message holds nothing of a key.
        """
        return cls(_read(text, len(key_pairs(topics))), topics)

    @classmethod
    def of(cls, secret: SecretStr | None, topics: Collection[Topic]) -> Self | None:
        """Read the keys of a setting, whose form was checked when it was loaded; None when not set.

        Raises:
            ConfigurationError: a key is for a pair that none of the topics has.
        """
        if secret is None:
            return None
        try:
            return cls.read(secret.get_secret_value(), topics)
        except ValueError as error:
            message = f"EVENT_KEYS: {error}"
            raise ConfigurationError(message) from None

    def signer(self, service: str) -> EventSigner:
        """Return what signs the records of `service`.

        Raises:
            ConfigurationError: the key for one of its readers is missing.
        """
        rings = self._held([pair for pair in self._pairs if pair[0] == service])
        return EventSigner({reader: ring for (_, reader), ring in rings.items()})

    def verifier(self, service: str) -> EventVerifier:
        """Return what verifies the records that `service` reads, those of its own topic too.

        Raises:
            ConfigurationError: the key of one of their writers is missing.
        """
        rings = self._held([pair for pair in self._pairs if pair[1] == service])
        return EventVerifier(
            service, {writer: ring for (writer, _), ring in rings.items()}, self._writer_of
        )

    def own(self, service: str) -> EventVerifier:
        """Return what verifies the records of `service` by the key that it alone holds.

        Raises:
            ConfigurationError: it is missing.
        """
        ring = self._held([(service, service)])[service, service]
        return EventVerifier(service, {service: ring}, self._writer_of)

    def _held(self, pairs: Collection[tuple[str, str]]) -> dict[tuple[str, str], KeyRing]:
        lacking = [
            f"{writer}/{reader}" for writer, reader in pairs if (writer, reader) not in self._rings
        ]
        if lacking:
            message = (
                f"EVENT_KEYS holds no key {', '.join(lacking)}: give each process every line with "
                "its name, see docs/OPERATIONS.md, Keys of events"
            )
            raise ConfigurationError(message)
        return {pair: self._rings[pair] for pair in pairs}


def _signed(
    topic: str,
    partition: int,
    key: bytes,
    headers: Sequence[tuple[str, bytes | None]],
    body: bytes,
) -> bytes:
    """Return what a MAC is taken of: place, key, every header in its order, and the exact body.

    Parts end at a NUL, which none of them may hold, and say how many they are. So there is one way
    to read it, and nothing can be exchanged between two parts.

    Raises:
        TypeError: a header has no value.
        ValueError: a part holds a NUL, or a name is not UTF-8.
    """
    parts: list[Any] = [_FORM, topic.encode(), b"%d" % partition, key, b"%d" % len(headers)]
    for name, value in headers:
        parts += (name.encode(), value)
    head: bytes = b"\0".join(parts)
    if head.count(b"\0") != len(parts) - 1:
        message = "a part holds a NUL"
        raise ValueError(message)
    return head + b"\0" + body


def _read(text: str, pairs_max: int = PAIRS_MAX) -> dict[tuple[str, str], KeyRing]:
    found = read_keys(text, "writer/reader/id", _NAME, KEYS_MAX * pairs_max)
    by_pair: dict[tuple[str, str], dict[str, bytes]] = {}
    for name, key in found.items():
        writer, reader, key_id = name.split("/")
        by_pair.setdefault((writer, reader), {})[key_id] = key
    return {pair: KeyRing(keys) for pair, keys in by_pair.items()}


def _readable(secret: SecretStr) -> SecretStr:
    _read(secret.get_secret_value())
    return secret


EventKeysText = Annotated[SecretStr, AfterValidator(_readable)]
"""A setting that holds keys of the right form; its value is never shown."""
