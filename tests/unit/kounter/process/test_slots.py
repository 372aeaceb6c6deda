"""No two worker processes in one state folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from kounter.process.slots import take_slot
from kounter.process.supervisor import Services
from kounter.settings import Settings
from schemas.errors import BrokenSetup


def test_the_first_free_slot_is_taken_and_given_back(tmp_path: Path) -> None:
    first, slot = take_slot(tmp_path, None)
    second, other = take_slot(tmp_path, None)
    assert (slot, other) == (0, 1)
    first.close()
    third, again = take_slot(tmp_path, None)
    assert again == 0
    second.close()
    third.close()


def test_a_slot_in_use_is_refused(tmp_path: Path) -> None:
    lock, _ = take_slot(tmp_path, 7)
    with pytest.raises(BrokenSetup, match="slot 7"):
        take_slot(tmp_path, 7)
    lock.close()


def test_a_worker_by_hand_never_gets_a_slot_of_kounter_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It got slot 0: state folder, log and line of `kounter status` were those of the worker beside it."""
    monkeypatch.setattr(Services, "start", lambda *_, **__: None)
    services = Services(Settings(data_dir=tmp_path), lambda *_: None)
    for domain in ("estate", "crm"):
        for slot in range(2):
            services.start_worker(domain, slot)
    lock, slot = take_slot(tmp_path, None)
    lock.close()
    assert slot == 2
    services.__exit__()
    lock, slot = take_slot(tmp_path, None)
    lock.close()
    assert slot == 0
