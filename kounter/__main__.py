"""``python -m kounter``, and the command ``kounter``."""

import os
import sys


def run() -> None:
    """What it and its children write holds personal data: it is for nobody else on the machine. Ctrl-C ends it
    quietly, also in the second that the import takes."""
    os.umask(0o077)
    try:
        from kounter.cli import main

        main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
