"""How a command ends: with a sentence and an exit status, whatever went wrong, and no traceback."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any, Final, TextIO, cast

import typer
from typer._click.exceptions import ClickException  # what typer.BadParameter is made of

from services.runtime.errors import ConfigurationError, Transient

EXIT_USAGE: Final = 2
EXIT_UNREACHABLE: Final = 3
EXIT_OUTPUT_LOST: Final = 74
"""EX_IOERR of sysexits.h: what was to be done is done, and could not be told."""
EXIT_INTERRUPTED: Final = 130
EXIT_READER_GONE: Final = 141
"""What a shell says of a program that SIGPIPE ended, as `yes | head` does."""


class OutputLostError(Exception):
    """What a command says cannot be written: no OSError, so that nobody takes it for another."""

    def __init__(self, error: OSError) -> None:
        """Take what the system said."""
        super().__init__(str(error))
        self.error = error


class _Output(io.FileIO):
    """Standard output, whose errors are told apart from those of files and connections."""

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - any buffer
        try:
            return super().write(data)
        except OSError as error:
            raise OutputLostError(error) from error


def ended(run: Callable[[], None]) -> int:
    """Run a command, say what went wrong on stderr, and return the exit status."""
    _open_what_is_closed()
    if sys.stdout is sys.__stdout__:
        sys.stdout = _output_of(cast("TextIO", sys.stdout))
    try:
        status = _status_of(run)
        sys.stdout.flush()
    except OutputLostError as lost:
        return _output_lost(lost.error)
    return status


def _output_of(stream: TextIO) -> TextIO:
    raw = io.BufferedWriter(_Output(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(
        raw, stream.encoding, stream.errors, line_buffering=bool(stream.line_buffering)
    )


def _status_of(run: Callable[[], None]) -> int:
    try:
        run()
    except typer.Exit as exit_:
        return exit_.exit_code
    except ClickException as error:
        return _told(error)
    except (KeyboardInterrupt, typer.Abort):
        return _said("interrupted", EXIT_INTERRUPTED)
    except ConfigurationError as error:
        return _said(str(error), EXIT_USAGE)
    except OSError as error:
        if error.filename is not None:
            told = f"{error.filename} cannot be used ({error.strerror}): check name and permissions"
            return _said(told, EXIT_USAGE)
        return _said(f"cannot reach what is needed: {error}", EXIT_UNREACHABLE)
    except Transient as error:
        return _said(f"cannot reach what is needed: {error}", EXIT_UNREACHABLE)
    return 0


def _told(error: ClickException) -> int:
    """Print what is wrong with the arguments, in our words where the library brought its own."""
    if (cause := error.__cause__) is not None:
        from pydantic import ValidationError  # noqa: PLC0415 - a tenth of a second

        from services.runtime.plain_words import problems_of  # noqa: PLC0415

        if isinstance(cause, ValidationError):
            error.message = "; ".join(each["msg"] for each in problems_of(cause))
    error.show()
    return error.exit_code


def _said(message: str, status: int) -> int:
    sys.stderr.write(f"perennial: {message}\n")
    return status


def _output_lost(error: OSError) -> int:
    """Forget what cannot be written, so that the interpreter does not try again at its end."""
    with open(os.devnull, "w", encoding="utf-8") as nothing:  # noqa: PTH123 - no file of ours
        os.dup2(nothing.fileno(), 1)
    if isinstance(error, BrokenPipeError):
        return EXIT_READER_GONE
    told = f"the output cannot be written ({error.strerror}): what was asked for may be done"
    return _said(told, EXIT_OUTPUT_LOST)


def _open_what_is_closed() -> None:
    """Let a stream that the caller closed lead nowhere: else a file or a socket takes its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123, SIM115 - to the end
            if stream.fileno() != number:
                os.dup2(stream.fileno(), number)
            setattr(sys, name, stream)
