"""docs/SANDBOX.md lists what the sandbox knows, and the sandbox does what the list says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from schemas.orders import ActivationFailureReason, DeclineReason
from services.orders.payments.gateways.gateway import (
    ActionRequired,
    Captured,
    Charge,
    ChargeReference,
    Declined,
    NotFound,
)
from services.orders.payments.gateways.sandbox_script import TOKENS
from services.orders.renewals.providers.provider import Activated, PlanOrder, Refused
from services.orders.renewals.providers.sandbox import ICCID_ENDINGS
from services.orders.sandbox_journal import GATEWAY_JOURNAL, PROVIDER_JOURNAL
from services.orders.settings import OrdersSettings
from tests.unit.orders.builders import CATALOGUE, ICCID
from tests.unit.orders.world import World, run

PAGE = (Path(__file__).parents[4] / "docs" / "SANDBOX.md").read_text(encoding="utf-8")
CALLS_MAX = 5


def table(name: str) -> dict[str, str]:
    """Return the rows between the page's marks, without the head."""
    marked = PAGE.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", marked, re.MULTILINE)
    return dict(rows[1:] if rows[0][0].startswith("payment") else rows)


def test_page_lists_every_token_and_every_ending() -> None:
    assert table("tokens") == TOKENS
    assert table("endings") == ICCID_ENDINGS


@pytest.mark.parametrize(("token", "promised"), TOKENS.items())
def test_token_charges_or_declines_as_the_page_says(
    world: World, token: str, promised: str
) -> None:
    charge = Charge.model_validate_json(PAGE.split("```json\n")[1].split("```")[0])
    charge = charge.model_copy(update={"token": token.replace("N", str(CALLS_MAX - 1))})
    for _ in range(CALLS_MAX):
        run(world.ports.gateway.charge(charge))
    reference = ChargeReference(payment_id=charge.payment_id)
    found = run(world.ports.gateway.look_up_charge(reference))
    if promised.startswith("declined: "):
        reason = promised.removeprefix("declined: ").split(",")[0]
        assert found == Declined(reason=DeclineReason(reason))
    elif promised.startswith("never charged"):
        assert found == NotFound()
    elif promised.startswith("asks the customer"):
        assert isinstance(found, ActionRequired)
        for _ in range(2, CALLS_MAX):
            found = run(world.ports.gateway.look_up_charge(reference))
        assert isinstance(found, Captured if promised.endswith("charged then") else ActionRequired)
    else:
        assert "charged" in promised
        assert isinstance(found, Captured)
        assert found.amount == charge.amount


@pytest.mark.parametrize(
    ("ending", "promised"), [row for row in ICCID_ENDINGS.items() if row[0] != "92NN"]
)
def test_ending_activates_or_refuses_as_the_page_says(
    world: World, ending: str, promised: str
) -> None:
    iccid = ICCID[:-4] + ending.replace("N", str(CALLS_MAX - 1))
    order = PlanOrder(
        reference="act-1", iccid=iccid, plan_code="eu-day", quantity=1, validity_days=1
    )
    answers = [run(world.ports.provider.top_up(order)) for _ in range(CALLS_MAX)]
    if promised.startswith("refused: "):
        reason = ActivationFailureReason(promised.removeprefix("refused: "))
        assert all(isinstance(each, Refused) and each.reason is reason for each in answers)
    elif "for ever" in promised:
        assert not any(isinstance(each, Activated) for each in answers)
    else:
        assert "activated" in promised
        assert isinstance(answers[-1], Activated)


def test_page_names_the_settings_files_and_prefix_that_exist() -> None:
    named = set(re.findall(r"PERENNIAL_ORDERS_([A-Z_]+)", PAGE))
    assert {name.lower() for name in named} <= OrdersSettings.model_fields.keys()
    assert GATEWAY_JOURNAL in PAGE
    assert PROVIDER_JOURNAL in PAGE
    for iccid in re.findall(r"`(\d{19,20})`", PAGE):
        assert CATALOGUE.renewable(iccid)
