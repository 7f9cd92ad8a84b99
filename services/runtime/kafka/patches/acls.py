"""The broker's access control lists: read, add, remove. aiokafka has the structs and no calls.

Waits for aio-libs/aiokafka#955.

Field by field as in https://kafka.apache.org/protocol.html: DescribeAcls, CreateAcls, DeleteAcls 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiokafka.errors import ClusterAuthorizationFailedError, SecurityDisabled, for_code
from aiokafka.protocol.admin import (
    CreateAclsRequest_v1,
    DeleteAclsRequest_v1,
    DescribeAclsRequest,
)
from aiokafka.protocol.api import Request

from services.runtime.errors import ConfigurationError, Transient

if TYPE_CHECKING:
    from aiokafka.admin import AIOKafkaAdminClient

LITERAL: Final = 3
PREFIXED: Final = 4
DENY: Final = 2
ALLOW: Final = 3
_ANY: Final = 1
EVERY_HOST: Final = "*"


class NoAuthorizer(ConfigurationError):
    """The broker keeps no lists: everybody may do everything."""


@dataclass(frozen=True, slots=True, order=True)
class Acl:
    """One entry: `principal` (such as `User:orders`) on a resource, in Kafka's numbers."""

    kind: int
    name: str
    pattern: int
    principal: str
    host: str
    operation: int
    permission: int

    def fields(self) -> tuple[int, str, int, str, str, int, int]:
        """Return the entry in the order of the protocol."""
        return (
            self.kind,
            self.name,
            self.pattern,
            self.principal,
            self.host,
            self.operation,
            self.permission,
        )


class _Create(Request[CreateAclsRequest_v1]):  # type: ignore[misc]
    API_KEY = 30

    def __init__(self, acls: Sequence[Acl]) -> None:
        self._acls = acls

    def build(self, request_struct_class: type[CreateAclsRequest_v1]) -> CreateAclsRequest_v1:
        return request_struct_class([acl.fields() for acl in self._acls])


class _Delete(Request[DeleteAclsRequest_v1]):  # type: ignore[misc]
    API_KEY = 31

    def __init__(self, acls: Sequence[Acl]) -> None:
        self._acls = acls

    def build(self, request_struct_class: type[DeleteAclsRequest_v1]) -> DeleteAclsRequest_v1:
        return request_struct_class([acl.fields() for acl in self._acls])


async def read_acls(admin: AIOKafkaAdminClient) -> frozenset[Acl]:
    """Return every entry of the broker.

    Raises:
        NoAuthorizer: it has no authorizer.
        ConfigurationError: our principal may not see them.
    """
    request = DescribeAclsRequest(_ANY, None, _ANY, None, None, _ANY, _ANY)
    answer: Any = await admin._send_request(request)  # noqa: SLF001 - see above
    _check(answer.error_code)
    return frozenset(
        Acl(kind, name, pattern, principal, host, operation, permission)
        for kind, name, pattern, acls in answer.resources
        for principal, host, operation, permission in acls
    )


async def add_acls(admin: AIOKafkaAdminClient, acls: Sequence[Acl]) -> None:
    """Add entries; those that are there already stay.

    Raises:
        ConfigurationError: our principal may not.
    """
    answer: Any = await admin._send_request(_Create(acls))  # noqa: SLF001 - see above
    for code, _ in answer.creation_responses:
        _check(code)


async def remove_acls(admin: AIOKafkaAdminClient, acls: Sequence[Acl]) -> None:
    """Remove exactly these entries.

    Raises:
        ConfigurationError: our principal may not.
    """
    answer: Any = await admin._send_request(_Delete(acls))  # noqa: SLF001 - see above
    for code, *_ in answer.filter_responses:
        _check(code)


def _check(code: int) -> None:
    error = for_code(code)
    if not code:
        return
    if error is SecurityDisabled:
        message = (
            "the broker has no authorizer, so everybody may write every topic: set "
            "authorizer.class.name there, then run `perennial setup`"
        )
        raise NoAuthorizer(message)
    if error is ClusterAuthorizationFailedError:
        message = (
            "this Kafka user may not see or change who may do what: `setup` needs a super user, "
            "`status` the operator's"
        )
        raise ConfigurationError(message)
    message = f"Kafka does not say who may do what ({error.__name__})"
    raise Transient(message)
