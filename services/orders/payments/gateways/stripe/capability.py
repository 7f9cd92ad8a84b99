"""What Stripe can do for us, and its words for it; known without its SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from schemas.requests import PaymentMethod

GATEWAY: Final = "stripe"
METHODS: Final[Mapping[PaymentMethod, str]] = {
    PaymentMethod.CARD: "card",
    PaymentMethod.PAYPAL: "paypal",
    PaymentMethod.ALIPAY: "alipay",
    PaymentMethod.WECHAT: "wechat_pay",
}
"""How customers may have paid in the app."""
CHARGES: Final = frozenset({PaymentMethod.CARD, PaymentMethod.PAYPAL})
"""Whose tokens can be charged while the customer is away; Alipay's and WeChat's are used up at once."""
