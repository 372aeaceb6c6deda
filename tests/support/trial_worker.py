"""The real worker process, with the trial domain: ``python -m tests.support.trial_worker <slot>``."""

from __future__ import annotations

import sys

from kounter import worker
from streams.domains import DOMAINS
from tests.support.trial import TRIAL


def main() -> None:
    """Run it."""
    DOMAINS[TRIAL.name] = TRIAL
    worker.main(TRIAL.name, int(sys.argv[1]))


if __name__ == "__main__":
    main()
