"""Kounter's lane without its parts in C, as where no compiler was at hand. Arguments as of `bench.lane_worker`."""

from __future__ import annotations

import runpy
import sys

for package in ("schemas.codec", "tables"):
    sys.modules[f"{package}.native"] = None  # type: ignore[assignment]  # what Python takes for: not there
runpy.run_module("bench.lane_worker", run_name="__main__")
