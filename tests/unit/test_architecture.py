"""Rules of the house that import-linter cannot say, checked on the syntax trees of the sources."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from services.runtime.kafka.consumers import READING

ROOT: Final = Path(__file__).parents[2]
PURE: Final = (
    *("schemas." + name for name in (
        "catalogue", "envelope", "ledger", "money", "notifier", "orders", "confirmations", "requests",
        "registry", "surplus", "topics",
    )),
    *("services.orders." + name for name in (
        "decider", "history", "unfinished",
        *("catalogue." + name for name in ("catalogue", "offers", "pricing", "validity")),
        *("order." + name for name in (
            "archival", "evolution", "identities", "order_id", "past", "policy", "repetitions",
            "routing", "rules", "state", "streams",
        )),
        *("payments." + name for name in (
            "actions", "capture", "commands", "confirmations", "credit", "payments", "refunds",
            "settlement",
        )),
        *("renewals." + name for name in (
            "activation", "commands", "renewals", "settlement",
        )),
        *("topups." + name for name in ("commands", "topups")),
    )),
    *("services.ledger." + name for name in (
        "decider", "wallets",
        *("reports." + name for name in ("balance_report", "gateway_report", "scope")),
        *("rules." + name for name in ("accounts", "amounts", "postings", "rule_set", "variables")),
    )),
    *("services.notifier." + name for name in (
        "channels.email.mailboxes", "channels.sms.segments", "decider",
        *("notification." + name for name in (
            "archival", "commands", "evolution", "facts", "identities", "outcomes", "policy",
            "rate_limit", "reports", "templates",
        )),
    )),
)  # fmt: skip
"""Deciders, evolutions and what they are made of: no I/O, no clock, no chance."""
EFFECTS: Final = (
    "services.orders.effects",
    *("services.orders.payments.effects." + name for name in (
        "charge", "confirm", "expire", "ports", "refund",
    )),
    "services.orders.renewals.effects.activate",
)  # fmt: skip
"""Definitions of effects: they wait for the ports that they are given, and are pure beside that."""
PORTS: Final = frozenset(
    {
        "schemas",
        "services.orders.payments.claims.port",
        "services.orders.payments.gateways.gateway",
        "services.orders.renewals.providers.provider",
        "services.runtime.effect",
        "services.runtime.effect_definition",
        "services.runtime.errors",
        "services.runtime.processor",
        "services.runtime.log.stream_ids",
    }
)
"""Values and protocols that pure modules may know beside each other."""
FOLDS: Final = (
    *("services.ledger." + name for name in (
        "books.coverage", "books.sql_fold", "reports.statement", "rules.rule_file",
        "verification.body_check",
    )),
    "services.notifier.channels.email.message",
)  # fmt: skip
"""They may read a log or a file, but the same input must give the same bytes: no clock, no chance."""
IMPURE_IMPORTS: Final = frozenset((
    "asyncio", "asyncpg", "aiokafka", "aiosmtplib", "faststream", "httpx", "io", "logging", "os",
    "pathlib", "requests", "selectors", "shutil", "signal", "smtplib", "socket", "sqlite3", "ssl",
    "structlog", "subprocess", "sys", "tempfile", "threading", "urllib", "uvicorn",
))  # fmt: skip
CLOCK_AND_CHANCE_IMPORTS: Final = frozenset({"time", "random", "secrets"})
CLOCK_AND_CHANCE_CALLS: Final = frozenset(
    [
        "now",
        "utcnow",
        "today",
        "getrandbits",
        "token_hex",
        "token_bytes",
        "urandom",
        "uuid1",
        "uuid4",
        "perf_counter",
        "monotonic",
    ]
)
MONEY: Final = ("schemas", "services/orders", "services/ledger")
SERVICE_FILES: Final = frozenset(
    f"{name}.py" for name in ("__init__", "__main__", "app", "decider", "handlers", "settings")
)
Check = Callable[[ast.AST], Iterator[str]]


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def file_of(module: str) -> Path:
    return ROOT / f"{module.replace('.', '/')}.py"


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(tree: ast.AST) -> Iterator[str]:
    """Return the first word of every imported module."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.partition(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]
            case _:
                pass


def own_modules(tree: ast.AST) -> Iterator[str]:
    """Return our own modules that are imported."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names) if module.partition(".")[0] in {
                "schemas",
                "services",
            }:
                whole = (f"{module}.{alias.name}" for alias in names)
                modules = [name for name in whole if file_of(name).is_file()]
                yield from modules or [module]
            case _:
                pass


def input_and_output(tree: ast.AST) -> Iterator[str]:
    yield from (f"imports {name}" for name in imports(tree) if name in IMPURE_IMPORTS)
    for node in ast.walk(tree):
        match node:
            case ast.AsyncFunctionDef(name=name):
                yield f"async def {name}"
            case ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                yield f"waits in line {node.lineno}"
            case ast.Call(func=ast.Name(id="open" | "print" | "input" as name)):
                yield f"{name}() in line {node.lineno}"
            case _:
                pass


def clock_and_chance(tree: ast.AST) -> Iterator[str]:
    yield from (f"imports {name}" for name in imports(tree) if name in CLOCK_AND_CHANCE_IMPORTS)
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if (
                name in CLOCK_AND_CHANCE_CALLS
            ):
                yield f"{name}() in line {node.lineno}"
            case _:
                pass


def awaited(tree: ast.AST) -> Iterator[str]:
    """Return what is called and waited for."""
    for node in ast.walk(tree):
        match node:
            case ast.Await(value=ast.Call(func=function)):
                yield ast.unparse(function)
            case ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                yield ast.unparse(node)
            case _:
                pass


def floats(tree: ast.AST) -> Iterator[str]:
    """Find floats, but for durations, whose names say that they are seconds."""
    durations = {
        id(annotation)
        for node in ast.walk(tree)
        for name, annotation in _annotated(node)
        if name.lower().endswith("seconds")
    }
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=float(number)):
                yield f"{number} in line {node.lineno}"
            case ast.Name(id="float") if id(node) not in durations:
                yield f"float in line {node.lineno}"
            case _:
                pass


def _annotated(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.arg(arg=name, annotation=ast.Name() as annotation):
            yield name, annotation
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
            yield name, annotation
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript() as value):
            yield from ((name, each) for each in ast.walk(value))
        case _:
            pass


@pytest.mark.parametrize("module", PURE)
def test_decider_and_what_it_is_made_of_has_no_io_no_clock_and_no_chance(module: str) -> None:
    tree = tree_of(file_of(module))
    assert [*input_and_output(tree), *clock_and_chance(tree)] == []


@pytest.mark.parametrize("module", EFFECTS)
def test_definition_of_an_effect_waits_for_its_ports_and_has_no_clock_and_no_chance(
    module: str,
) -> None:
    tree = tree_of(file_of(module))
    assert [name for name in imports(tree) if name in IMPURE_IMPORTS] == []
    assert list(clock_and_chance(tree)) == []
    assert {each.split(".")[0] for each in awaited(tree)} <= {"ports"}


@pytest.mark.parametrize("module", [*PURE, *EFFECTS])
def test_pure_module_knows_pure_modules_folds_and_ports_only(module: str) -> None:
    assert set(own_modules(tree_of(file_of(module)))) <= {*PURE, *FOLDS, *PORTS, *EFFECTS}


@pytest.mark.parametrize("module", FOLDS)
def test_fold_has_no_clock_and_no_chance(module: str) -> None:
    assert list(clock_and_chance(tree_of(file_of(module)))) == []


def test_module_that_says_it_is_pure_is_checked_for_it() -> None:
    saying = {
        shown(path)
        for path in sources("schemas", "services")
        if "PURE" in (ast.get_docstring(tree_of(path)) or "")
    }
    assert saying <= {shown(file_of(module)) for module in PURE}


def test_money_is_never_a_float() -> None:
    found = {
        shown(path): list(floats(tree_of(path)))
        for path in sources(*MONEY)
        if path.parent.name != "sandbox" and path.name != "settings.py"
    }
    assert {path: why for path, why in found.items() if why} == {}


@pytest.mark.parametrize("service", ["orders", "ledger", "notifier"])
def test_service_has_the_shape_of_every_service(service: str) -> None:
    folder = ROOT / "services" / service
    assert {path.name for path in folder.glob("*.py")} >= SERVICE_FILES
    entry = (folder / "__main__.py").read_text(encoding="utf-8")
    assert f'run_service(\n        "{service}"' in entry or f'run_service("{service}"' in entry
    assert len(entry.splitlines()) <= 15
    migrations = [path.name for path in (folder / "migrations").glob("*")]
    assert [name for name in migrations if not re.fullmatch(r"\d{14}_[a-z_]+\.sql", name)] == []


def test_consumer_is_built_in_one_place_that_reads_committed_records_only() -> None:
    makers = {
        shown(path)
        for path in sources("services", "deploy")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and "AIOKafkaConsumer" in ast.unparse(node.func)
    }
    assert makers == {"services/runtime/kafka/consumers.py"}
    assert READING["isolation_level"] == "read_committed"
    subscribers = ast.unparse(tree_of(ROOT / "services/runtime/kafka/client.py"))
    assert subscribers.count(".subscriber(") == subscribers.count("**READING") == 1


@pytest.mark.parametrize(
    ("check", "source"),
    [
        (input_and_output, "import asyncio"),
        (input_and_output, "from pathlib import Path"),
        (input_and_output, "import urllib.request"),
        (input_and_output, "async def decide(): ..."),
        (input_and_output, "open('x')"),
        (clock_and_chance, "import time"),
        (clock_and_chance, "from random import random"),
        (clock_and_chance, "datetime.now(UTC)"),
        (clock_and_chance, "uuid4()"),
        (clock_and_chance, "uuid.uuid4()"),
        (floats, "price = 1.5"),
        (floats, "float(price)"),
        (floats, "def f(price: float): ..."),
        (floats, "Price = Annotated[float, Field()]"),
    ],
)
def test_check_finds_what_it_forbids(check: Check, source: str) -> None:
    assert list(check(ast.parse(source)))


@pytest.mark.parametrize(
    ("check", "source"),
    [
        (input_and_output, "from datetime import datetime"),
        (clock_and_chance, "from uuid import uuid5\nuuid5(space, 'a')\nnow = command.now"),
        (floats, "def f(timeout_seconds: float): ..."),
        (floats, "Seconds = Annotated[float, Field(gt=0)]"),
        (floats, "amount_minor = 5 // 2"),
    ],
)
def test_check_lets_through_what_is_allowed(check: Check, source: str) -> None:
    assert list(check(ast.parse(source))) == []
