"""Structured logs: one canonical JSON line per batch, pretty on a terminal. No personal data."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

Logger: TypeAlias = "FilteringBoundLogger"
"""What is handed around; structlog itself is loaded by who writes lines, and by no command."""
_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure_logs(
    service: str, *, log_format: Literal["auto", "json", "pretty"], level: str
) -> Logger:
    """Send everything, the libraries' records included, to standard output as one line each."""
    import structlog  # noqa: PLC0415 - see Logger

    pretty = log_format == "pretty" or (log_format == "auto" and sys.stdout.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Local variables hold tokens and addresses: no traceback may show them.
    renderer = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if pretty
        else structlog.processors.JSONRenderer()
    )
    without_locals = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    exceptions = [] if pretty else [structlog.processors.ExceptionRenderer(without_locals)]
    structlog.configure(
        processors=[*shared, *exceptions, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *exceptions,
                renderer,
            ],
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logger: Logger = structlog.get_logger().bind(service=service)
    return logger
