"""Keys by id: the first one signs, all of them verify."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Annotated, Final, Self

from pydantic import AfterValidator, SecretStr

KEY_BYTES_MIN: Final = 32
KEY_BYTES_MAX: Final = 64
KEYS_MAX: Final = 8
ID: Final = r"[a-z0-9][a-z0-9-]{0,31}"

_BLOCK_BYTES: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+")


class Key:
    """One key, ready to be used: the two hashes of RFC 2104 after their first block."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        """Take a key of at most one block."""
        block = key.ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(block.translate(_INNER))
        self._outer = hashlib.sha256(block.translate(_OUTER))

    def digest(self, content: bytes) -> bytes:
        """Return the HMAC-SHA256 in hexadecimal, in half the time of `hmac.digest`."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(content)
        outer.update(inner.digest())
        return outer.hexdigest().encode()


class KeyRing:
    """At least one key by its id."""

    __slots__ = ("_signer", "keys")

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """Take the keys in the order of their file."""
        self.keys = {key_id: Key(key) for key_id, key in keys.items()}
        self._signer = next(iter(self.keys))

    @classmethod
    def read(cls, text: str) -> Self:
        """Read lines of `id:key`.

        Raises:
            ValueError: as `read_keys`.
        """
        return cls(read_keys(text, "id", re.compile(ID)))

    @classmethod
    def of(cls, secret: SecretStr | None) -> Self | None:
        """Read the keys of a setting that was checked when it was loaded; None when it is not set."""
        return None if secret is None else cls.read(secret.get_secret_value())

    @property
    def signer(self) -> tuple[str, Key]:
        """The key that signs, with its id."""
        return self._signer, self.keys[self._signer]

    def sign(self, content: bytes) -> str:
        """Return key id and HMAC of `content`, which begins with its kind."""
        key_id, key = self.signer
        return f"{key_id}:{key.digest(content).decode()}"

    def signed(self, content: bytes, mac: str) -> bool:
        """Say whether one of the keys signed `content`."""
        key_id, _, digest = mac.partition(":")
        key = self.keys.get(key_id)
        return key is not None and hmac.compare_digest(key.digest(content), digest.encode())


def read_keys(
    text: str, name: str, form: re.Pattern[str], keys_max: int = KEYS_MAX
) -> dict[str, bytes]:
    """Read lines of `name:key`, in order; empty lines and those that begin with `#` do not count.

    Raises:
        ValueError: a line is of another form, a key is too short, or a name comes twice. The
            message holds nothing of a key.
    """
    how = f"write a line `{name}:key` for each, the key as 64 to 128 hexadecimal digits"
    keys: dict[str, bytes] = {}
    for number, line in enumerate((line.strip() for line in text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        named, _, key = line.partition(":")
        if not form.fullmatch(named) or not _HEX.fullmatch(key):
            message = f"line {number} is no key: {how}"
            raise ValueError(message)
        if not KEY_BYTES_MIN <= len(key) // 2 <= KEY_BYTES_MAX:
            message = f"the key in line {number} has {len(key) // 2} bytes: {how}"
            raise ValueError(message)
        if named in keys:
            message = f"the id in line {number} is taken by an earlier line: choose another one"
            raise ValueError(message)
        keys[named] = bytes.fromhex(key)
    if not keys:
        message = f"there is no key: {how}"
        raise ValueError(message)
    if len(keys) > keys_max:
        message = (
            f"there are {len(keys)} keys: keep those that are still needed, {keys_max} at most"
        )
        raise ValueError(message)
    return keys


def _readable(secret: SecretStr) -> SecretStr:
    KeyRing.read(secret.get_secret_value())
    return secret


KeyRingText = Annotated[SecretStr, AfterValidator(_readable)]
"""A setting that holds the keys; its value is never shown."""
