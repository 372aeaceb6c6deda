"""An order to stop is carried out soon, whatever is being waited for, and whenever it comes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

STUCK = """
import time
from kounter.process import shutdown
shutdown.GRACE_S = 0.3
shutdown.end_within(0.3)
print("told", flush=True)
time.sleep(60)
"""
EARLY = """
import asyncio, os, signal, uvicorn
from kounter.process.shutdown import EndingServer
async def app(scope, receive, send): ...
async def serve():
    server = EndingServer(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.05)
    await server.serve()
asyncio.run(serve())
"""
STUCK_AFTER = """
import asyncio, time, uvicorn
from kounter.process import shutdown
shutdown.GRACE_S = 0.3
async def app(scope, receive, send): ...
async def serve():
    server = shutdown.EndingServer(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    print("serves", flush=True)
    await server.serve()
    await asyncio.Event().wait()  # Kafka is away
asyncio.run(serve())
"""


@pytest.mark.parametrize(("code", "told"), [(STUCK, False), (EARLY, False), (STUCK_AFTER, True)])
def test_it_ends_soon(code: str, told: bool) -> None:
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        if told:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.communicate()
