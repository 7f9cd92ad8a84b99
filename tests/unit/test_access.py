"""The table of who may do what, and how the broker's lists are compared with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schemas.access import Operation, ResourceKind, grants, our_topics, roles
from schemas.topics import ALL_TOPICS, CATALOGUE, LEDGER, ORDERS, REQUESTS
from services.cli.setup.access import findings, principals, too_wide, wanted_acls
from services.runtime.errors import ConfigurationError
from services.runtime.kafka.patches.acls import ALLOW, DENY, LITERAL, PREFIXED, Acl

USERS = principals("")
TABLE = wanted_acls(USERS)
FORGER = Acl(2, ORDERS.name, LITERAL, "User:shop", "*", Operation.WRITE, ALLOW)


def who(operation: Operation, topic: str) -> set[str]:
    return {g.role for g in grants() if g.operation is operation and g.name == topic}


def test_only_its_writer_writes_a_topic() -> None:
    for each in ALL_TOPICS:
        writers = {each.written_by} | ({"operator"} if each is REQUESTS else set())
        assert who(Operation.WRITE, each.name) == writers
        for group in each.groups:
            assert who(Operation.WRITE, each.dead_letter_topic(group)) == {group}


def test_contact_data_is_read_by_who_needs_it_only() -> None:
    assert who(Operation.READ, REQUESTS.name) == {"orders", "notifier", "operator"}
    assert "observer" in who(Operation.READ, LEDGER.name)


def test_everybody_reads_what_is_sold_and_orders_alone_writes_it() -> None:
    assert who(Operation.READ, CATALOGUE.name) == set(roles())
    assert who(Operation.WRITE, CATALOGUE.name) == {"orders"}


def test_no_row_is_wide() -> None:
    for grant in grants():
        assert "*" not in grant.name
        assert grant.operation in {
            Operation.READ,
            Operation.WRITE,
            Operation.DESCRIBE,
            Operation.DESCRIBE_CONFIGS,
        }
        assert grant.kind is not ResourceKind.TOPIC or grant.name in our_topics()
        assert not grant.prefixed or grant.role == "observer"


def test_a_broker_with_the_table_has_no_findings() -> None:
    assert list(findings(TABLE, USERS)) == []


@pytest.mark.parametrize(
    "acl",
    [
        FORGER,
        replace(FORGER, operation=Operation.ALL),
        replace(FORGER, operation=Operation.DELETE),
        replace(FORGER, name="*"),
        replace(FORGER, name="billing.", pattern=PREFIXED),
        replace(FORGER, principal="User:*"),
        replace(FORGER, principal="User:ledger"),
        replace(FORGER, name=REQUESTS.name, operation=Operation.READ),
        replace(FORGER, kind=3, name="orders", operation=Operation.READ),
        replace(FORGER, kind=4, name="kafka-cluster", operation=Operation.ALTER),
        replace(FORGER, kind=5, name="shop", principal="User:upstream"),
        replace(FORGER, kind=5, name="*", principal="User:*", operation=Operation.ALL),
    ],
)
def test_what_goes_beyond_the_table_is_named_with_what_to_do(acl: Acl) -> None:
    told = list(findings(TABLE | {acl}, USERS))
    assert len(told) == 1
    assert acl.principal in told[0]
    assert "perennial setup --remove-other-access" in told[0]


@pytest.mark.parametrize(
    "acl",
    [
        replace(FORGER, name="shop.orders"),
        replace(FORGER, name="shop", pattern=PREFIXED),
        replace(FORGER, operation=Operation.DESCRIBE),
        replace(FORGER, permission=DENY),
        replace(FORGER, kind=5, name="shop"),
        replace(FORGER, kind=5, name="x", principal="User:upstream", operation=Operation.DESCRIBE),
    ],
)
def test_what_others_do_elsewhere_is_theirs(acl: Acl) -> None:
    assert list(too_wide({acl}, TABLE)) == []


def test_what_is_missing_or_denied_is_named() -> None:
    lost = next(
        acl for acl in TABLE if acl.principal == "User:ledger" and acl.kind == ResourceKind.GROUP
    )
    assert list(findings(TABLE - {lost}, USERS)) == [
        "User:ledger may not read group ledger: run `perennial setup`"
    ]
    denied = replace(lost, permission=DENY, principal="User:*")
    assert "User:ledger may not read group ledger" in " ".join(findings(TABLE | {denied}, USERS))


def test_a_role_has_the_users_that_are_named() -> None:
    users = principals("upstream=shop, upstream=app,orders=svc-orders")
    assert users["upstream"] == ("shop", "app")
    assert users["orders"] == ("svc-orders",)
    assert users["ledger"] == ("ledger",)
    assert set(users) == set(roles())
    writers = {a.principal for a in wanted_acls(users) if a.name == REQUESTS.name}
    assert {"User:shop", "User:app"} <= writers


@pytest.mark.parametrize("text", ["shop", "upstream=", "nobody=shop", "upstream=*"])
def test_principals_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="PERENNIAL_KAFKA_PRINCIPALS"):
        principals(text)
