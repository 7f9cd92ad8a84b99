"""What a person settled about an email, as a command for its notification."""

from __future__ import annotations

from datetime import datetime

from services.notifier.commands import FoundSent, SettleEmail, Template
from services.notifier.emails import TEMPLATE_OF
from services.notifier.emails.wording import VERSIONS
from services.notifier.facts import Fact
from services.runtime.errors import SettlementRefused
from services.runtime.processor import EffectRun, Settlement


def on_email_settled(said: Settlement, run: EffectRun, now: datetime) -> SettleEmail:
    """Settle an email as a person found it.

    Raises:
        SettlementRefused: the outcome is none of an email, or a sent one has no reference.
    """
    by, reason = said.by, said.reason
    fact = Fact.from_payload(run.payload)
    name = TEMPLATE_OF[type(fact.event())]
    template = Template(name, VERSIONS[name].version)
    match said:
        case Settlement(outcome="sent", reference=str(reference)):
            found = FoundSent(reference, min(said.at or now, now))
            return SettleEmail(fact, template, found, by, reason, now)
        case Settlement(outcome="sent"):
            raise SettlementRefused("a sent email needs the reference of the mail server")
        case Settlement(outcome="not_sent"):
            return SettleEmail(fact, template, "not_sent", by, reason, now)
        case _:
            raise SettlementRefused("the outcome of an email is sent or not_sent")
