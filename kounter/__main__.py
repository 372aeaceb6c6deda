"""``python -m kounter``, and the command ``kounter``."""

import sys


def run() -> None:
    """Ctrl-C ends it quietly, also while its parts are imported."""
    try:
        try:
            from kounter.cli import main

            main()
        except ImportError as error:  # the code is newer than what was installed for it
            sys.exit(f"Kounter can't be loaded: {error}\nInstall it anew (`make`): its parts must be of one version.")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
