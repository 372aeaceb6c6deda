"""The report of an unexpected error: its text, the place of its traceback, and no secret in either."""

from __future__ import annotations

import os
import re
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel, SecretStr

from kounter.settings import load
from schemas.errors import KounterError, shorten

LOG: Final = "crash.log"
LONGEST: Final = 500
"""Characters of a message on the screen; the file has all of it."""
MASK: Final = "****"
IN_URL: Final = re.compile(r"//[^/\s@]*@")
LEAST_SECRET: Final = 4
"""Least characters of a secret that is masked: a shorter one would take letters out of common words."""


def explained(error: BaseException) -> tuple[str, str]:
    """Returns a line that names the error, and a hint with the file of the traceback."""
    unexpected = "This is a defect, or something that Kounter does not expect."
    said = without_secrets(f"{type(error).__name__}: {shorten(str(error), LONGEST)}")
    try:
        log = _write(error)
    except (OSError, KounterError):  # no data folder, no space
        return f"Kounter failed: {said}", f"{unexpected} Its traceback could not be written."
    return f"Kounter failed: {said}", f"{unexpected} Its traceback is in {log}"


def without_secrets(text: str) -> str:
    """Returns the text with each secret of the settings masked."""
    try:
        found = sorted(_secrets(load()), key=len, reverse=True)
    except KounterError:  # without settings no secret is known
        return text
    for secret in found:
        text = text.replace(secret, MASK)
    return IN_URL.sub(f"//{MASK}@", text)


def _secrets(part: BaseModel) -> Iterator[str]:
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from _secrets(value)
        elif isinstance(value, SecretStr) and len(value.get_secret_value()) >= LEAST_SECRET:
            yield value.get_secret_value()


def _write(error: BaseException) -> Path:
    """Append the traceback, which holds no values of variables."""
    log = load().data_dir / "logs" / LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    text = without_secrets("".join(traceback.format_exception(error)))
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as file:
        file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} process {os.getpid()}\n{text}\n")
    return log
