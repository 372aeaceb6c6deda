"""The portal behind the twin: it runs a method or a batch within the limits, and adds the time that it took
(docs/contracts/bitrix24.md#batch)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from adapters.bitrix24.twin.errors import RestError, system_error
from adapters.bitrix24.twin.fields import PORTAL_ZONE
from adapters.bitrix24.twin.items import ITEM_METHODS
from adapters.bitrix24.twin.leads import Leads
from adapters.bitrix24.twin.limits import Gatekeeper, Limits
from adapters.bitrix24.twin.methods import METHODS, Answer, Crm, Params, map_of
from adapters.bitrix24.twin.php_form import is_list, read_form
from adapters.bitrix24.twin.store import TwinStore
from adapters.bitrix24.twin.timeline import Timeline
from adapters.bitrix24.twin.webhook import Hooks

BATCH_MOST: Final = 50
_ALL: Final = METHODS | ITEM_METHODS
_REFERENCE: Final = re.compile(r"\$result((?:\[[\w-]+\])+)")
Clock = Callable[[], float]
Body = dict[str, Any]


class Portal:
    """State and rules of the portal, without HTTP."""

    def __init__(self, db_path: str | Path, limits: Limits, clock: Clock) -> None:
        self.store = TwinStore(db_path)
        self.hooks = Hooks(self.store, clock)
        self.leads = Leads(self.store, clock, self.hooks.notify)
        self.gate = Gatekeeper(limits, clock)
        self.crm = Crm(self.store, self.leads, Timeline(self.store, self.leads, clock, self.hooks.notify))
        self._clock = clock

    def call(self, method: str, params: Params) -> Body:
        """Return the body of a successful call. Raises RestError."""
        begun = self._clock()
        if method == "batch":
            result = self._batch(params, begun)
            return {"result": result, "time": self._time(begun, {})}
        answer, operating = self._run(method, params)
        body: Body = {"result": answer.result}
        if answer.next is not None:
            body["next"] = answer.next
        if answer.total is not None:
            body["total"] = answer.total
        return {**body, "time": self._time(begun, operating)}

    def reset(self) -> None:
        """Empty the portal, and remove its webhook."""
        self.store.reset()
        self.hooks.register(None)

    def refused_time(self, method: str) -> Body:
        """Return the ``time`` of a 429, whose ``operating_reset_at`` is the end of the block [inferred: its place]."""
        return self._time(self._clock(), {"operating_reset_at": self.gate.reset_at(method)})

    def _run(self, method: str, params: Params) -> tuple[Answer, dict[str, float]]:
        known = _ALL.get(method)
        if known is None:
            raise system_error("ERROR_METHOD_NOT_FOUND")
        if self.gate.blocked(method):
            raise system_error("OPERATION_TIME_LIMIT")
        begun = time.perf_counter()
        try:
            answer = known(self.crm, params)
        except RestError:
            self.gate.charge(method, time.perf_counter() - begun)
            raise
        except RecursionError:  # a value nested too deep to be kept
            raise system_error("INVALID_REQUEST") from None
        return answer, self.gate.charge(method, time.perf_counter() - begun)

    def _batch(self, params: Params, begun: float) -> Body:
        commands = map_of(params, "cmd")
        if len(commands) > BATCH_MOST:
            raise system_error("ERROR_BATCH_LENGTH_EXCEEDED")
        halt = str(params.get("halt", 0)).lower() in ("1", "true", "y")
        names = ("result", "result_error", "result_total", "result_next", "result_time")
        out: dict[str, Body] = {name: {} for name in names}
        for name, command in commands.items():
            method, _, query = str(command).partition("?")
            try:
                answer, operating = self._inner(method.strip().lower(), query, out["result"])
            except RestError as error:
                out["result_error"][name] = error.body()
                if halt:
                    break
                continue
            out["result"][name] = answer.result
            out["result_time"][name] = self._time(begun, operating)
            if answer.total is not None:
                out["result_total"][name] = answer.total
            if answer.next is not None:
                out["result_next"][name] = answer.next
        # PHP: keys 0, 1, 2… make a list, nothing makes [].
        return {name: list(v.values()) if is_list(v) else v for name, v in out.items()}

    def _inner(self, method: str, query: str, results: Body) -> tuple[Answer, dict[str, float]]:
        if method.removesuffix(".json") == "batch":
            raise system_error("ERROR_BATCH_METHOD_NOT_ALLOWED")
        try:
            params = read_form(query)
        except ValueError:
            raise system_error("INVALID_REQUEST") from None
        return self._run(method.removesuffix(".json"), filled(params, results))

    def _time(self, begun: float, operating: dict[str, float]) -> Body:
        now = self._clock()
        spent = round(now - begun, 6)
        start, finish = (datetime.fromtimestamp(t, PORTAL_ZONE).isoformat(timespec="seconds") for t in (begun, now))
        span = {"start": begun, "finish": now, "duration": spent, "processing": spent}
        return {**span, "date_start": start, "date_finish": finish, "operating": 0, **operating}


def filled(value: Any, results: Body) -> Any:
    """Return parameters with every ``$result[name][key]`` replaced; one without a value becomes empty."""
    if isinstance(value, dict):
        return {k: filled(v, results) for k, v in value.items()}
    if isinstance(value, list):
        return [filled(v, results) for v in value]
    if not isinstance(value, str) or "$result" not in value:
        return value
    if whole := _REFERENCE.fullmatch(value):
        return _follow(whole[1], results)
    return _REFERENCE.sub(lambda found: _text(_follow(found[1], results)), value)


def _follow(path: str, results: Any) -> Any:
    for step in path[1:-1].split("]["):
        if isinstance(results, list):
            results = results[int(step)] if step.isdecimal() and int(step) < len(results) else ""
        else:
            results = results.get(step, "") if isinstance(results, dict) else ""
    return results


def _text(value: Any) -> str:
    return "" if isinstance(value, dict | list) or value is None else str(value)
