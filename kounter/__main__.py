"""``python -m kounter``, and the command ``kounter``."""

import sys


def run() -> None:
    """Ctrl-C ends it quietly, also in the second that the import takes."""
    try:
        from kounter.cli import main

        main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
