"""The recipes of docs/EXTENDING.md are replayed on a copy of the sources."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
PAGE: Final = (ROOT / "docs" / "EXTENDING.md").read_text(encoding="utf-8")
FILES_OF_AN_EVENT: Final = 5
FILES_BESIDE_A_CHANNEL: Final = 4
BLOCK: Final = re.compile(r"<!-- (file|in): (\S+) -->\n```\w+\n(.*?)```\n", re.DOTALL)


def replay(recipe: str, folder: Path) -> None:
    """Copy the sources to `folder`, and do there what the section `recipe` of the page says."""
    for name in ("schemas", "services"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "deploy").mkdir(exist_ok=True)
    shutil.copy(ROOT / "deploy" / "configuration_meanings.toml", folder / "deploy")
    for kind, path, text in BLOCK.findall(section(recipe)):
        file = folder / path
        if kind == "file":
            assert not file.exists()
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
            continue
        source = file.read_text(encoding="utf-8")
        for hunk in text.split("@@\n"):
            before, after = of_hunk(hunk, " -"), of_hunk(hunk, " +")
            assert source.count(before) == 1, f"{path} has not once:\n{before}"
            source = source.replace(before, after)
        file.write_text(source, encoding="utf-8")


def section(recipe: str) -> str:
    return PAGE.split(f"\n## {recipe}\n")[1].split("\n## ")[0]


def of_hunk(hunk: str, signs: str) -> str:
    return "".join(line[1:] + "\n" for line in hunk.splitlines() if line[0] in signs)


def done(folder: Path, *command: str) -> str:
    """Run a program of the environment in `folder`, with the modules there."""
    run = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def test_event_is_added_by_its_class_its_topic_an_example_a_decision_and_a_rule(
    tmp_path: Path,
) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "README.md", tmp_path)
    replay("An event", tmp_path)
    assert len(BLOCK.findall(section("An event"))) <= FILES_OF_AN_EVENT
    done(tmp_path, tool("ruff"), "check", "--no-cache", "schemas", "services/orders")
    done(tmp_path, tool("ruff"), "format", "--no-cache", "--check", "schemas", "services/orders")
    done(tmp_path, sys.executable, "-m", "schemas")
    done(tmp_path, sys.executable, "-m", "schemas", "--check")
    (tmp_path / "program.py").write_text(ESCALATED, encoding="utf-8")
    said = done(tmp_path, sys.executable, "program.py").splitlines()
    assert said == ["billing.orders.v1", "acct-100042", "nothing moved"]


ESCALATED: Final = """
import json
from datetime import UTC, datetime

from schemas.contents import EVENT_TYPES, TOPIC_OF
from services.ledger.rules.rule_file import load_rules

TYPE = "billing.ActivationEscalated.v1"
example = json.load(open("schemas/examples/ActivationEscalated/v1.json"))
event = EVENT_TYPES[TYPE].model_validate_json(json.dumps(example["data"]))
print(TOPIC_OF[TYPE].name)
print(event.account_id)
[rule] = load_rules().by_event["ActivationEscalated"]
print(rule.no_posting)
assert "escalated_at" in open("schemas/json/ActivationEscalated.v1.json").read()
assert "ActivationEscalated" in open("docs/EVENTS.md").read()
"""


def test_effect_is_added_by_its_file_a_line_and_what_its_result_means(tmp_path: Path) -> None:
    replay("An effect", tmp_path)
    done(tmp_path, tool("ruff"), "check", "--no-cache", "services/orders")
    done(tmp_path, tool("ruff"), "format", "--no-cache", "--check", "services/orders")
    shown = done(tmp_path, sys.executable, "-m", "services.cli", "effects", "settle", "--help")
    assert re.search(r"recheck +seen \(--reference\)", shown)
    program = (
        "from services.orders.effects import EFFECTS, Outside, build_effects\n"
        "effects = build_effects(Outside(None, None, None, None))\n"
        "assert list(effects) == [each.kind for each in EFFECTS], effects\n"
        "print(*effects)"
    )
    kinds = done(tmp_path, sys.executable, "-c", program).split()
    assert kinds[-1] == "recheck"


def test_posting_rule_is_added_by_its_row_and_what_was_booked_stays(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    replay("A posting rule", tmp_path)
    ((kind, path, text),) = BLOCK.findall(section("A posting rule"))
    assert (kind, path) == ("in", "services/ledger/rules/posting_rules.toml")
    assert text.count("+[[rule]]") == 1
    done(tmp_path, sys.executable, "-m", "deploy.accounting_docs")
    page = (tmp_path / "docs" / "ACCOUNTING.md").read_text(encoding="utf-8")
    assert (
        "| `surplus-fee` v3 from 2027-01-01 | `SurplusCaptured`, by a gateway | fee | none:" in page
    )
    (tmp_path / "program.py").write_text(BOOKED, encoding="utf-8")
    said = done(tmp_path, sys.executable, "program.py").splitlines()
    assert said == [
        "2026-11-30: surplus-fee v1 Assets:Gateway:Card -122",
        "2026-12-31: surplus-fee v2 Assets:Gateway:Card:stripe -122",
        "2027-01-01: surplus-fee v3 the settlement of the gateway books its fees",
    ]


BOOKED: Final = """
from datetime import UTC, datetime, timedelta

from schemas.money import Money
from schemas.requests import PaymentMethod
from schemas.surplus import SurplusCaptured, SurplusReason
from services.ledger.rules.postings import post
from services.ledger.rules.rule_file import load_rules

RULES = load_rules()
for moment in (
    datetime(2026, 11, 30, tzinfo=UTC),
    datetime(2027, 1, 1, tzinfo=UTC) - timedelta(microseconds=1),
    datetime(2027, 1, 1, tzinfo=UTC),
):
    paid = SurplusCaptured(
        account_id="acct-1",
        renewal_id="rnw-1",
        payment_id="pay-1",
        gateway="stripe",
        gateway_txn_id="txn-1",
        method=PaymentMethod.CARD,
        amount=Money(amount_minor=0, currency="USD"),
        fee=Money(amount_minor=122, currency="USD"),
        reason=SurplusReason.PAID_TWICE,
        captured_at=moment,
    )
    entry = post(paid, moment, RULES)
    moved = ((p.rule_id, p.rule_version, f"{p.account} {p.amount_minor}") for p in entry.postings[1:])
    for rule_id, version, what in (*moved, *entry.reasons):
        print(f"{moment.date()}: {rule_id} v{version} {what}")
"""


def test_channel_is_added_by_its_folder_and_four_other_files(tmp_path: Path) -> None:
    replay("A channel", tmp_path)
    paths = {path for _, path, _ in BLOCK.findall(section("A channel"))}
    beside = {path for path in paths if not path.startswith("services/notifier/channels/inbox/")}
    assert len(beside) <= FILES_BESIDE_A_CHANNEL
    done(tmp_path, tool("ruff"), "check", "--no-cache", "services/notifier", "schemas")
    done(tmp_path, tool("ruff"), "format", "--no-cache", "--check", "services/notifier", "schemas")
    meanings = tomllib.loads((tmp_path / "deploy/configuration_meanings.toml").read_text("utf-8"))
    assert {"inbox_url", "inbox_token"} <= meanings["notifier"].keys()
    (tmp_path / "program.py").write_text(INBOX, encoding="utf-8")
    said = done(tmp_path, sys.executable, "program.py").splitlines()
    assert said == ["inbox", "NotWanted", "sent inbox 1", "recipient", "Unknown", "unreachable"]
    shown = done(tmp_path, sys.executable, "-m", "services.cli", "effects", "settle", "--help")
    assert re.search(r"inbox +sent \(--reference\)", shown)


def test_gateway_is_added_by_its_file_its_settings_and_where_it_is_opened(tmp_path: Path) -> None:
    replay("A gateway", tmp_path)
    done(tmp_path, tool("ruff"), "check", "--no-cache", "services/orders")
    done(tmp_path, tool("ruff"), "format", "--no-cache", "--check", "services/orders")
    (tmp_path / "program.py").write_text(ACME, encoding="utf-8")
    said = done(tmp_path, sys.executable, "program.py").splitlines()
    assert said[0] == "acme cannot charge paypal"
    assert said[1:] == ["captured A-7", "declined bank_limit", "outcome_unknown", "unavailable"]


ACME: Final = """
import asyncio
from datetime import UTC, datetime

import httpx

from schemas.money import Money
from schemas.requests import PaymentMethod
from services.orders.catalogue.catalogue_file import CATALOGUE_DEFAULT, load_catalogue
from services.orders.order.routing import Routing
from services.orders.payments.gateways.acme import AcmeGateway
from services.orders.payments.gateways.gateway import Charge
from services.orders.ports import open_ports, routing_of
from services.orders.settings import OrdersSettings
from services.runtime.errors import ConfigurationError
from services.runtime.settings import load_settings

SETTINGS = {
    "POSTGRES_DSN": "postgresql://orders@127.0.0.1/perennial",
    "BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "ESIM_HASH_SALT": "salt-for-tests",
    "PROVIDER_URL": "https://provider.example.com",
    "ACME_URL": "https://acme.example.com",
    "GATEWAY": "acme",
    "ROUTING": "routing.toml",
}
NOW = datetime(2026, 11, 20, tzinfo=UTC)
CHARGE = Charge(
    payment_id="p-1",
    token="tok",
    method=PaymentMethod.CARD,
    amount=Money(amount_minor=100, currency="USD"),
)
AMOUNT = CHARGE.amount.model_dump()
PAID = {"number": "A-7", "amount": AMOUNT, "paid_at": "2026-11-20T08:00:00Z"}
REFUSED = {"number": "A-8", "amount": AMOUNT, "declined": "over_limit"}
ANSWERS = [(200, PAID), (402, REFUSED), (500, PAID), None]


def reply(request: httpx.Request) -> httpx.Response:
    answer = ANSWERS.pop(0)
    if answer is None:
        raise httpx.ConnectError("nobody is there")
    assert (request.method, request.url.path) == ("PUT", "/payments/p-1")
    made = httpx.Response(answer[0], json=answer[1])
    return httpx.Response(answer[0], stream=httpx.ByteStream(made.content))


async def main() -> None:
    with open("routing.toml", "w") as file:
        file.write("default = 'acme'\\n[[route]]\\ngateways = { acme = 1 }\\n")
        file.write("valid_from = 2025-01-01T00:00:00Z\\n")
    values = {f"PERENNIAL_ORDERS_{name}": value for name, value in SETTINGS.items()}
    settings = load_settings(OrdersSettings, values)
    try:
        routing_of(settings, load_catalogue(CATALOGUE_DEFAULT), NOW)
    except ConfigurationError as error:
        print("acme cannot charge paypal" if "acme cannot charge paypal" in str(error) else error)
    async with open_ports(settings, Routing.to("acme"), lambda: NOW) as ports:
        assert isinstance(ports.gateway.opened["acme"].gateway, AcmeGateway)
    transport = httpx.MockTransport(reply)
    async with httpx.AsyncClient(transport=transport, base_url="https://acme.example.com") as http:
        for _ in range(len(ANSWERS)):
            outcome = await AcmeGateway(http).charge(CHARGE)
            more = getattr(outcome, "gateway_txn_id", getattr(outcome, "reason", None))
            print(outcome.outcome, *([more] if more else []))


asyncio.run(main())
"""


INBOX: Final = """
import asyncio
import json
from datetime import UTC, datetime
from uuid import UUID

import httpx
import structlog

from schemas import EVENT_TYPES
from schemas.requests import Channel, Contact
from services.notifier.channels.definition import ChannelPorts
from services.notifier.channels.inbox.effect import InboxSender
from services.notifier.channels.registry import CHANNELS
from services.notifier.effects import build_effects
from services.notifier.limits.turns import Admitted
from services.notifier.notification.facts import Fact
from services.notifier.notification.policy import Limits
from services.notifier.settings import NotifierSettings
from services.runtime.effect import EffectRun
from services.runtime.settings import load_settings

SETTINGS = {
    "POSTGRES_DSN": "postgresql://notifier@127.0.0.1/perennial",
    "BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "SMTP_HOST": "127.0.0.1",
    "FROM_ADDRESS": "plans@shop.example.com",
    "INBOX_URL": "https://inbox.example.com",
}
NOW = datetime(2026, 11, 20, tzinfo=UTC)
ANSWERS = [200, 404, 503, None]
EXAMPLE = json.load(open("schemas/examples/PlanActivated/v1.json"))
KEY = UUID(EXAMPLE["id"])
FACT = Fact(KEY, KEY, EXAMPLE["type"], "acct-1", NOW, json.dumps(EXAMPLE["data"]), NOW)
structlog.configure(logger_factory=structlog.ReturnLoggerFactory())


def reply(request: httpx.Request) -> httpx.Response:
    answer = ANSWERS.pop(0)
    if answer is None:
        raise httpx.ConnectError("nobody is there")
    return httpx.Response(answer, stream=httpx.ByteStream(b"{}"))


class World:
    contact = Contact(email="a@example.org")

    async def find(self, account_id: str) -> Contact:
        return self.contact

    async def ask(self, run: EffectRun, wanted: object) -> Admitted:
        return Admitted("ab" * 16)

    async def mark(self, checkpoint: str) -> None:
        pass


async def main() -> None:
    values = {f"PERENNIAL_NOTIFIER_{name}": value for name, value in SETTINGS.items()}
    settings = load_settings(NotifierSettings, values)
    opened = {each.definition.name: each.open(settings, lambda: NOW) for each in CHANNELS}
    found = opened[Channel.INBOX]
    print(Channel.INBOX if found else "off")
    await found.sender.close()
    world = World()
    transport = httpx.MockTransport(reply)
    async with httpx.AsyncClient(transport=transport, base_url="https://inbox.example.com") as http:
        ports = ChannelPorts(
            world, world, InboxSender(http), Limits(), frozenset(Channel), lambda: NOW,
            structlog.get_logger(),
        )
        effect = build_effects({Channel.INBOX: ports})["inbox"]
        run = EffectRun(1, "inbox/1", "inbox", "acct-1", "s", FACT.payload(), 1, False, None)
        print(type(await effect.execute(run, world.mark)).__name__)
        world.contact = Contact(email="a@example.org", channels=[Channel.INBOX])
        result = await effect.execute(run, world.mark)
        print("sent", result.template.channel, result.template.version)
        for _ in range(len(ANSWERS)):
            outcome = (await effect.execute(run, world.mark)).outcome
            print(getattr(outcome, "what", getattr(outcome, "cause", type(outcome).__name__)))


asyncio.run(main())
"""
