"""States of any values, as strangers may have written them: each is shown, and none takes a list from all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kounter.gateway.app import create_app
from kounter.gateway.reader import resources
from kounter.settings import Settings
from streams.domains.crm import CRM
from streams.domains.domofon import domofon
from streams.domains.estate import ESTATE
from streams.rules import DomofonRules
from tables.view import Change, View
from tests.support.gateway import LocalReader, client
from tests.support.values import rows

DOMAINS = [ESTATE, CRM, domofon(DomofonRules())]
RESOURCES = {r.topic: r for r in resources(DOMAINS)}
AGGREGATES = {a.topic: a for d in DOMAINS for a in d.aggregates}
LISTINGS = {topic: aggregate.listing for topic, aggregate in AGGREGATES.items()}


def states(topic: str) -> st.SearchStrategy[Any]:
    """What folding one record of any values leaves."""
    aggregate = AGGREGATES[topic]
    times = st.sampled_from([0, 1, -(2**62), 2**62, 1_700_000_000_000_000])
    folded = [
        st.tuples(rows(of), times).map(lambda pair: aggregate.evolve(None, pair[0], pair[1]))
        for of in aggregate.layout.contracts
    ]
    return st.one_of(folded).filter(lambda state: state is not None and state.version > 0)


@pytest.mark.parametrize("topic", sorted(RESOURCES))
async def test_any_state_is_shown(topic: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder: Path = tmp_path_factory.mktemp("view")
    view = View(folder / "view.sqlite", {t: a.layout for t, a in AGGREGATES.items()}, LISTINGS)
    found: list[Any] = []

    @given(states(topic))
    @settings(suppress_health_check=list(HealthCheck), database=None)
    def collect(state: Any) -> None:
        found.append(state)

    collect()
    reader = LocalReader(view, None, None, DOMAINS, Settings())  # type: ignore[arg-type]
    app = create_app([RESOURCES[topic]], reader)
    try:
        async with client(app) as http:
            for n, state in enumerate(found):
                view.apply([Change(topic, f"k{n}", state._replace(ext_id=f"k{n}"))], {})
            for personal in ("true", "false"):
                for order in ("ext_id", "-changed_at"):
                    url = f"{RESOURCES[topic].path}?limit=500&personal={personal}&order={order}"
                    answer = await http.get(url)
                    assert answer.status_code == 200, answer.text
                    assert len(answer.json()["items"]) == len(found)
                    json.dumps(answer.json(), allow_nan=False)
    finally:
        view.close()
