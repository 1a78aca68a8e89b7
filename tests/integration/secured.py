"""A Kafka broker that asks who comes and has an authoriser: SCRAM over TLS, or client certificates."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key, pkcs12

from libs.bus.settings import BusSettings
from libs.devstack import packages
from libs.devstack.endpoints import HOST, free_ports
from libs.devstack.kafka import ClusterNode, KafkaBroker
from libs.devstack.registry import RegistryServer
from tests.integration.certificates import Authority, Issued

ADMIN: Final = "admin"
_STORE_PASSWORD: Final = "of-the-stores"
_SCRAM: Final = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class SecuredBroker(KafkaBroker):
    """Only `admin` may do everything; the plain port, which is the test's alone, is the brokers' own.

    `principals` have passwords; a client certificate's common name is a principal, too.
    """

    def __init__(self, folder: Path, authority: Authority, principals: Sequence[str]) -> None:
        installed = packages.ensure(print)
        port, controller, self.sasl_port, self.certificate_port = free_ports(4)
        node = ClusterNode(1, port, controller)
        super().__init__(
            java=installed.java,
            jars=installed.kafka_jars,
            folder=folder / "kafka-1",
            logs=folder / "logs",
            node=node,
            cluster=[node],
        )
        self.authority = authority
        self._principals = principals
        issued = authority.issue(HOST, server=True)
        self._keystore = folder / "broker.pem"
        self._keystore.write_bytes(issued.key.read_bytes() + issued.certificate.read_bytes())

    @staticmethod
    def password_of(principal: str) -> str:
        return f"{principal}-proves-itself"

    def as_principal(self, name: str, **settings: Any) -> BusSettings:
        """The settings of a client that says who it is by its password."""
        return BusSettings(
            kafka=f"{HOST}:{self.sasl_port}",
            kafka_security_protocol="SASL_SSL",
            kafka_sasl_username=name,
            **{"kafka_sasl_password": self.password_of(name)} | settings,
            kafka_ssl_ca_file=self.authority.ca,
        )

    def with_certificate(self, issued: Issued, **settings: Any) -> BusSettings:
        """The settings of a client that says who it is by its certificate."""
        return BusSettings(
            kafka=f"{HOST}:{self.certificate_port}",
            kafka_security_protocol="SSL",
            kafka_ssl_ca_file=self.authority.ca,
            kafka_ssl_cert_file=issued.certificate,
            kafka_ssl_key_file=issued.key,
            **settings,
        )

    def _format_options(self) -> Sequence[str]:
        return [
            f"--add-scram=SCRAM-SHA-512=[name={name},password={self.password_of(name)}]"
            for name in (ADMIN, *self._principals)
        ]

    def _properties(self) -> Mapping[str, object]:
        plain = dict(super()._properties())
        more = {"SASL": self.sasl_port, "CERT": self.certificate_port}
        for name in ("listeners", "advertised.listeners"):
            plain[name] = ",".join([str(plain[name]), *(f"{n}://{HOST}:{port}" for n, port in more.items())])
        protocols = plain["listener.security.protocol.map"]
        return plain | {
            "listener.security.protocol.map": f"{protocols},SASL:SASL_SSL,CERT:SSL",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:ANONYMOUS;User:{ADMIN}",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.sasl.scram-sha-512.sasl.jaas.config": _SCRAM,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self._keystore,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.authority.ca,
            "listener.name.cert.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/",
        }


def secured_registry(
    broker: SecuredBroker, folder: Path, proof: Literal["certificate", "password"]
) -> RegistryServer:
    """A registry that comes to the broker as the principal `registry`. `folder` is its own."""
    installed = packages.ensure(print)
    folder.mkdir()
    port, management_port = free_ports(2)
    by_certificate = proof == "certificate"
    return RegistryServer(
        java=installed.java,
        app=installed.registry_app,
        logs=folder / "logs",
        bootstrap=f"{HOST}:{broker.certificate_port if by_certificate else broker.sasl_port}",
        port=port,
        management_port=management_port,
        security={
            # It gives Kafka's client a password for the store, which one of type PEM must not have.
            "APICURIO_KAFKASQL_SECURITY_SSL_TRUSTSTORE_TYPE": "PKCS12",
            "APICURIO_KAFKASQL_SECURITY_SSL_TRUSTSTORE_LOCATION": str(
                _truststore(installed.java, folder, broker.authority)
            ),
            "APICURIO_KAFKASQL_SECURITY_SSL_TRUSTSTORE_PASSWORD": _STORE_PASSWORD,
            **(_by_certificate(broker, folder) if by_certificate else _by_password(broker, folder)),
        },
    )


def _truststore(java: Path, folder: Path, authority: Authority) -> Path:
    """Java trusts only those certificates of a PKCS#12 file that its own tool has marked so."""
    store = folder / "trust.p12"
    subprocess.run(
        [
            str(java.with_name("keytool")),
            *("-importcert", "-noprompt", "-alias", "authority", "-file", str(authority.ca)),
            *("-keystore", str(store), "-storetype", "PKCS12", "-storepass", _STORE_PASSWORD),
        ],
        check=True,
        capture_output=True,
    )
    return store


def _by_certificate(broker: SecuredBroker, folder: Path) -> Mapping[str, str]:
    issued = broker.authority.issue("registry")
    store = folder / "registry.p12"
    key = load_pem_private_key(issued.key.read_bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    store.write_bytes(
        pkcs12.serialize_key_and_certificates(
            b"registry", key, issued.x509, None, BestAvailableEncryption(_STORE_PASSWORD.encode())
        )
    )
    return {
        "APICURIO_KAFKASQL_SECURITY_PROTOCOL": "SSL",
        "APICURIO_KAFKASQL_SECURITY_SSL_KEYSTORE_TYPE": "PKCS12",
        "APICURIO_KAFKASQL_SECURITY_SSL_KEYSTORE_LOCATION": str(store),
        "APICURIO_KAFKASQL_SECURITY_SSL_KEYSTORE_PASSWORD": _STORE_PASSWORD,
        "APICURIO_KAFKASQL_SECURITY_SSL_KEY_PASSWORD": _STORE_PASSWORD,
    }


def _by_password(broker: SecuredBroker, folder: Path) -> Mapping[str, str]:
    """Its own settings of SASL know only OAUTHBEARER; those of its three Kafka clients are passed on as they are."""
    login = f'{_SCRAM[:-1]} username="registry" password="{broker.password_of("registry")}";'
    lines = {"sasl.mechanism": "SCRAM-SHA-512", "sasl.jaas.config": login}
    properties = folder / "registry.properties"
    properties.write_text(
        "".join(
            f"apicurio.kafkasql.{client}.{name}={value}\n"
            for client in ("admin", "consumer", "producer")
            for name, value in lines.items()
        )
    )
    return {
        "APICURIO_KAFKASQL_SECURITY_PROTOCOL": "SASL_SSL",
        "SMALLRYE_CONFIG_LOCATIONS": str(properties),
    }
