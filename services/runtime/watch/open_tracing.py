"""Whether a process makes spans: off unless an OTLP endpoint is configured."""

from __future__ import annotations

import os
from typing import Final

from services.runtime.flow.tracing import UNTRACED, Tracing
from services.runtime.logs import Logger

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def open_tracing(service: str, logger: Logger) -> Tracing:
    """Return what the standard OTEL_ variables ask for; without an endpoint, nothing.

    Raises:
        ConfigurationError: what they ask for cannot be done.
    """
    wanted = any(os.environ.get(name, "").strip() for name in ENDPOINTS)
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    elsewhere = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
    if not wanted or disabled or elsewhere:
        return UNTRACED
    # Its packages are loaded only here: a process that traces nothing pays nothing for them.
    from services.runtime.watch.trace_export import open_spans  # noqa: PLC0415

    return open_spans(service, logger, ENDPOINTS)
