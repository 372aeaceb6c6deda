"""The commands, one a module; `kounter.cli` puts them together."""
