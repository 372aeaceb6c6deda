"""Kounter's lane without its modules in C, as installed without a compiler. Arguments are those of
`bench.lane_worker`."""

from __future__ import annotations

import runpy
import sys

for package in ("schemas.codec", "tables"):
    sys.modules[f"{package}.native"] = None  # type: ignore[assignment]  # Python treats None as a missing module
runpy.run_module("bench.lane_worker", run_name="__main__")
