"""The estate's results beside their limits."""

from __future__ import annotations

from bench.estate.report import Part, as_json, markdown

MACHINE = {"cpus": 2, "python": "3.11", "kafka": "4.0", "date": "2026-01-02"}
FEED = Part(
    "feed",
    1,
    {"plain": {"rows_per_s": 5_000, "cpu_ms_per_1k": 45.0, "rows": 10_000}, "nest": {"rows_per_s": 10}},
    {"plain": {"rows_per_s": 6_000, "cpu_ms_per_1k": 45.0}},
)


def test_a_rate_is_limited_from_below_and_all_else_from_above() -> None:
    slow = Part("catalogue", 1, {"per_s": 200, "p99_ms": 50.1, "errors": 0}, {"p99_ms": 50.0, "errors": 0})
    found = as_json([FEED, slow], MACHINE)
    assert found["exceeded"] == ["feed: plain: rows_per_s", "catalogue: p99_ms"]
    assert found["failed"] == ["feed", "catalogue"]
    assert found["parts"]["feed"]["results"]["nest"] == {"rows_per_s": 10}


def test_the_page_shows_each_result_with_its_limit() -> None:
    lines = markdown([FEED], MACHINE).splitlines()
    assert "| plain: rows_per_s | **5,000**, exceeded | ≥ 6,000 |" in lines
    assert "| plain: cpu_ms_per_1k | 45.0 | ≤ 45 |" in lines
    assert "| nest: rows_per_s | 10 |  |" in lines


def test_a_part_without_results_is_on_the_page() -> None:
    assert "It ended with exit code 137, without results." in markdown([Part("feed", 137, {}, {})], MACHINE)
