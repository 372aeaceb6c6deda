"""After how much silence a member of a group is missed: in tests, whose brokers allow it, sooner than in long runs."""

from __future__ import annotations

import os
from typing import Final

VARIABLE: Final = "TEST_SESSION_S"
"""In the environment: the processes that tests start read it too."""
USUAL_S: Final = 6
"""The shortest that brokers take without a setting."""
SHORT_S: Final = 3


def shorten() -> None:
    """For this process, and those that it starts."""
    os.environ[VARIABLE] = str(SHORT_S)


def session_s() -> int:
    """Seconds."""
    return int(os.environ.get(VARIABLE, USUAL_S))


def is_short() -> bool:
    """Whether `shorten` was called, here or where this process was started."""
    return VARIABLE in os.environ
