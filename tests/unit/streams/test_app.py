"""What the Faust app of a domain is told of the brokers."""

from __future__ import annotations

import ssl
import subprocess
import sys
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


def test_aiokafka_is_patched_before_faust_makes_a_consumer() -> None:
    """Faust makes its clients itself; the patches come with `KafkaSettings.client_options`, which the app reads for the
    credentials. In a process of its own: here other tests have patched aiokafka."""
    code = """
from aiokafka.client import AIOKafkaClient
from pathlib import Path
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.codec.settings import RegistrySettings
from streams.app import create_app
from streams.domains import DOMAINS
from streams.kafka.settings import KafkaSettings
from streams.lane.settings import LaneSettings
import asyncio, sys, tempfile
send = AIOKafkaClient.send
asyncio.set_event_loop(asyncio.new_event_loop())
kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1")
serde = Serde(SchemaRegistry(RegistrySettings(url="http://127.0.0.1:1")))
create_app(DOMAINS["estate"], serde, kafka, LaneSettings(), Path(tempfile.mkdtemp()))
sys.exit(AIOKafkaClient.send is send)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
