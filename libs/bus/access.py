"""Kafka's access control lists, read and changed through the admin protocol."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest

from libs.bus.connection import connection
from libs.bus.rights import Operation, ResourceType, Right
from libs.bus.settings import BusSettings

# Numbers of the Kafka protocol (org.apache.kafka.common.acl and .resource).
_ANY: Final = 1
_ALLOW: Final = 3
_LITERAL: Final = 3
_PREFIXED: Final = 4
_EVERY_HOST: Final = "*"
_KINDS: Final[dict[ResourceType, int]] = {"topic": 2, "group": 3, "transactional-id": 5}
_OPERATIONS: Final[dict[Operation, int]] = {"All": 2, "Read": 3, "Write": 4, "Describe": 8}

Entry = tuple[int, str, int, str, str, int, int]
"""Kind, name, pattern, principal, host, operation, permission: in the order of the protocol's fields."""


class Changed(msgspec.Struct, frozen=True):
    """How many entries were added, and how many of the same principals, wanted no more, were removed."""

    added: int
    removed: int


async def apply_rights(
    settings: BusSettings, rights: Collection[Right], principal: str = "User:{}"
) -> Changed:
    """Make the lists say of the principals of `rights` exactly these; others' entries are left alone.

    `principal` is what Kafka calls one, with {} for its name. Rights are added before any is removed. Raises
    KafkaError, also for who may not do it.
    """
    wanted = {_entry(right, principal) for right in rights}
    admin = AIOKafkaAdminClient(**connection(settings))
    await admin.start()
    try:
        present = await _entries_of(admin, sorted({entry[3] for entry in wanted}))
        for entry in sorted(wanted - present):
            response = await admin._send_request(CreateAclsRequest(*entry))
            _check(response.creation_responses)
        for entry in sorted(present - wanted):
            response = await admin._send_request(DeleteAclsRequest(*entry))
            _check(response.filter_responses)
    finally:
        await admin.close()
    return Changed(len(wanted - present), len(present - wanted))


async def _entries_of(admin: AIOKafkaAdminClient, principals: Sequence[str]) -> set[Entry]:
    found: set[Entry] = set()
    for name in principals:
        request = DescribeAclsRequest(_ANY, None, _ANY, name, None, _ANY, _ANY)
        response = await admin._send_request(request)
        _check([(response.error_code, response.error_message)])
        for kind, resource, pattern, entries in response.resources:
            found |= {(kind, resource, pattern, *entry) for entry in entries}
    return found


def _entry(right: Right, principal: str) -> Entry:
    return (
        _KINDS[right.kind],
        right.name,
        _PREFIXED if right.prefixed else _LITERAL,
        principal.format(right.principal),
        _EVERY_HOST,
        _OPERATIONS[right.operation],
        _ALLOW,
    )


def _check(answers: Sequence[Sequence[Any]]) -> None:
    for code, message, *_ in answers:
        if code:
            raise for_code(code)(message)
