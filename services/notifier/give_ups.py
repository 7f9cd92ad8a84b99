"""What a person settled about an email, as a command for its notification."""

from __future__ import annotations

from datetime import datetime

from services.notifier.commands import FoundSent, SettleEmail, Template
from services.notifier.emails import TEMPLATE_OF
from services.notifier.emails.wording import VERSIONS
from services.notifier.facts import Fact
from services.runtime.errors import Poison
from services.runtime.processor import EffectRun, GiveUp


def on_email_given_up(given_up: GiveUp, run: EffectRun, now: datetime) -> SettleEmail:
    """Settle an email as a person found it.

    Raises:
        Poison: the outcome is none of an email, or a sent one has no reference.
    """
    by, reason = given_up.by, given_up.reason
    fact = Fact.from_payload(run.payload)
    name = TEMPLATE_OF[type(fact.event())]
    template = Template(name, VERSIONS[name].version)
    match given_up:
        case GiveUp(outcome="sent", reference=str(reference)):
            found = FoundSent(reference, min(given_up.at or now, now))
            return SettleEmail(fact, template, found, by, reason, now)
        case GiveUp(outcome="sent"):
            raise Poison("give_up", "a sent email needs the reference of the mail server")
        case GiveUp(outcome="not_sent"):
            return SettleEmail(fact, template, "not_sent", by, reason, now)
        case _:
            raise Poison("give_up", "the outcome of an email is sent or not_sent")
