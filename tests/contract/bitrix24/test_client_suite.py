"""The client of the portal in the suite of all clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from adapters.bitrix24.rest.client import Bitrix24Client
from adapters.bitrix24.settings import Bitrix24Settings
from tests.contract.suites.client import Calls, ClientSuite

CODE = "s3cr3tc0de1234567890"


class TestBitrix24Client(ClientSuite):
    """The webhook's code stands in the address."""

    secrets = (CODE,)

    @asynccontextmanager
    async def client(self, url: str, timeout_s: float) -> AsyncIterator[Calls]:
        settings = Bitrix24Settings(webhook_url=SecretStr(f"{url}/rest/1/{CODE}/"), timeout_s=timeout_s)
        async with Bitrix24Client(settings) as portal:
            yield Calls(lambda: portal.call("crm.lead.list", {}), lambda: portal.call("crm.lead.add", {}))
