"""The emails: what a fact reads like in each language. `render` is all a caller needs."""

from __future__ import annotations

from services.notifier.emails.content import order_of
from services.notifier.emails.locales import locale_of
from services.notifier.emails.rendering import TEMPLATE_OF, RenderedEmail, render

__all__ = ["TEMPLATE_OF", "RenderedEmail", "locale_of", "order_of", "render"]
