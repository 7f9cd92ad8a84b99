"""`python -m deploy.configuration_docs` writes docs/CONFIGURATION.md; `--check` only compares it."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from deploy.generated_page import DOCS, ROOT, keep_up_to_date
from services.cli.broker import BrokerSettings
from services.ledger.settings import LedgerSettings
from services.notifier.settings import NotifierSettings
from services.orders.settings import OrdersSettings
from services.runtime.settings import SHARED, KafkaSettings, RuntimeSettings, variable_of

PAGE: Final = DOCS / "CONFIGURATION.md"
MEANINGS: Final = Path(__file__).with_name("configuration_meanings.toml")
SERVICES: Final[Mapping[str, type[RuntimeSettings]]] = {
    "orders": OrdersSettings,
    "ledger": LedgerSettings,
    "notifier": NotifierSettings,
}
_TRACING: Final = """
## Tracing

Traces are switched on by the standard variables of OpenTelemetry, which have no prefix and no `_FILE`
form. [OPERATIONS.md](OPERATIONS.md#tracing) says what is then sent. Beside these, the Python SDK reads
the others of its specification: `OTEL_EXPORTER_OTLP_CERTIFICATE`, `OTEL_EXPORTER_OTLP_COMPRESSION`,
`OTEL_EXPORTER_OTLP_TIMEOUT`, `OTEL_BSP_...`.

"""
Meanings = Mapping[str, Mapping[str, str]]
Row = tuple[str, str, str, str]
_HEAD: Final = "| variable | default | values | meaning |\n|---|---|---|---|\n"
_INTRODUCTION: Final = """\
# Configuration

Everything is set by environment variables; there is no configuration file. The names of one
service begin with `PERENNIAL_<SERVICE>_`, so that all three can share an environment. A wrong or
missing variable stops the service at once (exit status 78) with a line for each that shows no value.

**Secrets.** Put `_FILE` behind a name and give the path of a file that holds the value, such as a
mounted secret: `PERENNIAL_ORDERS_POSTGRES_DSN_FILE=/run/secrets/dsn`. The file wins over the plain
variable, and the line break at its end does not count. Prefer it for everything marked *secret*: an
environment shows up in process lists, crash reports and container inspections. Secrets are never
logged.

**Bold** variables must be set.
"""


def page(meanings: Meanings) -> str:
    """Return the whole page.

    Raises:
        ValueError: a setting has no meaning, or a meaning has no setting.
    """
    parts = [
        _INTRODUCTION,
        "\n## Every service\n\n`<SERVICE>` is `ORDERS`, `LEDGER` or `NOTIFIER`.\n\n",
        _table(_rows("PERENNIAL_<SERVICE>_", RuntimeSettings, meanings["runtime"])),
    ]
    for service, model in SERVICES.items():
        prefix = f"PERENNIAL_{service.upper()}_"
        parts += [f"\n## {service.capitalize()}\n\n", _other_defaults(prefix, model)]
        parts.append(_table(_rows(prefix, model, meanings[service], RuntimeSettings)))
    parts += [_TRACING, _two_columns(meanings["tracing"])]
    parts += ["\n## The command `perennial`\n\n", _command_table(meanings["cli"])]
    return "".join(parts)


def _rows(
    prefix: str,
    model: type[KafkaSettings],
    meanings: Mapping[str, str],
    base: type[KafkaSettings] | None = None,
) -> Iterator[Row]:
    inherited = base.model_fields.keys() if base else ()
    fields = {name: each for name, each in model.model_fields.items() if name not in inherited}
    if wrong := sorted(fields.keys() ^ meanings.keys()):
        message = f"{MEANINGS.name} and {model.__name__} disagree about {', '.join(wrong)}"
        raise ValueError(message)
    for name, field in fields.items():
        variable = f"`{name.upper() if name in SHARED else prefix + name.upper()}`"
        shown = f"**{variable}**" if field.is_required() else variable
        yield shown, _default(field), _values(field), meanings[name]


def _table(rows: Iterator[Row]) -> str:
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _other_defaults(prefix: str, model: type[RuntimeSettings]) -> str:
    """Say where a service's default differs from that of every service."""
    differing = [
        f"`{prefix}{name.upper()}` is {_default(model.model_fields[name])} here"
        for name, field in RuntimeSettings.model_fields.items()
        if model.model_fields[name].default != field.default
    ]
    return f"{'; '.join(differing)}.\n\n" if differing else ""


def _command_table(meanings: Mapping[str, str]) -> str:
    known = {variable_of("PERENNIAL_", name) for name in BrokerSettings.model_fields}
    if missing := sorted(known - meanings.keys()):
        message = f"{MEANINGS.name} says nothing about {', '.join(missing)} of the command line"
        raise ValueError(message)
    return _two_columns(meanings)


def _two_columns(meanings: Mapping[str, str]) -> str:
    rows = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in meanings.items())
    return f"| variable | meaning |\n|---|---|\n{rows}"


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required() or value is None or value == "":
        return ""
    if isinstance(value, frozenset):
        return ", ".join(f"`{each}`" for each in sorted(value))
    if isinstance(value, Path):
        return f"`{value.relative_to(ROOT) if value.is_absolute() else value}`"
    return f"`{value}`"


def _values(field: FieldInfo) -> str:
    kinds = [kind for kind in _alternatives(field.annotation) if kind is not type(None)]
    names = [name for kind in kinds for name in _names(kind)]
    bounds = [bound for each in field.metadata if (bound := _bound(each))]
    return " ".join([", ".join(names) or "text", *bounds])


def _alternatives(annotation: object) -> tuple[object, ...]:
    choices = get_args(annotation)
    return choices if type(None) in choices else (annotation,)


def _names(kind: object) -> list[str]:
    if get_origin(kind) is Literal:
        return [f"`{choice}`" for choice in get_args(kind)]
    if get_origin(kind) is frozenset:
        return _names(get_args(kind)[0]) or ["text"]
    plain = get_args(kind)[0] if hasattr(kind, "__metadata__") else kind
    known = {int: "whole number", float: "number", Path: "path", SecretStr: "*secret*"}
    return [known[plain]] if isinstance(plain, type) and plain in known else []


def _bound(constraint: object) -> str:
    for attribute, word in (("gt", "above"), ("ge", "from"), ("le", "to")):
        if (value := getattr(constraint, attribute, None)) is not None:
            return f"{word} {value}"
    return ""


def main(arguments: list[str] | None = None) -> int:
    """Return 0 when the page is up to date (or now is), 1 when `--check` found a difference."""
    text = page(tomllib.loads(MEANINGS.read_text(encoding="utf-8")))
    return keep_up_to_date("deploy.configuration_docs", PAGE, lambda _: text, arguments)


if __name__ == "__main__":
    sys.exit(main())
