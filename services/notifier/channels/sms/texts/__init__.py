"""The texts: what a fact reads like in an SMS, in each language. `render` is all a caller needs."""

from __future__ import annotations

from services.notifier.channels.sms.texts.rendering import RenderedSms, render

__all__ = ["RenderedSms", "render"]
