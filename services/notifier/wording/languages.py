"""Reads the texts of a channel: a file for each language, and the versions of its templates."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter

from schemas.envelope import Identifier, Sha256Hex
from services.notifier.wording.locales import LOCALES

WordsT = TypeVar("WordsT", bound=BaseModel)


class TemplateVersion(BaseModel):
    """`version` is raised with every change of a message, which `fingerprint` notices."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Identifier
    fingerprint: Sha256Hex


def words_in(folder: Path, model: type[WordsT]) -> Mapping[str, WordsT]:
    """Return the words of each language, from `languages/<locale>.toml` of `folder`."""
    return MappingProxyType(
        {
            locale: model.model_validate(
                _read(folder / "languages" / f"{locale}.toml") | {"locale": locale}
            )
            for locale in LOCALES
        }
    )


def versions_in(folder: Path) -> Mapping[str, TemplateVersion]:
    """Return the version of each template, from `versions.toml` of `folder`."""
    versions = TypeAdapter(dict[str, TemplateVersion])
    return MappingProxyType(versions.validate_python(_read(folder / "versions.toml")))


def _read(file: Path) -> dict[str, object]:
    return tomllib.loads(file.read_text(encoding="utf-8"))
