"""How every client reaches Kafka and the schema registry: encrypted or not, and as whom."""

import ssl
from pathlib import Path
from typing import Any

from libs.bus.settings import BusSettings


def connection(settings: BusSettings) -> dict[str, Any]:
    """The arguments of an aiokafka client that say where Kafka is, and who asks.

    The files are read now: a certificate that is renewed later is used by clients made later. Raises OSError or
    ssl.SSLError for files that cannot be used.
    """
    protocol = settings.kafka_security_protocol
    options: dict[str, Any] = {"bootstrap_servers": settings.kafka, "security_protocol": protocol}
    if protocol.endswith("SSL"):
        options["ssl_context"] = tls(
            settings.kafka_ssl_ca_file, settings.kafka_ssl_cert_file, settings.kafka_ssl_key_file
        )
    if protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_username
        options["sasl_plain_password"] = settings.kafka_sasl_password.get_secret_value()
    return options


def registry_access(settings: BusSettings) -> dict[str, Any]:
    """The arguments of an httpx client that say who asks the registry, and who may vouch for it. Raises as above."""
    options: dict[str, Any] = {}
    if settings.registry_username:
        options["auth"] = (settings.registry_username, settings.registry_password.get_secret_value())
    if settings.registry_url.startswith("https:"):
        options["verify"] = tls(
            settings.registry_ssl_ca_file, settings.registry_ssl_cert_file, settings.registry_ssl_key_file
        )
    return options


def tls(authorities: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """A client's context. `authorities`: who may vouch for the server (PEM; None: the system's); its name is checked.

    `certificate` and `key` (PEM; the key may be in the certificate's file) are shown to a server that asks.
    """
    context = ssl.create_default_context(cafile=authorities)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context
