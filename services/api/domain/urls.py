"""URLs that chargers are sent to: for firmware, logs and diagnostics."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from libs.runtime.urls import Network, UrlRefusedError, guarded_url
from services.api.domain.errors import Invalid

_WITH_FILES: Final = frozenset(
    {"GetDiagnostics", "GetLog", "PublishFirmware", "SignedUpdateFirmware", "UpdateFirmware"}
)
_FIELDS: Final = frozenset({"location", "remoteLocation", "remote_location"})
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/?#]*@")


class UrlPolicy(msgspec.Struct, frozen=True):
    """Which URLs may be given to chargers.

    `hosts`: if there are any, only these. `networks`: let through though they are not public. `credentials`: user and
    password may stand in the URL, and then in the log, too.
    """

    schemes: frozenset[str]
    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()
    credentials: bool = False

    def check(self, url: str, path: str) -> None:
        """Raises Invalid, with `path` as the place in the body, if a charger must not be sent there."""
        try:
            guarded = guarded_url(
                _CREDENTIALS.sub("", url, count=1) if self.credentials else url, self.schemes, self.networks
            )
        except UrlRefusedError as error:
            raise Invalid(str(error), path) from error
        if self.hosts and guarded.host not in self.hosts:
            raise Invalid("the URL's host is none of VOLTBUS_URL_HOSTS", path)

    def check_command(self, action: str, payload: Mapping[str, Any]) -> None:
        """Check every URL of a command, of OCPP's or a version-free one."""
        if action in _WITH_FILES:
            self._walk(payload, "/payload")

    def _walk(self, value: Mapping[str, Any], path: str) -> None:
        for name, inner in value.items():
            if isinstance(inner, Mapping):
                self._walk(inner, f"{path}/{name}")
            elif name in _FIELDS and isinstance(inner, str):
                self.check(inner, f"{path}/{name}")
