"""The emails: what a fact reads like in each language. `render` is all a caller needs."""

from __future__ import annotations

from services.notifier.channels.email.texts.rendering import RenderedEmail, render

__all__ = ["RenderedEmail", "render"]
