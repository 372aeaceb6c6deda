"""Speed beside peers, in one run on one broker. ``make bench``."""
