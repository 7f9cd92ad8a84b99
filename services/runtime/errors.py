"""The kinds of failure that decide what happens to a record. Their messages say what to do next."""

from __future__ import annotations


class PerennialError(Exception):
    """Everything that this project raises on purpose."""


class Transient(PerennialError):
    """The world is unwell: roll back, wait, try the same records again."""


class VersionConflict(Transient):
    """Another writer appended to the stream first: decide again on what is there now."""


class Poison(PerennialError):
    """This record can never be right: dead-letter it. `reason` is a short stable code."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep the `reason` (at most 64 characters, no personal data) beside the `message`."""
        super().__init__(message)
        self.reason = reason


class Halt(PerennialError):
    """Going on would make the books wrong: stop the process, change nothing, say what to do."""


class Stuck(PerennialError):
    """The process is alive and no longer moves: end it, and start it again."""


class ConfigurationError(PerennialError):
    """The process cannot start as configured."""
