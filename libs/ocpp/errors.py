"""CALLERROR codes: one canonical spelling inside, each version's own on the wire."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from libs.ocpp.versions import Version


class ErrorCode(StrEnum):
    """The error codes of OCPP-J 2.x; 1.6 spells two of them differently and lacks two."""

    NOT_IMPLEMENTED = "NotImplemented"
    NOT_SUPPORTED = "NotSupported"
    INTERNAL_ERROR = "InternalError"
    PROTOCOL_ERROR = "ProtocolError"
    SECURITY_ERROR = "SecurityError"
    FORMAT_VIOLATION = "FormatViolation"
    PROPERTY_CONSTRAINT_VIOLATION = "PropertyConstraintViolation"
    OCCURRENCE_CONSTRAINT_VIOLATION = "OccurrenceConstraintViolation"
    TYPE_CONSTRAINT_VIOLATION = "TypeConstraintViolation"
    GENERIC_ERROR = "GenericError"
    MESSAGE_TYPE_NOT_SUPPORTED = "MessageTypeNotSupported"
    RPC_FRAMEWORK_ERROR = "RpcFrameworkError"


UNUSABLE_ANSWER: Final = '{"answer":"unusable"}'
"""Details of the error that is recorded where a peer answered a CALL with something that cannot be read.

Such a peer has refused nothing: it may have done what it was asked.
"""

# OCPP-J 1.6 §4.2.3; "Occurence" is the specification's own spelling.
_SPELLING_16 = {
    ErrorCode.FORMAT_VIOLATION: "FormationViolation",
    ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION: "OccurenceConstraintViolation",
    ErrorCode.RPC_FRAMEWORK_ERROR: "FormationViolation",
    ErrorCode.MESSAGE_TYPE_NOT_SUPPORTED: "NotSupported",
}
_CANONICAL: dict[str, ErrorCode] = {str(code): code for code in ErrorCode} | {
    "FormationViolation": ErrorCode.FORMAT_VIOLATION,
    "OccurenceConstraintViolation": ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION,
}


def spell(version: Version, code: ErrorCode) -> str:
    """Return ``code`` as that version writes it on the wire."""
    if version is Version.V16:
        return _SPELLING_16.get(code, str(code))
    return str(code)


def canonical(code: str) -> str:
    """Return the canonical spelling of a received code; a code that no version knows stays as it is."""
    return _CANONICAL.get(code, code)
