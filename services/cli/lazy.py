"""A group of commands of which only the one that is asked for is imported."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command


class LazyGroup(TyperGroup):
    """A group whose `entries` say, for each name, what it is for and where it is defined.

    `<module>` defines a group as `app`, `<module>:<function>` a command. Importing all of them
    takes seconds, mostly for Kafka and Arrow, and the list of commands needs none.
    """

    entries: ClassVar[Mapping[str, tuple[str, str]]]

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - as TyperGroup has it
        """Return the names in the order of the entries."""
        return list(self.entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002
        """Return what the list of commands shows: the name and what it is for."""
        if cmd_name not in self.entries:
            return None
        return TyperCommand(cmd_name, help=self.entries[cmd_name][0])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Return the command itself, imported, with its name and arguments."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else self.load(name), rest

    @classmethod
    def load(cls, name: str) -> Any:  # noqa: ANN401
        """Import the command or group `name` and return it."""
        module, _, function = cls.entries[name][1].partition(":")
        defined: Any = import_module(module)
        parent = typer.Typer(
            add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
        )
        parent.callback()(lambda: None)
        if function:
            parent.command(name)(getattr(defined, function))
        else:
            parent.add_typer(defined.app, name=name)
        group: Any = get_command(parent)
        return group.commands[name]

    @classmethod
    def load_all(cls) -> dict[str, Any]:
        """Import everything: for those who look at the commands rather than run one."""
        return {name: cls.load(name) for name in cls.entries}
