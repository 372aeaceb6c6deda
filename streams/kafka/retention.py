"""The check whether topics delete records: events, commands and requests must be kept, whatever the brokers' defaults
are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from loguru import logger

from schemas.errors import BrokenSetup

FOR_EVER: Final = {"retention.ms": "-1", "retention.bytes": "-1"}


class Forgets(BrokenSetup):
    """Topics whose records are deleted after a time or size: records not read until then are never read, and a replay
    does not find them.
    """

    code = "topic_forgets"

    def __init__(self, found: Mapping[str, Mapping[str, str]]) -> None:
        said = "; ".join(f"{name} has {_settings(values)}" for name, values in found.items())
        wanted = _settings(FOR_EVER).replace(", ", ",")
        lines = "".join(
            f"\n  kafka-configs --alter --entity-type topics --entity-name {name} --add-config {wanted}"
            for name in found
        )
        hint = f"Keep what they hold for ever:{lines}\nOr set KOUNTER_KAFKA__RETENTION=warn to go on as it is."
        super().__init__(f"topics that forget: {said}", hint=hint)


async def configs(admin: Any, names: list[str]) -> dict[str, dict[str, str]]:
    """Returns the settings of topics, the brokers' defaults included. A topic that we may not describe is left out, and
    logged.
    """
    found: dict[str, dict[str, str]] = {}
    if not names:
        return found
    for response in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names]):
        for code, message, _type, name, entries in response.resources:
            if code:
                logger.warning("topic {}: its settings can't be read, it may delete records: {}", name, message or code)
            else:
                found[name] = {entry[0]: entry[1] for entry in entries}
    return found


def check_kept(found: Mapping[str, Mapping[str, str]], otherwise: Literal["refuse", "warn"]) -> None:
    """Raise Forgets, or warn, if one of these topics is not kept for ever."""
    forgetting = {
        name: {key: values[key] for key, kept in FOR_EVER.items() if values.get(key, kept) != kept}
        for name, values in found.items()
    }
    if not (forgetting := {name: values for name, values in forgetting.items() if values}):
        return
    error = Forgets(forgetting)
    if otherwise == "refuse":
        raise error
    logger.warning("{}. {}", error.message, error.hint)


def _settings(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())
