"""The table of who may do what, brought to the broker and compared with it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from schemas.access import SERVICES, Grant, Operation, ResourceKind, grants, our_topics, roles
from services.runtime.errors import ConfigurationError
from services.runtime.kafka.patches.acls import (
    ALLOW,
    DENY,
    EVERY_HOST,
    LITERAL,
    PREFIXED,
    Acl,
    add_acls,
    read_acls,
    remove_acls,
)

if TYPE_CHECKING:
    from aiokafka.admin import AIOKafkaAdminClient

VARIABLE: Final = "PERENNIAL_KAFKA_PRINCIPALS"
_IMPLIES: Final = {
    Operation.READ: {Operation.ALL, Operation.READ},
    Operation.WRITE: {Operation.ALL, Operation.WRITE},
    Operation.DESCRIBE: set(Operation),
    Operation.DESCRIBE_CONFIGS: {
        Operation.ALL,
        Operation.DESCRIBE_CONFIGS,
        Operation.ALTER_CONFIGS,
    },
}
_HARMLESS: Final = frozenset({Operation.DESCRIBE, Operation.DESCRIBE_CONFIGS})
_CLUSTER_WIDE: Final = frozenset(
    {Operation.ALL, Operation.ALTER, Operation.ALTER_CONFIGS, Operation.CLUSTER_ACTION}
)
Principals = Mapping[str, tuple[str, ...]]
"""The Kafka users that play each role."""


def principals(text: str | None = None) -> Principals:
    """Read `role=user,role=user`, of the variable unless given; a role without one has its own name.

    Raises:
        ConfigurationError: a part is not of this form, or its role does not exist.
    """
    text = os.environ.get(VARIABLE, "") if text is None else text
    named: dict[str, list[str]] = {role: [] for role in roles()}
    for part in filter(None, (each.strip() for each in text.split(","))):
        role, equals, user = (each.strip() for each in part.partition("="))
        if not equals or not user or role not in named or user == "*":
            message = (
                f"write {VARIABLE} as role=user,role=user, with the roles {', '.join(named)}; a "
                "role may have several users"
            )
            raise ConfigurationError(message)
        named[role].append(user)
    return {role: tuple(users) or (role,) for role, users in named.items()}


def wanted_acls(users: Principals) -> frozenset[Acl]:
    """Return the entries of the table for the users that play its roles."""
    return frozenset(_acl(grant, user) for grant in grants() for user in users[grant.role])


async def apply_access(
    admin: AIOKafkaAdminClient, users: Principals, *, remove_others: bool
) -> tuple[int, int]:
    """Add what the broker lacks; with `remove_others`, remove what goes beyond the table.

    Returns how many entries were added and removed.

    Raises:
        ConfigurationError: the broker has no authorizer, or our principal may not.
    """
    found = await read_acls(admin)
    wanted = wanted_acls(users)
    missing = sorted(wanted - found)
    if missing:
        await add_acls(admin, missing)
    beyond = sorted(set(too_wide(found, wanted))) if remove_others else []
    if beyond:
        await remove_acls(admin, beyond)
    return len(missing), len(beyond)


def findings(found: Collection[Acl], users: Principals) -> Iterator[str]:
    """Yield what a person must mend, a sentence each."""
    wanted = wanted_acls(users)
    lacking: dict[str, list[str]] = {}
    for acl in sorted(wanted):
        allowed = any(_covers(each, acl) for each in found if each.permission == ALLOW)
        denied = any(_covers(each, acl) for each in found if each.permission == DENY)
        if denied or not allowed:
            lacking.setdefault(acl.principal, []).append(_told(acl))
    for principal, what in lacking.items():
        yield f"{principal} may not {'; '.join(what)}: run `perennial setup`"
    for acl in sorted(too_wide(found, wanted)):
        if acl.kind == ResourceKind.TRANSACTIONAL_ID:
            advice = (
                "a transaction that it leaves open holds up everybody behind it, so give what uses "
                "transactions elsewhere a user of its own"
            )
        else:
            advice = f"if it should, name it in {VARIABLE}"
        yield (
            f"{acl.principal} may {_told(acl)}, which nobody gave it here: {advice}; else run "
            "`perennial setup --remove-other-access`"
        )


def too_wide(found: Collection[Acl], wanted: Collection[Acl]) -> Iterator[Acl]:
    """Yield the entries that allow more than the table, on what is ours or on the whole cluster.

    None of our roles uses transactions: one that is left open holds up everybody behind it.
    """
    ours = {acl.principal for acl in wanted} | {"User:*"}
    for acl in found:
        if acl.permission != ALLOW or acl.operation in _HARMLESS or acl in wanted:
            continue
        if acl.kind == ResourceKind.CLUSTER:
            if acl.operation in _CLUSTER_WIDE:
                yield acl
        elif acl.kind == ResourceKind.TRANSACTIONAL_ID:
            if acl.principal in ours:
                yield acl
        elif _touches_ours(acl):
            yield acl


def _touches_ours(acl: Acl) -> bool:
    ours = {ResourceKind.TOPIC: our_topics(), ResourceKind.GROUP: frozenset(SERVICES)}.get(
        ResourceKind(acl.kind) if acl.kind in set(ResourceKind) else ResourceKind.CLUSTER,
        frozenset(),
    )
    return any(_matches(acl, name) for name in ours)


def _matches(acl: Acl, name: str) -> bool:
    if acl.pattern == PREFIXED:
        return name.startswith(acl.name)
    return acl.name in {name, "*"}


def _covers(acl: Acl, wanted: Acl) -> bool:
    """Return whether an entry of the broker speaks of all that `wanted` does."""
    if acl.kind != wanted.kind or acl.host not in {EVERY_HOST, wanted.host}:
        return False
    if acl.principal not in {wanted.principal, "User:*"}:
        return False
    if wanted.pattern == PREFIXED and (acl.pattern, acl.name) != (LITERAL, "*"):
        fits = acl.pattern == PREFIXED and wanted.name.startswith(acl.name)
    else:
        fits = _matches(acl, wanted.name)
    return fits and acl.operation in _IMPLIES[Operation(wanted.operation)]


def _acl(grant: Grant, user: str) -> Acl:
    return Acl(
        kind=int(grant.kind),
        name=grant.name,
        pattern=PREFIXED if grant.prefixed else LITERAL,
        principal=f"User:{user}",
        host=EVERY_HOST,
        operation=int(grant.operation),
        permission=ALLOW,
    )


def _told(acl: Acl) -> str:
    operation = Operation(acl.operation).name.lower() if acl.operation in set(Operation) else "act"
    kind = ResourceKind(acl.kind).name.lower() if acl.kind in set(ResourceKind) else "resource"
    return f"{operation} {kind} {acl.name}{'...' if acl.pattern == PREFIXED else ''}"
