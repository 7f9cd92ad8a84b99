"""The words of the texts, one file per language in `languages/`, and the templates' versions.

A file with a missing, empty or unknown key does not load: no language can fall behind another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self

from pydantic import model_validator

from services.notifier.notification.templates import TEMPLATE_OF
from services.notifier.wording.figures import Formats, Phrase
from services.notifier.wording.languages import versions_in, words_in

_FOLDER: Final = Path(__file__).parent


class SmsWording(Formats):
    """Everything that one language says; `more` follows where a message stands for others too."""

    more: Phrase
    for_renewal: Phrase
    for_top_up: Phrase
    to_wallet: Phrase
    to_payment_method: Phrase
    messages: dict[str, Phrase]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.messages.keys() != set(TEMPLATE_OF.values()):
            message = (
                f"{self.locale}: have one message for each of {', '.join(TEMPLATE_OF.values())}"
            )
            raise ValueError(message)
        return self


WORDING: Final = words_in(_FOLDER, SmsWording)
VERSIONS: Final = versions_in(_FOLDER)
