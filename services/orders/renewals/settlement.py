"""Decides what a person says became of an activation. PURE.

What nothing else tells: from the word of the provider's people.
"""

from __future__ import annotations

from schemas.orders import ActivationFailureReason
from services.orders.catalogue.validity import valid_until
from services.orders.order.rules import IgnoredReason, Rules
from services.orders.order.state import AwaitingActivation, Renewal
from services.orders.payments.capture import owe_back
from services.orders.payments.settlement import signed
from services.orders.renewals.activation import activated
from services.orders.renewals.commands import SettleActivation
from services.orders.renewals.providers.provider import Activated
from services.runtime.errors import SettlementRefused
from services.runtime.processor import Decision, Ignored


def settle_activation(
    command: SettleActivation, state: Renewal, rules: Rules
) -> Decision | Ignored:
    """Take the plan for active, or owe the money back as after an activation that failed.

    Raises:
        SettlementRefused: the catalogue has lost the plan, whose validity nobody else knows.
    """
    stage, outcome = state.stage, command.outcome
    if not isinstance(stage, AwaitingActivation):
        return Ignored(IgnoredReason.ACTIVATION_NOT_AWAITED)
    if outcome == "not_activated":
        reason = ActivationFailureReason.DEADLINE_PASSED
        (failed, *more), effects = owe_back(state, stage.payment, reason, command.now)
        return Decision((signed(failed, command.by, command.reason), *more), effects)
    price = state.quote
    plan = rules.catalogue.plan_version(price.plan_code, price.plan_version)
    if plan is None:
        message = rules.catalogue.lacks(price.plan_code, price.plan_version)
        raise SettlementRefused(message)
    days = plan.validity_days * price.quantity
    found = Activated(
        provider=outcome.provider,
        provider_order_ref=outcome.provider_order_ref,
        valid_from=outcome.activated_at,
        valid_until=valid_until(outcome.activated_at, days, state.time_zone),
        activated_at=outcome.activated_at,
    )
    done = activated(state, stage, found, rules)
    return Decision((signed(done, command.by, command.reason),))
