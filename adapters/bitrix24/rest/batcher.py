"""Gathers calls that wait at the same time into one ``batch`` request, which counts as one for the portal's rate.

So 2 requests a second carry 100 calls a second. Each caller gets the answer or the error of its own call
(docs/contracts/bitrix24.md#batch).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from adapters.bitrix24.rest.answers import Failure, Meaning, Reply, count, lost, of_error
from adapters.bitrix24.rest.operating_time import OperatingTime
from adapters.bitrix24.rest.php_form import format_brackets
from adapters.rate_limit import Pace

MOST: Final = 50
"""Commands in a batch."""
MOST_COMMAND: Final = 16 * 1024
MOST_BODY: Final = 512 * 1024
"""Characters; a longer command goes alone, one that does not fit into the body goes with the next."""
GATHER_S: Final = 0.01
"""Seconds in which calls are gathered: callers that were answered together call again, but not in the same instant."""
AT_ONCE: Final = 50
"""Requests in flight at most."""
RATE_TRIES: Final = 5
"""Tries of one call that the portal refuses for the rate: such a call has done nothing yet."""
SPOILT: Final = (Meaning.REFUSED, Meaning.NOT_FOUND, Meaning.DENIED)
"""Failures of a whole batch that one of its calls may have caused."""
SOME: Final = 3
"""Calls of a denied batch that show whether all are denied."""
PARTS: Final = ("result", "result_error", "result_total", "result_next", "result_time")

Post = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any] | Failure]]


class _Call:
    """A call that waits for its answer."""

    def __init__(self, method: str, params: Mapping[str, Any]) -> None:
        self.method, self.params = method, params
        self.command = as_command(method, params)
        self.tries = 0
        self.answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()


class Batcher:
    """The batches of one client. ``post`` makes a request and returns the body of its success, or its failure."""

    def __init__(self, post: Post, pace: Pace, operating: OperatingTime) -> None:
        self._post, self._pace, self._operating = post, pace, operating
        self._waiting: deque[_Call] = deque()
        self._room = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._pump: asyncio.Task[None] | None = None

    async def call(self, method: str, params: Mapping[str, Any]) -> Reply:
        """Return the portal's answer to a call. Raises DeliveryError."""
        call = _Call(method, params)
        self._waiting.append(call)
        self._operating.begin(method)
        self._wake()
        try:
            return await call.answer
        finally:
            self._operating.end(method)

    async def close(self) -> None:
        """End all requests; calls that still wait raise DeliveryError."""
        tasks = [*self._tasks, *([self._pump] if self._pump else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for call in self._waiting:
            self._settle(call, Failure(Meaning.UNREACHABLE, "the client was closed"))

    def _wake(self) -> None:
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        while self._waiting:
            await self._room.acquire()
            await self._pace.turn()
            await asyncio.sleep(GATHER_S)
            task = asyncio.create_task(self._carry(self._take()))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._room.release()

    def _take(self) -> list[_Call]:
        """Return the calls of the next request: as many as fit into a batch, or one."""
        taken: list[_Call] = []
        size = 0
        while self._waiting and len(taken) < MOST:
            call = self._waiting[0]
            if not call.answer.done():  # its caller still waits
                if taken and (call.command is None or size + len(call.command) > MOST_BODY):
                    break
                taken.append(call)
                size += len(call.command or "")
            self._waiting.popleft()
            if taken and call.command is None:
                break
        return taken

    async def _carry(self, calls: list[_Call]) -> None:
        try:
            await (self._together(calls) if len(calls) > 1 else self._each(calls))
        except BaseException as error:
            for call in calls:
                self._settle(call, lost(type(error).__name__))
            raise

    async def _each(self, calls: list[_Call]) -> None:
        for call in calls:
            body = await self._post(call.method, call.params)
            self._settle(call, body if isinstance(body, Failure) else self._reply(call.method, body))

    async def _together(self, calls: list[_Call]) -> None:
        commands = {f"c{n}": call.command for n, call in enumerate(calls)}
        body = await self._post("batch", {"halt": 0, "cmd": commands})
        if isinstance(body, Failure) and body.meaning in SPOILT:
            if body.meaning is Meaning.DENIED:
                calls = await self._not_all_denied(calls, body)
            for call in calls:  # one of them spoils the batch, which must not be held against the others
                call.command = None
            self._again(calls)
            return
        for name, call in zip(commands, calls, strict=True):
            self._settle(call, body if isinstance(body, Failure) else self._inner(name, call.method, body))

    async def _not_all_denied(self, calls: list[_Call], body: Failure) -> list[_Call]:
        """Return the calls of a denied batch that are still to be made alone; none if some were made and denied."""
        calls = [call for call in calls if not call.answer.done()]  # a caller that left may already repeat it
        for n, call in enumerate(calls[:SOME]):
            await self._pace.turn()
            alone = await self._post(call.method, call.params)
            self._settle(call, alone if isinstance(alone, Failure) else self._reply(call.method, alone))
            if not isinstance(alone, Failure) or alone.meaning is not Meaning.DENIED:
                return calls[n + 1 :]
        for call in calls[SOME:]:
            self._settle(call, body)
        return []

    def _reply(self, method: str, body: Mapping[str, Any]) -> Reply | Failure:
        self._operating.learn(method, body.get("time"))
        return _read(body["result"], body.get("total"), body.get("next"))

    def _inner(self, name: str, method: str, body: Mapping[str, Any]) -> Reply | Failure:
        """Return the part of a batch's answer for one of its commands."""
        parts = {part: _map(_map(body["result"]).get(part)) for part in PARTS}
        self._operating.learn(method, parts["result_time"].get(name))
        if name in parts["result_error"]:
            error = _map(parts["result_error"][name])
            if not error:
                return lost("the batch's error can't be read")
            return of_error(str(error.get("error", "")), str(error.get("error_description", "")), 400, None)
        if name not in parts["result"]:
            return lost("the batch's answer does not name it")
        return _read(parts["result"][name], parts["result_total"].get(name), parts["result_next"].get(name))

    def _settle(self, call: _Call, outcome: Reply | Failure) -> None:
        if call.answer.done():
            return
        if isinstance(outcome, Reply):
            call.answer.set_result(outcome)
            return
        if outcome.meaning is Meaning.RATE:
            call.tries += 1
            if call.tries < RATE_TRIES:
                self._again([call])
                return
        if outcome.meaning is Meaning.BLOCKED:
            seconds = self._operating.blocked(call.method, outcome.retry_after)
            outcome = outcome._replace(retry_after=seconds)
        call.answer.set_exception(outcome.of(call.method))

    def _again(self, calls: list[_Call]) -> None:
        self._waiting.extendleft(reversed(calls))
        self._wake()


def as_command(method: str, params: Mapping[str, Any]) -> str | None:
    """Return a call as a batch writes it; None if it must go alone, as a form can't express it or it is too long.

    In a batch ``$result`` stands for the answer of another command, so no foreign value may hold it
    (docs/contracts/bitrix24.md#batch).
    """
    if method == "batch" or not all(map(_sayable, params.values())):
        return None
    query = format_brackets(params)
    command = f"{method}?{query}" if query else method
    return command if len(command) <= MOST_COMMAND and "%24result" not in command else None


def _sayable(value: Any) -> bool:
    """Return whether a form can express a value: an empty map vanishes there, null and booleans turn into texts."""
    if isinstance(value, Mapping):
        return bool(value) and all(map(_sayable, value.values()))
    if isinstance(value, list | tuple):
        return bool(value) and all(map(_sayable, value))
    return isinstance(value, str | int) and not isinstance(value, bool)


def _map(value: Any) -> Mapping[str, Any]:
    """Return a map of PHP, whose empty one is ``[]``."""
    return value if isinstance(value, Mapping) else {}


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _read(result: Any, total: Any, following: Any) -> Reply | Failure:
    """Return a result with the position of its next page; without a readable one later pages would count as empty."""
    try:
        return Reply(result, _int(total), count(following))
    except ValueError:
        return lost("the position of the list's next page is not a number")
