"""A domain and an outside system as a newcomer would add them: one line each in `DOMAINS` and `CONNECTORS`.

``schema.py`` and ``domain.py`` would stand in `schemas` and `streams.domains`, the others in `adapters.post`.
"""
