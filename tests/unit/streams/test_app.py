"""What the Faust app of a domain is told of the brokers."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from pydantic import SecretStr

from streams.app import _credentials
from streams.kafka.settings import KafkaSettings

PASSWORD = "hunter2-secret"


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
def test_fausts_clients_are_given_what_ours_are(protocol: Any, mechanism: Any) -> None:
    kafka = KafkaSettings(
        security_protocol=protocol, sasl_mechanism=mechanism, username="kounter", password=SecretStr(PASSWORD)
    )
    credentials = _credentials(kafka)
    given = dict(credentials_to_aiokafka_auth(credentials, None))
    ours = kafka.client_options()
    del ours["bootstrap_servers"], ours["metadata_max_age_ms"]  # which are settings of the app
    assert isinstance(given.pop("ssl_context", None), ssl.SSLContext) == protocol.endswith("SSL")
    assert isinstance(ours.pop("ssl_context"), ssl.SSLContext) == protocol.endswith("SSL")
    assert given == ours
    assert PASSWORD not in repr(credentials)
