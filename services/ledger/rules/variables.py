"""The variables of account names: what may complete a name, which field of a fact gives it. PURE.

A template of the chart such as `Assets:Gateway:{Method}:{gateway}` names them in braces. A rule that
uses another one is refused at the start.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from schemas.catalogue import PlanKind, PlanTier
from schemas.requests import PaymentMethod

_IN_BRACES: Final = re.compile(r"\{([^{}]*)\}")
_ANY_TEXT: Final = ".+"


@dataclass(frozen=True, slots=True)
class Choice:
    """A variable of few values, which are known before any fact: `labels` are what a name shows.

    `field` of the event gives it. The values are part of the kind of an amount, so a rule is fixed
    for each of them when it is read, and may have a condition `field = [values]`.
    """

    name: str
    field: str
    labels: Mapping[str, str]

    @property
    def pattern(self) -> str:
        """Return the regular expression of what a name shows."""
        return "|".join(self.labels.values())


@dataclass(frozen=True, slots=True)
class Word:
    """A variable of any value: a name shows what `field` of the fact says.

    `column` of the table of amounts keeps it. Of a `part` of a name there is one level of the chart
    for each value: a colon in it is shown as `%3A`, and where the fact says nothing the level is
    left out. Any other value stands at the end of a name, as it is.
    """

    name: str
    field: str
    column: str
    part: bool = False

    @property
    def pattern(self) -> str:
        """Return the regular expression of what a name shows."""
        return "[^:]+" if self.part else _ANY_TEXT

    def put(self, template: str, value: str | None) -> str:
        """Return the template with this variable replaced."""
        if not self.part:
            return template.replace(f"{{{self.name}}}", value or "")
        shown = "" if value is None else ":" + value.replace(":", "%3A")
        return template.replace(f":{{{self.name}}}", shown)

    def read(self, shown: str) -> str:
        """Return the value that a name shows."""
        return shown.replace("%3A", ":") if self.part else shown

    def sql(self, template: str) -> str:
        """Return the SQL of `put`: of an expression for the template and the column of the value."""
        if not self.part:
            return f"replace({template}, '{{{self.name}}}', coalesce({self.column}, ''))"
        shown = f"coalesce(':' || replace({self.column}, ':', '%3A'), '')"
        return f"replace({template}, ':{{{self.name}}}', {shown})"


Variable = Choice | Word

CHOICES: Final = (
    Choice(
        "Method",
        "method",
        {
            PaymentMethod.CARD: "Card",
            PaymentMethod.PAYPAL: "PayPal",
            PaymentMethod.ALIPAY: "Alipay",
            PaymentMethod.WECHAT: "WeChat",
        },
    ),
    Choice("PlanKind", "plan_kind", {kind: kind.capitalize() for kind in PlanKind}),
    Choice("PlanTier", "plan_tier", {tier: tier.capitalize() for tier in PlanTier}),
)
GATEWAY: Final = Word("gateway", "gateway", "gateway", part=True)
WORDS: Final = (
    GATEWAY,
    Word("currency", "<amount>.currency", "currency", part=True),
    Word("jurisdiction", "<amount>_jurisdiction", "jurisdiction"),
    Word("account", "account_id", "account_id"),
)
"""In the order of the table's columns that a fold groups by."""
VARIABLES: Final[Mapping[str, Variable]] = {each.name: each for each in (*CHOICES, *WORDS)}


def variables_in(template: str) -> tuple[Variable, ...]:
    """Return the variables of an account's template, in their order.

    Raises:
        ValueError: one of them is not declared here.
    """
    names = _IN_BRACES.findall(template)
    for name in names:
        if name not in VARIABLES:
            message = (
                f"{template} uses {{{name}}}, which is no variable: take one of "
                f"{', '.join(VARIABLES)}, or declare it in variables.py"
            )
            raise ValueError(message)
    return tuple(VARIABLES[name] for name in names)


def pattern_of(template: str) -> re.Pattern[str]:
    """Return the regular expression of the names that a template can become.

    Raises:
        ValueError: it has a variable that is not declared here.
    """
    first, *rest = _IN_BRACES.split(template)
    parts = [re.escape(first)]
    for variable, text in zip(variables_in(template), rest[1::2], strict=True):
        group = f"(?P<{variable.name}>{variable.pattern})"
        if isinstance(variable, Word) and variable.part:
            parts[-1] = parts[-1].removesuffix(":")
            group = f"(?::{group})?"
        parts += [group, re.escape(text)]
    return re.compile("".join(parts))
