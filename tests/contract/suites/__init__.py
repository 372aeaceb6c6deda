"""What every outside system is held to: a new one subclasses each suite as ``Test…`` and gives its fixtures.

`client` and `twin` are for systems over HTTP, `sink` for those that carry out commands, `source` for those that report.
"""
