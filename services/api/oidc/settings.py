"""Settings of the OpenID provider at which people sign in."""

import re
from collections.abc import Mapping
from typing import Final, Self

from pydantic import Field, FilePath, SecretStr, model_validator

from libs.access.principal import EVERY_ORGANISATION, Grant
from libs.access.roles import Role
from libs.runtime.settings import Settings
from libs.security.url_guard import Network, networks

_MOST_SCOPES: Final = 200
_ORGANISATION: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class OidcSettings(Settings):
    """Read from `VOLTBUS_OIDC_<FIELD>`."""

    oidc_issuer: str = Field(
        default="",
        description="Issuer of the OpenID provider, such as `https://login.example.org/realms/voltbus`; empty: people "
        "sign in by password only. Needs `VOLTBUS_SECRETS_KEY`.",
    )
    oidc_name: str = Field(
        default="single sign-on", description="What people call the provider; the console shows it."
    )
    oidc_client_id: str = Field(
        default="", description="The console's client at the provider; empty: the console does not offer it."
    )
    oidc_client_secret: SecretStr | None = Field(
        default=None, description="That client's secret; without one the client is public."
    )
    oidc_cli_client_id: str = Field(
        default="",
        description="The command line's client at the provider, a public one with the device grant; empty: "
        "`voltbus login` asks for a password.",
    )
    oidc_scopes: str = Field(
        default="openid profile email", max_length=_MOST_SCOPES, description="Scopes that are asked for."
    )
    oidc_subject_claim: str = Field(
        default="sub",
        min_length=1,
        description="Claim by which a person is known from then on. Where `sub` differs from client to client, take "
        "one that does not, such as `oid`.",
    )
    oidc_account_claim: str = Field(
        default="email",
        min_length=1,
        description="Claim that names the account at its first sign-in; `email` counts only if the provider says "
        "that it is verified. Take none that people can change themselves.",
    )
    oidc_groups_claim: str = Field(default="groups", description="Claim with a person's groups.")
    oidc_grants: str = Field(
        default="",
        description="Roles by group, such as `ops=operator,ops=engineer,leads=tenant-admin@org-1`. Accounts are then "
        "made at the first sign-in, and have just these roles from each sign-in on. Empty: accounts have to be there.",
    )
    oidc_networks: str = Field(
        default="",
        description="Networks in which the provider may be though not public, such as `10.0.0.0/8`. With "
        "`127.0.0.0/8` it may be on this machine, without TLS.",
    )
    oidc_ssl_ca_file: FilePath | None = Field(
        default=None, description="PEM file of the authority that issued the provider's certificate."
    )
    oidc_timeout_s: float = Field(
        default=5, gt=0, le=60, description="Longest time for one answer of the provider."
    )

    @model_validator(mode="after")
    def _oidc_is_right(self) -> Self:
        assert self.oidc_roles is not None
        assert self.oidc_inner is not None
        if self.oidc_issuer:
            if self.oidc_client_id and self.oidc_client_id == self.oidc_cli_client_id:
                raise ValueError("oidc_cli_client_id: the command line needs a client of its own")
            if "openid" not in self.oidc_scopes.split():
                raise ValueError("oidc_scopes: openid has to be among them")
        return self

    @property
    def oidc_roles(self) -> Mapping[str, tuple[Grant, ...]]:
        """What each group may do. Raises ValueError for what is no role, or no id of an organisation."""
        found: dict[str, tuple[Grant, ...]] = {}
        for pair in filter(None, (each.strip() for each in self.oidc_grants.split(","))):
            group, equals, wanted = (each.strip() for each in pair.rpartition("="))
            name, at, organisation = wanted.partition("@")
            if not group or not equals or name not in set(Role):
                raise ValueError(f"oidc_grants: group=role,group=role, with roles {', '.join(Role)}")
            if at and organisation != EVERY_ORGANISATION and not _ORGANISATION.fullmatch(organisation):
                raise ValueError(f"oidc_grants: {organisation!r} is no id of an organisation")
            found[group] = (*found.get(group, ()), Grant(Role(name), organisation or EVERY_ORGANISATION))
        return found

    @property
    def oidc_inner(self) -> tuple[Network, ...]:
        """The networks besides public ones. Raises ValueError."""
        return networks(self.oidc_networks)
