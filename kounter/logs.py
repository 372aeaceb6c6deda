"""Logging: loguru for all, the libraries' own log records included."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any, Final

from loguru import logger

from kounter.present import plain_text

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


def set_up(level: str = "INFO") -> None:
    """Log to stderr from ``level`` on."""
    logger.remove()
    logger.configure(patcher=tame)
    logger.add(sys.stderr, format=FORMAT, level=level, backtrace=False, diagnose=False)
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
