"""Settings of a Kafka cluster."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, SecretStr

METADATA_AGE_MS: Final = 10_000
"""Milliseconds for which a client goes on with its metadata of topics. aiokafka's five minutes are as long an outage
where a client asked while a broker was starting: a topic that was left out of the answer is assigned to no member until
then.
"""


class KafkaSettings(BaseModel):
    """A Kafka cluster: addresses and, where the cluster asks for it, TLS and SASL."""

    bootstrap_servers: str = ""
    """``host:port,host:port``; empty: the embedded one."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str = ""
    password: SecretStr = SecretStr("")
    ca_file: Path | None = None
    """PEM of the authority that signed the brokers' certificates; none: the system's own."""
    cert_file: Path | None = None
    key_file: Path | None = None
    partitions: int = 8
    """Partitions of every topic that Kounter creates; all topics of a domain and its changelog must agree."""
    retention: Literal["refuse", "warn"] = "refuse"
    """Reaction of a start to a topic of Kounter that deletes records after a time or size: exit with code 64, or warn
    and go on. It also applies to a changelog whose first states were deleted.
    """
    replication_factor: int = 1
    min_insync_replicas: int = 1

    def ssl_context(self) -> ssl.SSLContext | None:
        """Returns the TLS context, or None if the protocol has no TLS."""
        if "SSL" not in self.security_protocol.split("_"):
            return None
        context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context

    def client_options(self) -> dict[str, Any]:
        """Returns the keyword arguments that every aiokafka client takes.

        The first call patches aiokafka: every client is made with it, and a program that only reads settings need not
        load aiokafka.
        """
        from streams.kafka import patches

        patches.install()
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": self.security_protocol,
            "ssl_context": self.ssl_context(),
            "metadata_max_age_ms": METADATA_AGE_MS,
        }
        if self.security_protocol.startswith("SASL"):
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password.get_secret_value(),
            }
        return options
