"""Who publishes, as `--source` names it."""

from __future__ import annotations

import typer

from services.upstream.requests import PUBLISHED_TOPICS, is_source


def refuse_wrong_source(source: str) -> None:
    """Refuse what may publish on none of our topics.

    Raises:
        typer.BadParameter: the source is not of the form that a topic takes.
    """
    if not is_source(source):
        rules = " or ".join(topic.source_rule for topic in PUBLISHED_TOPICS)
        message = f"--source must be {rules}, in small letters, digits and hyphens"
        raise typer.BadParameter(message)
