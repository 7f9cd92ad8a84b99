"""Whether this is a demonstration: what may then be done that production never does by default."""

from __future__ import annotations

from typing import Final, Literal

Environment = Literal["production", "demo"]
VARIABLE: Final = "PERENNIAL_ENVIRONMENT"
"""One for all services, without their prefix."""


def refuse_outside_demo(environment: Environment, found: str, instead: str) -> None:
    """Refuse what `found` says, unless the environment is the demo; `instead` says what to set.

    Raises:
        ValueError: it is production. A validator of settings turns it into a line of its list.
    """
    if environment != "demo":
        message = f"{found} is for demonstrations and tests: {instead}, or set {VARIABLE}=demo"
        raise ValueError(message)
