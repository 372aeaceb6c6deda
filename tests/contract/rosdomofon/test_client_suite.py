"""The client of the operator's REST in the suite of all clients."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.settings import RosDomofonSettings
from tests.contract.suites.client import Calls, ClientSuite
from tests.support.systems.rosdomofon import PHONE

PASSWORD, TOKEN = "s3cr3t-p4ssword", "s3cr3t-t0ken"


class TestRosDomofonClient(ClientSuite):
    """A token is got first, with the password."""

    secrets = (PASSWORD, TOKEN)

    def before(self, path: str) -> bytes | None:
        return json.dumps({"access_token": TOKEN}).encode() if path.endswith("/oauth/token") else None

    @asynccontextmanager
    async def client(self, url: str, timeout_s: float) -> AsyncIterator[Calls]:
        password = SecretStr(PASSWORD)
        settings = RosDomofonSettings(base_url=url, username="u", password=password, timeout_s=timeout_s)
        async with RosDomofonAPI(settings) as api:
            yield Calls(api.get_accounts, lambda: api.create_account("A", PHONE))
