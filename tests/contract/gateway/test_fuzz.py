"""Schemathesis: the gateway against its own OpenAPI document, with data that fits it and data that does not."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from kounter.gateway.resources import Health
from tests.support.gateway import LAYOUTS, application, leads, local_reader, put, state

TOKEN = "token"
EXAMPLES = settings().max_examples * 2 // 5
"""Of each operation and mode."""
NOT_TOLD = [positive_data_acceptance, negative_data_rejection]
"""JSON Schema can't say what a cursor is; and what is wrong only by its type is right as the text of a query."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("view")
    with local_reader(folder) as (reader, view):
        put(view, "estate.lead", *leads(["l1", "0", "a/b"], fee=Decimal("1.00"), state="ACTIVE", lead_number=1))
        put(view, "estate.premise", state("estate.premise", "p1", photos=("a",), is_sold=True, size=1.5))
        reader.found = Health(ready=True)
        yield schemathesis.openapi.from_asgi("/openapi.json", application(reader, TOKEN))


@pytest.mark.parametrize("mode", GenerationMode)
def test_answers_are_as_documented(api: Any, mode: GenerationMode) -> None:
    operations = [found.ok() for found in api.get_all_operations()]
    assert len(operations) == 3 + 3 * len(LAYOUTS) + 5 + 2
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and not operation.query and not operation.body:
            continue  # health takes nothing that could be wrong

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
        def check(case: schemathesis.Case) -> None:
            case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"}, excluded_checks=NOT_TOLD)

        check()
