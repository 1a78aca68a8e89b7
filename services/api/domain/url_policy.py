"""URLs that chargers are sent to: for firmware, logs and diagnostics."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from libs.security.url_guard import GuardedUrl, Network, UrlRefusedError, guarded_url
from services.api.domain.errors import Invalid

_WITH_FILES: Final = frozenset(
    {"GetDiagnostics", "GetLog", "PublishFirmware", "SignedUpdateFirmware", "UpdateFirmware"}
)
_FIELDS: Final = frozenset({"location", "remoteLocation", "remote_location"})
ANY: Final = "*"
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/?#]*@")


class UrlPolicy(msgspec.Struct, frozen=True):
    """Which URLs may be given to chargers.

    `hosts`: only these; `*.example.org` names all below a domain, ANY every public host. One that is named need not be
    public. `networks`: let through though they are not public. `credentials`: user and password may stand in the URL,
    and then in the log, too.
    """

    schemes: frozenset[str]
    hosts: frozenset[str] = frozenset({ANY})
    networks: tuple[Network, ...] = ()
    credentials: bool = False

    def check(self, url: str, path: str) -> None:
        """Raises Invalid, with `path` as the place in the body, if a charger must not be sent there."""
        try:
            guarded = guarded_url(
                _CREDENTIALS.sub("", url, count=1) if self.credentials else url,
                self.schemes,
                self.networks,
                self.hosts,
            )
        except UrlRefusedError as error:
            raise Invalid(str(error), path) from error
        if not self._names(guarded):
            raise Invalid("the URL's host is none of VOLTBUS_URL_HOSTS", path)

    def _names(self, guarded: GuardedUrl) -> bool:
        host = guarded.host
        if ANY in self.hosts or host in self.hosts:
            return True
        if guarded.address is not None:
            return any(
                guarded.address in each for each in self.networks if each.version == guarded.address.version
            )
        labels = host.split(".")
        return any(f"*.{'.'.join(labels[number:])}" in self.hosts for number in range(1, len(labels)))

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
