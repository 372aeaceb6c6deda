"""What stands in a log: nothing that a terminal obeys, no secret of a URL."""

from __future__ import annotations

import re
import subprocess
import sys

SCRIPT = """
import asyncio, logging, sys
import httpx
from loguru import logger
from kounter import logs
logs.set_up("DEBUG")
bad = "\\x1b]0;owned\\x07\\x1b[2J\\u202e\\r\\n2026-01-01 00:00:00.000 CRITICAL forged"
logger.warning("{} is passed over", bad)
logging.getLogger("lib").error("%s", bad)
async def ask():
    def answer(request):
        return httpx.Response(200)
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        await http.get("https://portal.example/rest/1/s3cret/crm.lead.add")
asyncio.run(ask())
logging.getLogger("httpx").info("GET https://portal.example/rest/1/s3cret/")
"""


def test_a_log_holds_no_controls_no_forged_lines_and_no_urls() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True)
    text = done.stderr.decode()
    assert text.count("forged") == 2
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert all(re.match(r"20\d\d-|    ", line) for line in text.splitlines()), text
    assert not re.search("^2026-01-01", text, re.MULTILINE)
    assert "s3cret" not in text
