"""What the tests of the gateway check its answers with."""

from __future__ import annotations

from typing import Any

import httpx

LEADS = "/api/estate/leads"


def check_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Of RFC 9457."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code), body
    assert body["type"] == "about:blank"
    assert body["title"]
    assert 0 < len(body["detail"]) < 2_000
    return body


async def walk(http: httpx.AsyncClient, url: str) -> list[str]:
    """By the Link headers, as a client that knows nothing of cursors."""
    found: list[str] = []
    while url:
        answer = await http.get(url)
        assert answer.status_code == 200, answer.text
        found += [row["ext_id"] for row in answer.json()["items"]]
        assert ("next" in answer.links) == (answer.json().get("next") is not None)
        url = answer.links.get("next", {}).get("url", "")
    return found
