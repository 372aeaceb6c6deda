"""How to reach a Kafka cluster, and which partition a key belongs to."""

from __future__ import annotations

import ssl
import struct
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, SecretStr

from schemas import deleted, fetcherclose, offsetfetch, unpacking

offsetfetch.install()  # here, as no client is made without these settings
unpacking.install()
fetcherclose.install()
deleted.install()


METADATA_AGE_MS: Final = 10_000
"""How long a client goes on with what it knows of topics. aiokafka's five minutes are an outage of as much where a
client asked while a broker was starting: a topic that was left out of the answer is assigned to nobody until then."""


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
    """Of every topic that Kounter creates; all topics of a domain and its changelog must agree."""
    retention: Literal["refuse", "warn"] = "refuse"
    """What a start does about a topic of ours that forgets records after a time or size: leave with 64, or warn and go
    on. Also about a changelog whose first states were deleted."""
    replication_factor: int = 1
    min_insync_replicas: int = 1

    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS context, or None where the protocol has no TLS."""
        if "SSL" not in self.security_protocol.split("_"):
            return None
        context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments that every aiokafka client takes."""
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


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that Java's default partitioner, and so every well-set producer, gives to ``key``."""
    return (_murmur2(key) & 0x7FFFFFFF) % partitions


def _murmur2(data: bytes) -> int:
    """As aiokafka's, which a test holds it to, but on whole words: the lane asks it of every new key."""
    length = len(data)
    tail = length & 3
    h = _SEED ^ length
    for (k,) in _WORD.iter_unpack(data[: length - tail]):
        k = k * _MIX & _MASK
        h = h * _MIX & _MASK ^ (k ^ k >> 24) * _MIX & _MASK
    if tail:
        h = (h ^ int.from_bytes(data[-tail:], "little")) * _MIX & _MASK
    h = (h ^ h >> 13) * _MIX & _MASK
    return h ^ h >> 15


_WORD: Final = struct.Struct("<I")
_SEED: Final = 0x9747B28C
_MIX: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF
