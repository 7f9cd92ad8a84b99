"""JSON Schema (draft 2020-12) of one event: closed, and without null, as options are left out."""

from __future__ import annotations

from typing import Any, Final

from schemas.envelope import Message

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_FIRST: Final = ("$schema", "$id", "title", "description", "type", "properties", "required")


def json_schema(model: type[Message]) -> dict[str, Any]:
    """Return the schema that a producer must satisfy; `$id` is the `dataschema` of the envelope."""
    schema = _plain(model.model_json_schema())
    schema["$schema"] = DIALECT
    schema["$id"] = model.schema_uri()
    keys = [key for key in _FIRST if key in schema]
    return {key: schema[key] for key in keys + [key for key in schema if key not in keys]}


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """Drop what only pydantic needs: titles of properties, `null` alternatives and defaults."""
    plain = {key: _plain_value(key, value) for key, value in schema.items()}
    alternatives = [one for one in plain.pop("anyOf", []) if one != {"type": "null"}]
    if len(alternatives) == 1:
        plain = {**alternatives[0], **plain}
    elif alternatives:
        plain["anyOf"] = alternatives
    if plain.get("default", ...) is None:
        del plain["default"]
    return plain


def _plain_value(key: str, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if key in {"properties", "$defs"}:
        return {name: _without_title(_plain(part), key) for name, part in value.items()}
    if isinstance(value, dict):
        return _plain(value)
    if isinstance(value, list):
        return [_plain(one) if isinstance(one, dict) else one for one in value]
    return value


def _without_title(schema: dict[str, Any], holder: str) -> dict[str, Any]:
    if holder == "properties":
        schema.pop("title", None)
    return schema
