"""What each email says: facts of the event put into the words of a language. Still plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from schemas.confirmations import PaymentActionRequired
from schemas.envelope import Event
from schemas.ledger import LowBalanceDetected
from schemas.orders import (
    ActivationDelayed,
    DeclineReason,
    PaymentFailed,
    PlanActivated,
    RefundCompleted,
    WalletToppedUp,
)
from schemas.requests import PaymentMethod
from schemas.surplus import SurplusCredited, SurplusReturned
from services.notifier.channels.email.texts.house import NOBODY, House
from services.notifier.channels.email.texts.wording import (
    PaymentWords,
    ReasonWords,
    TemplateWords,
    Wording,
)
from services.notifier.wording.figures import Figures, unbound
from services.notifier.wording.greeting import shown_id
from services.notifier.wording.titles import title_in

_SUBJECT_PLAN_MAX: Final = 72


_RECEIPTS: Final = (
    PlanActivated,
    WalletToppedUp,
    RefundCompleted,
    SurplusReturned,
    SurplusCredited,
)
_ASKING: Final = (PaymentFailed, LowBalanceDetected)


@dataclass(frozen=True, slots=True)
class Row:
    """One fact; `strong` is the sum that the others lead to."""

    label: str
    value: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Button:
    """The one thing to do: its words, and the https address that it opens."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Content:
    """An email before it is text or HTML: nothing is escaped yet."""

    subject: str
    preheader: str
    heading: str
    opening: tuple[str, ...]
    rows: tuple[Row, ...]
    next_title: str
    next_steps: tuple[str, ...]
    button: Button | None = None


def compose(
    event: Event, figures: Figures[Wording], listed: Sequence[str] = (), house: House = NOBODY
) -> Content:
    """Return the content of the email about `event`, which tells of more of its kind by order.

    Raises:
        TypeError: no email is written about events of this type.
    """
    content = _with_house(_composed(event, figures), event, figures.words, house)
    return _with_others(content, listed, figures.words) if listed else content


def _with_house(content: Content, event: Event, words: Wording, house: House) -> Content:
    """Add who sold to a receipt, and a button to a letter that asks for something."""
    labels = words.labels
    seller = (
        (labels.seller, house.seller_name),
        (labels.seller_address, house.seller_address),
        (labels.seller_tax_number, house.seller_tax_number),
    )
    rows = [Row(label, value) for label, value in seller if value]
    if isinstance(event, _RECEIPTS):
        content = replace(content, rows=(*content.rows, *rows))
    asks = isinstance(event, _ASKING) and house.app_url is not None
    return replace(content, button=Button(words.button, house.app_url or "")) if asks else content


def _with_others(content: Content, listed: Sequence[str], words: Wording) -> Content:
    """Add what was held back: how many, and of which orders. An order may have several."""
    labels, orders = words.labels, list(dict.fromkeys(filter(None, listed)))
    rows = [*content.rows, Row(labels.held_back, str(len(listed)))]
    if orders:
        rows.append(Row(labels.held_back_orders, ", ".join(map(shown_id, orders))))
    return replace(content, opening=(*content.opening, words.held_back), rows=tuple(rows))


def _composed(event: Event, figures: Figures[Wording]) -> Content:
    match event:
        case PlanActivated():
            return _renewal_confirmed(event, figures)
        case PaymentFailed():
            return _payment_failed(event, figures)
        case WalletToppedUp():
            return _top_up_confirmed(event, figures)
        case ActivationDelayed():
            return _activation_delayed(event, figures)
        case RefundCompleted():
            return _refund_completed(event, figures)
        case SurplusReturned():
            return _surplus_returned(event, figures)
        case SurplusCredited():
            return _surplus_credited(event, figures)
        case LowBalanceDetected():
            return _low_balance(event, figures)
        case PaymentActionRequired():
            return _action_required(event, figures)
        case _:
            message = f"no email is written about {type(event).__name__}: look in TEMPLATE_OF first"
            raise TypeError(message)


def _renewal_confirmed(event: PlanActivated, figures: Figures[Wording]) -> Content:
    words, labels = figures.words, figures.words.labels
    plan = _plan(event.plan_title, words, event.plan_code)
    facts = {"plan": plan, "valid_until": figures.moment(event.valid_until)}
    periods = (Row(labels.periods, str(event.quantity)),) if event.quantity > 1 else ()
    rows = (
        Row(labels.plan, plan),
        *periods,
        Row(labels.valid_from, figures.moment(event.valid_from)),
        Row(labels.valid_until, facts["valid_until"]),
        Row(labels.net, figures.money(event.price)),
        Row(labels.tax, figures.money(event.tax)),
        Row(labels.total, figures.money(event.total), strong=True),
        Row(labels.payment_method, words.methods[event.payment_method]),
        Row(labels.order, shown_id(event.renewal_id)),
        Row(labels.activated_at, figures.moment(event.activated_at)),
    )
    return _content(words.renewal_confirmed, facts, rows)


def _payment_failed(event: PaymentFailed, figures: Figures[Wording]) -> Content:
    words, labels = figures.words, figures.words.labels
    letter, reason = words.payment_failed, _reason(event, words)
    purpose, order = _ordered(event, letter, words)
    facts = {
        "amount": figures.money(event.amount),
        "purpose": purpose,
        "why": reason.why,
        "what_next": reason.what_next,
    }
    plan = _plan(event.plan_title or {}, words, "")
    rows = (
        *((Row(labels.plan, plan),) if plan else ()),
        Row(labels.amount, facts["amount"], strong=True),
        Row(labels.payment_method, words.methods[event.method]),
        order,
        Row(labels.failed_at, figures.moment(event.failed_at)),
    )
    return _content(letter, facts, rows)


def _top_up_confirmed(event: WalletToppedUp, figures: Figures[Wording]) -> Content:
    words, labels = figures.words, figures.words.labels
    facts = {"amount": figures.money(event.amount)}
    until = event.expires_at
    expiry = (Row(labels.credit_until, figures.moment(until)),) if until is not None else ()
    bonus = (Row(labels.bonus, figures.money(event.bonus)),) if event.bonus else ()
    rows = (
        Row(labels.amount, facts["amount"], strong=True),
        *bonus,
        Row(labels.payment_method, words.methods[event.method]),
        Row(labels.top_up, shown_id(event.topup_id)),
        Row(labels.topped_up_at, figures.moment(event.topped_up_at)),
        *expiry,
    )
    return _content(words.top_up_confirmed, facts, rows)


def _activation_delayed(event: ActivationDelayed, figures: Figures[Wording]) -> Content:
    words, labels = figures.words, figures.words.labels
    plan = _plan(event.plan_title, words, event.renewal_id)
    rows = (
        Row(labels.plan, plan),
        Row(labels.order, shown_id(event.renewal_id)),
        Row(labels.promised_by, figures.moment(event.promised_by)),
    )
    return _content(words.activation_delayed, {"plan": plan}, rows)


def _refund_completed(event: RefundCompleted, figures: Figures[Wording]) -> Content:
    words, labels, letter = figures.words, figures.words.labels, figures.words.refund_completed
    by_wallet = event.method is PaymentMethod.WALLET
    facts = {
        "amount": figures.money(event.amount),
        "order": shown_id(event.renewal_id),
        "arrival": letter.to_wallet if by_wallet else letter.to_payment_method,
    }
    granted = event.refund.bonus
    bonus = (Row(labels.bonus, figures.money(granted)),) if granted.amount_minor else ()
    tax = event.refund.tax
    taxed = (Row(labels.net, figures.money(event.refund.net)), Row(labels.tax, figures.money(tax)))
    rows = (
        *(taxed if tax.amount_minor else ()),
        *bonus,
        Row(labels.refund_total, facts["amount"], strong=True),
        Row(labels.refund_to, words.methods[event.method]),
        Row(labels.order, shown_id(event.renewal_id)),
        Row(labels.refund, event.refund_id),
        Row(labels.refunded_at, figures.moment(event.completed_at)),
    )
    return _content(letter, facts, rows)


def _surplus_returned(event: SurplusReturned, figures: Figures[Wording]) -> Content:
    """Nothing was bought with a surplus, so there is no price and no tax."""
    words, labels, letter = figures.words, figures.words.labels, figures.words.surplus_returned
    facts = {
        "amount": figures.money(event.amount),
        "order": shown_id(event.renewal_id),
        "why": letter.reasons[event.reason],
    }
    rows = (
        Row(labels.refund_total, facts["amount"], strong=True),
        Row(labels.refund_to, words.methods[event.method]),
        Row(labels.order, facts["order"]),
        Row(labels.refund, event.refund_id),
        Row(labels.refunded_at, figures.moment(event.returned_at)),
    )
    return _content(letter, facts, rows)


def _surplus_credited(event: SurplusCredited, figures: Figures[Wording]) -> Content:
    words, labels, letter = figures.words, figures.words.labels, figures.words.surplus_credited
    facts = {"amount": figures.money(event.amount), "why": letter.reasons[event.reason]}
    until = event.expires_at
    expiry = (Row(labels.credit_until, figures.moment(until)),) if until is not None else ()
    rows = (
        Row(labels.amount, facts["amount"], strong=True),
        Row(labels.payment_method, words.methods[event.method]),
        Row(labels.top_up, shown_id(event.topup_id)),
        Row(labels.topped_up_at, figures.moment(event.credited_at)),
        *expiry,
    )
    return _content(letter, facts, rows)


def _low_balance(event: LowBalanceDetected, figures: Figures[Wording]) -> Content:
    words, labels = figures.words, figures.words.labels
    facts = {
        "balance": figures.money(event.balance),
        "threshold": figures.money(event.threshold),
    }
    rows = (
        Row(labels.balance, facts["balance"], strong=True),
        Row(labels.threshold, facts["threshold"]),
        Row(labels.detected_at, figures.moment(event.detected_at)),
    )
    return _content(words.low_balance, facts, rows)


def _action_required(event: PaymentActionRequired, figures: Figures[Wording]) -> Content:
    """The button opens the page of the gateway, which made its address."""
    words, labels, letter = (
        figures.words,
        figures.words.labels,
        figures.words.payment_action_required,
    )
    purpose, order = _ordered(event, letter, words)
    facts = {
        "amount": figures.money(event.amount),
        "purpose": purpose,
        "pay_by": figures.moment(event.pay_by),
    }
    rows = (
        Row(labels.amount, facts["amount"], strong=True),
        Row(labels.payment_method, words.methods[event.method]),
        order,
        Row(labels.pay_by, facts["pay_by"], strong=True),
    )
    return replace(_content(letter, facts, rows), button=Button(words.pay_button, event.pay_link))


def _ordered(
    event: PaymentFailed | PaymentActionRequired, letter: PaymentWords, words: Wording
) -> tuple[str, Row]:
    """Return what the payment is for, in words, and the row of the order."""
    if event.renewal_id is not None:
        return letter.for_renewal, Row(words.labels.order, shown_id(event.renewal_id))
    return letter.for_top_up, Row(words.labels.top_up, shown_id(event.topup_id or ""))


def _content(letter: TemplateWords, facts: Mapping[str, str], rows: tuple[Row, ...]) -> Content:
    plan = facts.get("plan", "")
    short = plan if len(plan) <= _SUBJECT_PLAN_MAX else f"{plan[: _SUBJECT_PLAN_MAX - 1]}…"
    return Content(
        subject=unbound(letter.subject.format_map({**facts, "plan": short})),
        preheader=letter.preheader.format_map(facts),
        heading=letter.heading.format_map(facts),
        opening=tuple(each.format_map(facts) for each in letter.opening),
        rows=rows,
        next_title=letter.next_title,
        next_steps=tuple(each.format_map(facts) for each in letter.next_steps),
    )


def _plan(titles: Mapping[str, str], words: Wording, otherwise: str) -> str:
    title = title_in(titles, words.locale)
    return title or (shown_id(otherwise) if otherwise else "")


def _reason(event: PaymentFailed, words: Wording) -> ReasonWords:
    by_wallet = event.method is PaymentMethod.WALLET
    if by_wallet and event.reason is DeclineReason.INSUFFICIENT_FUNDS:
        return words.wallet_insufficient_funds
    return words.reasons[event.reason]
