"""What Kafka's clients are told of a cluster, and what nobody is told."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from streams.kafka.settings import KafkaSettings

PASSWORD = "hunter2-secret"
PROTOCOLS = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]


def settings(protocol: Any, **more: Any) -> KafkaSettings:
    known = {"bootstrap_servers": "a:1,b:2", "security_protocol": protocol, "username": "kounter", "password": PASSWORD}
    return KafkaSettings(**known | more)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_options_tell_tls_and_sasl_where_the_protocol_has_them(protocol: str) -> None:
    options = settings(protocol).client_options()
    assert (options["bootstrap_servers"], options["security_protocol"]) == ("a:1,b:2", protocol)
    assert isinstance(options["ssl_context"], ssl.SSLContext) == protocol.endswith("SSL")
    sasl = {name: value for name, value in options.items() if name.startswith("sasl")}
    wanted = {
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "kounter",
        "sasl_plain_password": PASSWORD,
    }
    assert sasl == (wanted if protocol.startswith("SASL") else {})


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_every_client_takes_them(protocol: str, mechanism: str) -> None:
    options = settings(protocol, sasl_mechanism=mechanism).client_options()
    await AIOKafkaConsumer(**options).stop()
    await AIOKafkaProducer(**options).stop()
    await AIOKafkaAdminClient(**options).close()


def test_tls_checks_certificates_and_names() -> None:
    context = settings("SSL").ssl_context()
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("field", ["ca_file", "cert_file"])
def test_a_certificate_that_is_not_there_is_told(tmp_path: Path, field: str) -> None:
    with pytest.raises(OSError, match="No such file"):
        settings("SSL", **{field: tmp_path / "none.pem"}).ssl_context()


def test_the_password_is_in_no_text() -> None:
    told = settings("SASL_SSL")
    for text in (repr(told), str(told), f"{told}", told.model_dump_json(), str(told.model_dump())):
        assert PASSWORD not in text
