"""Names of people and keys."""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from services.api.settings import name_fault


def _of_nobody_else(name: str) -> str:
    if fault := name_fault(name):
        raise ValueError(fault)
    return name


OwnName = Annotated[str, AfterValidator(_of_nobody_else)]
"""A name that what is asked for carries: none of a part of the platform."""

AccountId = Annotated[
    str,
    StringConstraints(max_length=64, to_lower=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9.@_+-]*$"),
    AfterValidator(_of_nobody_else),
    Field(description="Name to sign in with; case does not count.", examples=["anna", "anna@example.org"]),
]
