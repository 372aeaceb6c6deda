"""The containers' file holds to its rules; no Docker is needed to see that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service.get("image") == "kounter"]


def test_the_host_reaches_kafka_and_registry_on_loopback_only() -> None:
    kafka = SERVICES["kafka"]["environment"]
    assert "HOST://127.0.0.1:29092" in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert "PLAINTEXT://kafka:9092" in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert SERVICES["kafka"]["ports"] == ["127.0.0.1:29092:29092"]
    assert SERVICES["registry"]["ports"] == ["127.0.0.1:28081:8080"]
    assert all(port.startswith("127.0.0.1:") for s in SERVICES.values() for port in s.get("ports", ()))


@pytest.mark.parametrize("name", SERVICES)
def test_each_has_time_to_stop_and_a_health_check(name: str) -> None:
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= 30
    assert SERVICES[name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", OURS)
def test_data_is_in_a_named_volume(name: str) -> None:
    if SERVICES[name]["command"] == ["twins"]:
        return
    volume, _, place = SERVICES[name]["volumes"][0].partition(":")
    assert volume in COMPOSE["volumes"]
    assert place == "/data"


@pytest.mark.parametrize("name", OURS)
def test_only_with_the_twins_anything_points_at_twins(name: str) -> None:
    environment = SERVICES[name]["environment"]
    values = [str(value) for key, value in environment.items() if "LISTEN" not in key]
    if SERVICES[name].get("profiles") != ["twins"]:
        assert not [value for value in values if "twin" in value]


def test_no_variable_is_asked_for_by_the_file_and_no_token_has_a_default() -> None:
    assert ":?" not in TEXT
    for service in SERVICES.values():
        for variable, value in (service.get("environment") or {}).items():
            assert "TOKEN" not in variable or value is None
