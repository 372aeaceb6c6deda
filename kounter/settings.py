"""The settings: one tree, each part declared by the house that uses it; from ``KOUNTER_…`` variables and ``.env``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from enum import EnumType
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import platformdirs
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from adapters.backend.settings import BackendSettings
from adapters.bitrix24.settings import Bitrix24Settings, WatchSettings
from adapters.brusnika.settings import BrusnikaSettings
from adapters.feeds.settings import FeedsSettings
from adapters.nest.settings import NestSettings
from adapters.rosdomofon.settings import OperatorSettings
from kounter import logs
from kounter.gateway.settings import GatewaySettings
from schemas.codec.settings import RegistrySettings
from schemas.errors import BrokenSetup
from streams.delivery.settings import DeliverySettings
from streams.kafka.settings import KafkaSettings
from streams.lane.settings import LaneSettings
from streams.rules import DomofonRules

HINT: Final = "What each may be: `kounter settings --markdown`, or docs/settings.md."
PART: Final = re.compile(r'field "(\w+)"')


class EmbeddedSettings(BaseModel):
    """The embedded Kafka and registry, used where no outside ones are named."""

    kafka_port: int | None = None
    """None: 29092, or a free one if that is taken."""
    registry_port: int | None = None
    """None: 28081, or a free one if that is taken."""
    kafka_heap_mb: int = 512


class Settings(BaseSettings):
    """Everything that can be set; ``KOUNTER_KAFKA__BOOTSTRAP_SERVERS`` sets ``kafka.bootstrap_servers``."""

    model_config = SettingsConfigDict(
        env_prefix="KOUNTER_", env_nested_delimiter="__", env_file=".env", extra="ignore", hide_input_in_errors=True
    )

    data_dir: Path = Field(default_factory=lambda: platformdirs.user_data_path("kounter"))
    """Everything that must survive a restart, logs included."""
    workers: Annotated[int, Field(ge=1)] = 1
    """Worker processes of each domain that ``kounter up`` starts."""
    log_level: Annotated[logs.Level, BeforeValidator(logs.level_of)] = "INFO"
    """The least that is logged, in any case."""
    kafka: KafkaSettings = KafkaSettings()
    registry: RegistrySettings = RegistrySettings()
    embedded: EmbeddedSettings = EmbeddedSettings()
    lane: LaneSettings = LaneSettings()
    delivery: DeliverySettings = DeliverySettings()
    gateway: GatewaySettings = GatewaySettings()
    brusnika: BrusnikaSettings = BrusnikaSettings()
    feeds: FeedsSettings = FeedsSettings()
    backend: BackendSettings = BackendSettings()
    bitrix24: Bitrix24Settings = Bitrix24Settings()
    rosdomofon: OperatorSettings = OperatorSettings()
    nest: NestSettings = NestSettings()
    domofon: DomofonRules = DomofonRules()
    watch: WatchSettings = WatchSettings()

    @model_validator(mode="before")
    @classmethod
    def _in_any_case(cls, values: Any) -> Any:
        """Words that are chosen from a list are taken as people write them: ``sasl_ssl``, ``Exactly-Once``."""
        return _chosen(cls, values)


@cache
def load() -> Settings:
    """The settings of this process, read once. Raises BrokenSetup that names variables, never what they are set to."""
    try:
        settings = Settings()
    except ValidationError as error:
        wrong = [f"{_variable(e['loc'])}: {e['msg']}" for e in error.errors(include_input=False, include_url=False)]
        raise BrokenSetup("; ".join(wrong), hint=HINT) from None
    except UnicodeDecodeError:
        raise BrokenSetup("the file .env is not UTF-8", hint="Save it as UTF-8.") from None
    except SettingsError as error:  # a variable that should hold JSON
        raise BrokenSetup(f"{_set_of(error)}: lists and tables are written as JSON", hint=HINT) from None
    kafka, registry = settings.kafka.bootstrap_servers, settings.registry.url
    if bool(kafka) != bool(registry):  # half of somebody's cluster with half of the embedded one makes sense nowhere
        here, missing = ("KAFKA__BOOTSTRAP_SERVERS", "REGISTRY__URL")[:: 1 if kafka else -1]
        raise BrokenSetup(f"KOUNTER_{here} is set and KOUNTER_{missing} is not", hint="Set both, or none.")
    return settings


def _chosen(model: type[BaseModel], values: Any) -> Any:
    """The values of a part, its words of a list spelt as the list has them. What is not in it stays as it is."""
    if not isinstance(values, dict):
        return values
    found = dict(values)
    for name, field in model.model_fields.items():
        kind, value = field.annotation, found.get(name)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= {name: _chosen(kind, value)} if name in found else {}
        elif get_origin(kind) is Literal and isinstance(value, str):
            found[name] = _word(value, get_args(kind))
        elif get_origin(kind) is dict and isinstance(get_args(kind)[0], EnumType) and isinstance(value, dict):
            found[name] = {_word(key, list(get_args(kind)[0])): text for key, text in value.items()}
    return found


def _word(came: str, words: Iterable[str]) -> str:
    return next((word for word in words if _folded(word) == _folded(came)), came)


def _folded(word: str) -> str:
    return word.strip().casefold().replace("_", "-")


def _set_of(error: SettingsError) -> str:
    """The variables of the part that pydantic names; it does not say which of them it could not read."""
    named = PART.search(str(error))
    prefix = _variable((named[1] if named else "",))
    return ", ".join(name for name in os.environ if name.upper().startswith(prefix)) or f"{prefix}…"


def _variable(path: tuple[int | str, ...]) -> str:
    return "KOUNTER_" + "__".join(str(part).upper() for part in path)
