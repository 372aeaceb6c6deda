"""``python -m kounter``"""

from kounter.cli import main

if __name__ == "__main__":
    main()
