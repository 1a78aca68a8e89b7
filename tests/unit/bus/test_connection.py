"""How clients reach Kafka and the registry: one place decides, and settings that contradict each other are refused."""

import ast
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faust import SASLCredentials, SSLCredentials
from pydantic import ValidationError

from libs.bus import faust_app
from libs.bus.connection import connection, registry_access
from libs.bus.settings import BusSettings
from libs.clickhouse.settings import ClickHouseSettings
from tests.integration.certificates import Authority

ROOT = Path(__file__).resolve().parents[3]
CLIENTS = ("AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient", "AIOKafkaClient")
WHO: dict[str, Any] = {"kafka_sasl_username": "sessions", "kafka_sasl_password": "of-sessions"}


def clients() -> Iterator[tuple[str, ast.Call]]:
    for folder in ("libs", "services", "deploy"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in CLIENTS:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_every_client_of_kafka_is_made_with_the_connection_that_the_settings_name() -> None:
    found = dict(clients())
    assert len(found) > 10
    bare = [
        where
        for where, call in found.items()
        if not any(
            each.arg is None and ast.unparse(each.value).startswith("connection(") for each in call.keywords
        )
    ]
    assert bare == []


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_without_settings_it_is_plain() -> None:
    assert connection(BusSettings(kafka="k:1")) == {
        "bootstrap_servers": "k:1",
        "security_protocol": "PLAINTEXT",
    }
    assert faust_app.credentials(BusSettings()) is None


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_sasl_over_tls(authority: Authority, mechanism: str) -> None:
    settings = BusSettings(
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism=mechanism,  # type: ignore[arg-type]
        kafka_ssl_ca_file=authority.ca,
        **WHO,
    )
    given = connection(settings)
    assert (given["security_protocol"], given["sasl_mechanism"]) == ("SASL_SSL", mechanism)
    assert (given["sasl_plain_username"], given["sasl_plain_password"]) == ("sessions", "of-sessions")
    context = given["ssl_context"]
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1

    faust = faust_app.credentials(settings)
    assert isinstance(faust, SASLCredentials)
    assert (faust.protocol.value, faust.mechanism.value) == ("SASL_SSL", mechanism)
    assert (faust.username, faust.password) == ("sessions", "of-sessions")
    assert faust.ssl_context is not None


def test_a_client_certificate(authority: Authority) -> None:
    issued = authority.issue("sessions")
    settings = BusSettings(
        kafka_security_protocol="SSL",
        kafka_ssl_ca_file=authority.ca,
        kafka_ssl_cert_file=issued.certificate,
        kafka_ssl_key_file=issued.key,
    )
    assert "sasl_mechanism" not in connection(settings)
    assert isinstance(faust_app.credentials(settings), SSLCredentials)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"kafka_security_protocol": "SASL_SSL"}, "SASL_SSL needs VOLTBUS_KAFKA_SASL_USERNAME"),
        ({"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_sasl_username": "a"}, "needs"),
        (WHO, r"VOLTBUS_KAFKA_SASL_\* need VOLTBUS_KAFKA_SECURITY_PROTOCOL"),
        ({"kafka_security_protocol": "SSL", **WHO}, r"VOLTBUS_KAFKA_SASL_\* need"),
        ({"kafka_ssl_ca_file": __file__}, r"VOLTBUS_KAFKA_SSL_\* need"),
        ({"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_ssl_ca_file": __file__, **WHO}, "KAFKA_SSL"),
        ({"kafka_security_protocol": "SSL", "kafka_ssl_ca_file": "/no/such"}, "kafka_ssl_ca_file"),
        ({"kafka_security_protocol": "SSL", "kafka_ssl_key_file": __file__}, "belongs to"),
        ({"kafka_security_protocol": "TLS"}, "kafka_security_protocol"),
        ({"registry_password": "x"}, "VOLTBUS_REGISTRY_USERNAME"),
        ({"registry_ssl_ca_file": __file__}, r"VOLTBUS_REGISTRY_SSL_\* need an https"),
    ],
)
def test_settings_that_would_leave_the_way_open_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        BusSettings(**given)


def test_clickhouse_files_without_tls_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"VOLTBUS_CLICKHOUSE_SSL_\* need VOLTBUS_CLICKHOUSE_SECURE"):
        ClickHouseSettings(clickhouse_ssl_ca_file=Path(__file__))


def test_the_registry_is_told_who_asks_and_has_to_prove_itself(authority: Authority) -> None:
    assert registry_access(BusSettings()) == {}
    given = registry_access(
        BusSettings(
            registry_url="https://registry/apis/ccompat/v7",
            registry_username="voltbus",
            registry_password="secret",  # type: ignore[arg-type]
            registry_ssl_ca_file=authority.ca,
        )
    )
    assert given["auth"] == ("voltbus", "secret")
    assert given["verify"].verify_mode is ssl.CERT_REQUIRED


def test_passwords_are_in_no_text_of_the_settings() -> None:
    hidden: dict[str, Any] = {"registry_username": "r", "registry_password": "of-registry"}
    text = repr(BusSettings(kafka_security_protocol="SASL_PLAINTEXT", **hidden, **WHO))
    assert "of-sessions" not in text
    assert "of-registry" not in text
