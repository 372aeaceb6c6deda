"""The real worker process, which also knows the trial domain: ``python -m tests.chaos.worker_main <domain> <slot>``."""

from __future__ import annotations

import sys

from kounter import worker
from streams.domains import DOMAINS
from tests.support.trial import TRIAL

if __name__ == "__main__":
    DOMAINS[TRIAL.name] = TRIAL
    worker.main(sys.argv[1], int(sys.argv[2]))
