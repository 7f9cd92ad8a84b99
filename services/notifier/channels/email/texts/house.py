"""The seller, and the links for customers: the same in every email, set by the operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class House:
    """What a receipt says of the seller, and the address of the app; "" and None: not set."""

    seller_name: str = ""
    seller_address: str = ""
    seller_tax_number: str = ""
    app_url: str | None = None


NOBODY: Final = House()
