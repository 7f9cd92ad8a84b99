"""Which effects an order still needs, told from its events and its request alone. PURE.

For a log whose effects were lost: a restored database holds those of an earlier moment.
"""

from __future__ import annotations

from services.orders.effects import EFFECTS
from services.orders.order.past import Past
from services.runtime.effect import Start


def unfinished(past: Past) -> list[Start]:
    """Return what is to be done for the order; without its request, what needs none of it.

    Raises:
        ConfigurationError: the catalogue lacks the plan that was sold.
    """
    restored = (each.restore(past) for each in EFFECTS)
    return [start for each in restored for start in each.changes if isinstance(start, Start)]
