"""The words of the texts, one file per language in `languages/`, and the templates' versions.

A file with a missing, empty or unknown key does not load: no language can fall behind another.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, TypeAdapter, model_validator

from schemas.envelope import Identifier, Sha256Hex
from services.notifier.notification.templates import TEMPLATE_OF
from services.notifier.wording.figures import Formats, Phrase
from services.notifier.wording.locales import LOCALES

_FOLDER: Final = Path(__file__).parent


class SmsWording(Formats):
    """Everything that one language says; `more` follows where a message stands for others too."""

    more: Phrase
    for_renewal: Phrase
    for_top_up: Phrase
    to_wallet: Phrase
    to_payment_method: Phrase
    messages: dict[str, Phrase]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.messages.keys() != set(TEMPLATE_OF.values()):
            message = (
                f"{self.locale}: have one message for each of {', '.join(TEMPLATE_OF.values())}"
            )
            raise ValueError(message)
        return self


class SmsVersion(BaseModel):
    """`version` is raised with every change of words, which `fingerprint` notices."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Identifier
    fingerprint: Sha256Hex


def _load(locale: str) -> SmsWording:
    text = (_FOLDER / "languages" / f"{locale}.toml").read_text(encoding="utf-8")
    return SmsWording.model_validate(tomllib.loads(text) | {"locale": locale})


WORDING: Final[Mapping[str, SmsWording]] = MappingProxyType({each: _load(each) for each in LOCALES})
VERSIONS: Final[Mapping[str, SmsVersion]] = MappingProxyType(
    TypeAdapter(dict[str, SmsVersion]).validate_python(
        tomllib.loads((_FOLDER / "versions.toml").read_text(encoding="utf-8"))
    )
)
