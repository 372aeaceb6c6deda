"""Logging: loguru for all, the libraries' own log records included."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any, Final, Literal, get_args

from loguru import logger

from kounter.terminal import plain_text
from schemas.errors import BrokenSetup, shorten

Level = Literal["TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL"]
ALIASES: Final = {"WARN": "WARNING", "ERR": "ERROR", "FATAL": "CRITICAL"}

FORMAT: Final = (
    "<green>{time:YYYY-MM-DD HH:mm:ss.SSS}</green> <level>{level: <8}</level> "
    "<cyan>{name}</cyan> <level>{message}</level>"
)
NOISY: Final = {
    "aiokafka": logging.WARNING,
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    "httpx": logging.ERROR,
    "httpcore": logging.ERROR,
}
"""Libraries that log much at INFO; the last two whole URLs, a Bitrix24 webhook's secret among them."""
LEVELS: Final = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
REPEAT_S: Final = 10.0
"""In an outage aiokafka says the same dozens of times a second: once in this time is enough."""


def level_of(word: object) -> object:
    """The level that a person means: in any case, and by the names that other systems have for it. What is no level
    stays as it is."""
    if not isinstance(word, str):
        return word
    name = word.strip().upper()
    return ALIASES.get(name, name)


def set_up(level: str = "INFO") -> None:
    """Log to stderr from ``level`` on. Raises BrokenSetup for a word that is no level."""
    named = level_of(level)
    if named not in get_args(Level):
        raise BrokenSetup(f"KOUNTER_LOG_LEVEL: expected one of {', '.join(get_args(Level))}, came {shorten(level)}")
    logger.remove()
    logger.configure(patcher=tame)
    logger.add(sys.stderr, format=FORMAT, level=str(named), backtrace=False, diagnose=False)
    logging.basicConfig(handlers=[ToLoguru()], level=logging.INFO, force=True)
    for name, least in NOISY.items():
        logging.getLogger(name).setLevel(least)


def tame(record: Any) -> None:
    """Let no text from outside steer a terminal or pass for a line of the log: a further line is indented."""
    message = record["message"]
    if not message.isprintable():
        record["message"] = plain_text(message).replace("\n", "\n    ")


class ToLoguru(logging.Handler):
    """Passes standard log records on, each text of a place at most once in `REPEAT_S`."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, int], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        place = (record.pathname, record.lineno)
        now = time.monotonic()
        if record.levelno < logging.CRITICAL and now - self._last.get(place, -REPEAT_S) < REPEAT_S:
            return
        self._last[place] = now
        named = logger.patch(lambda entry: entry.update({"name": record.name}))
        level = record.levelname if record.levelno in LEVELS else record.levelno
        named.opt(exception=record.exc_info).log(level, "{}", record.getMessage())
