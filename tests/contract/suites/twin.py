"""What the twin of a system over HTTP does: its faults, its control, and whom it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import httpx
import pytest

from adapters.loopback import is_loopback
from adapters.twin_kit.faults import BaseFault, Faults, Way
from schemas.errors import DeliveryError, DeliveryUnavailable, OutcomeUnknown
from tests.support.waiting import PATIENCE_S

Meaning = tuple[type[DeliveryError] | None, type[DeliveryError] | None]
IMPATIENCE_S: Final = 0.3
MEANINGS: Final[dict[str, Meaning]] = {
    # what goes wrong: what it means for a read, and for a write; None: nothing
    Way.TOO_MANY: (DeliveryUnavailable, DeliveryUnavailable),
    Way.UNAVAILABLE: (DeliveryUnavailable, DeliveryUnavailable),
    Way.BAD_GATEWAY: (DeliveryUnavailable, OutcomeUnknown),
    Way.HANG_BEFORE: (DeliveryUnavailable, OutcomeUnknown),
    Way.HANG_AFTER: (DeliveryUnavailable, OutcomeUnknown),
    Way.CUT_AFTER: (DeliveryUnavailable, OutcomeUnknown),
    Way.ERROR_AFTER: (DeliveryUnavailable, OutcomeUnknown),
    Way.NOT_JSON: (DeliveryUnavailable, OutcomeUnknown),
    Way.SLOW: (DeliveryUnavailable, OutcomeUnknown),
    Way.LATE: (DeliveryUnavailable, OutcomeUnknown),
}
DONE: Final = {Way.HANG_AFTER, Way.CUT_AFTER, Way.ERROR_AFTER, Way.NOT_JSON, Way.SLOW}
LATE: Final = {Way.HANG_BEFORE, Way.HANG_AFTER, Way.SLOW, Way.LATE}
"""Only their clients are impatient: any other answer may take as long as a busy machine needs for it."""


class Scene(NamedTuple):
    """A running twin with a client of it."""

    url: str
    faults: Faults[Any]
    read: Callable[[], Awaitable[object]] | None
    """None for a system that is only written to."""
    write: Callable[[], Awaitable[object]]
    made: Callable[[], int]
    """Returns how many writes were done."""


class TwinSuite(ABC):
    """Subclasses start their twin with a client of it; each fault that the twin knows must have a meaning."""

    fault: ClassVar[type[BaseFault]]
    own: ClassVar[dict[str, Meaning]] = {}
    """Faults of this system alone, and the shared ones that mean something else there."""
    own_done: ClassVar[frozenset[str]] = frozenset()
    """Those of ``own`` after which a write was done."""

    @abstractmethod
    def running(self, db_path: str | Path, timeout_s: float) -> AbstractAsyncContextManager[Scene]:
        """Starts a twin that keeps its state in ``db_path``, and a client that waits so long for an answer."""

    @abstractmethod
    def planned(self, kind: str, **more: Any) -> BaseFault:
        """Returns a fault for the reads and writes of the scene."""

    @pytest.fixture
    async def scene(self) -> AsyncIterator[Scene]:
        async with self.running(":memory:", PATIENCE_S) as scene:
            yield scene

    @pytest.fixture
    async def bare(self, scene: Scene) -> AsyncIterator[httpx.AsyncClient]:
        """Bare HTTP, as a browser or a person's command sends it."""
        async with httpx.AsyncClient(base_url=scene.url, trust_env=False, timeout=60) as http:
            yield http

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "kind" in metafunc.fixturenames:
            metafunc.parametrize("kind", sorted(self.fault.kinds))

    def test_every_fault_has_a_meaning(self) -> None:
        assert (MEANINGS | self.own).keys() == set(self.fault.kinds)

    async def test_a_fault_means_what_it_should(self, kind: str) -> None:
        async with self.running(":memory:", IMPATIENCE_S if kind in LATE else PATIENCE_S) as scene:
            for call, meaning in zip((scene.read, scene.write), (MEANINGS | self.own)[kind], strict=True):
                if call is None:
                    continue
                scene.faults.plan(self.planned(kind, seconds=3, count=1 if meaning is None else None))
                if meaning is None:
                    await call()
                    continue
                with pytest.raises(meaning) as failed:
                    await call()
                assert failed.value.kind == meaning.kind
            assert scene.made() == (kind in DONE | self.own_done), "done before the fault, or not at all"

    async def test_the_control_plans_faults(self, scene: Scene, bare: httpx.AsyncClient) -> None:
        fault = {"kind": "unavailable", "count": 2}
        (planned,) = (await bare.post("/_twin/faults", json=fault)).json()
        assert (planned["kind"], planned["count"]) == ("unavailable", 2)
        assert (await bare.get("/_twin/faults")).json() == [planned]
        with pytest.raises(DeliveryError):
            await scene.write()
        assert (await bare.get("/_twin/status")).json()["faults_fired"] == {"unavailable": 1}
        assert (await bare.delete("/_twin/faults")).json() == []
        await scene.write()
        assert (await bare.post("/_twin/faults", json={"kind": "nosuch"})).status_code == 422
        assert (await bare.post("/_twin/faults", content=b"[]")).status_code == 415, "as a form of any site could send"

    async def test_a_reset_empties_it(self, scene: Scene, bare: httpx.AsyncClient) -> None:
        await scene.write()
        assert scene.made() == 1
        assert (await bare.post("/_twin/reset", json={})).status_code == 200
        assert scene.made() == 0

    async def test_what_it_keeps_survives_it(self, tmp_path: Path) -> None:
        for made in (1, 2):
            async with self.running(tmp_path / "twin.db", PATIENCE_S) as scene:
                await scene.write()
                assert scene.made() == made

    async def test_it_answers_on_loopback_only(self, scene: Scene, bare: httpx.AsyncClient) -> None:
        """Another name that points here is a page's of another site."""
        assert is_loopback(bare.base_url.host)
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", ""):
            assert (await bare.get("/_twin/status", headers={"Host": host})).status_code == 400
        host = f"localhost:{bare.base_url.port}"
        assert (await bare.get("/_twin/status", headers={"Host": host})).status_code == 200

    @pytest.mark.parametrize("site", ["cross-site", "same-site"])
    async def test_another_sites_page_can_not_call(self, scene: Scene, bare: httpx.AsyncClient, site: str) -> None:
        answer = await bare.post("/_twin/reset", json={}, headers={"Sec-Fetch-Site": site})
        assert answer.status_code == 403
        assert (await bare.get("/_twin/faults", headers={"Sec-Fetch-Site": site})).status_code == 403
        assert (await bare.get("/_twin/faults", headers={"Sec-Fetch-Site": "same-origin"})).status_code == 200


class TwinPageSuite(ABC):
    """For a twin that shows its state to a person."""

    bad: ClassVar[str] = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"

    @abstractmethod
    async def page(self) -> httpx.Response:
        """Returns the page of a twin that holds `bad` in every text that a client can give it."""

    async def test_texts_are_no_markup(self) -> None:
        page = await self.page()
        assert "&lt;script&gt;" in page.text
        assert "<script" not in page.text
        assert "<img" not in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
