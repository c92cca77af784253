"""Programs that end in the middle of things: nothing hangs, and nothing is printed."""

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import time
import warnings

import grpc
import pytest
from proxy import Proxy

from bionemo_ext.client import AsyncClient, Client, Retry
from bionemo_ext.client.async_session import results_of
from bionemo_ext.errors import InputError, UnavailableError

pytestmark = pytest.mark.server

HEAD = """
import asyncio, contextlib, itertools, sys, threading, time
from bionemo_ext.client import AsyncClient, Client
url = sys.argv[1]
proteins = itertools.repeat("MKTVRQG" * 100)
"""
SCRIPTS = {
    "a client that was not closed": 'client = Client(url); client.embed("MKT")',
    "one that was never used": "client = Client(url)",
    "a stream that was not read to its end": """
client = Client(url)
stream = client.stream(proteins, ("mean",))
next(stream)
""",
    "an error in the midst of a stream": """
try:
    for result in Client(url).stream(proteins, ("mean",)):
        raise ValueError
except ValueError:
    pass
""",
    "a thread that still asks": """
client = Client(url)
def ask():
    with contextlib.suppress(Exception):
        list(client.stream(proteins, ("mean",)))
threading.Thread(target=ask, daemon=True).start()
client.embed("MKT")
""",
    "asyncio without a close": """
async def main():
    client = AsyncClient(url)
    await client.embed("MKT")
    async for result in client.stream(proteins, ("mean",)):
        break
asyncio.run(main())
""",
    "asyncio with a task under way": """
async def main():
    client = AsyncClient(url)
    task = asyncio.create_task(client.embed(["MKTVRQG" * 100] * 500))
    await asyncio.sleep(0.1)
asyncio.run(main())
""",
}


@pytest.mark.parametrize("case", SCRIPTS)
def test_a_program_that_ends(server, case):
    done = subprocess.run(
        [sys.executable, "-c", HEAD + SCRIPTS[case], server.url],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "ask", ['client.embed(["MKTVRQG" * 100] * 3000)', 'list(client.stream(proteins, ("mean",)))']
)
def test_ctrl_c_gives_up_what_is_under_way(server, ask):
    code = f"""{HEAD}
client = Client(url)
client.ready()
print("asking", flush=True)
try:
    {ask}
except KeyboardInterrupt:
    print("stopped", flush=True)
    time.sleep(1)
    print(client.embed("MKT").shape)
"""
    with Proxy(server.url) as proxy:
        running = subprocess.Popen(
            [sys.executable, "-c", code, proxy.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # One that hangs ends too, and what is read of it.
        too_late = threading.Timer(60, running.kill)
        too_late.start()
        try:
            assert running.stdout.readline() == "asking\n"
            while len(proxy.seen) < 5 and running.poll() is None:
                time.sleep(0.01)
            running.send_signal(signal.SIGINT)
            assert running.stdout.readline() == "stopped\n"
            seen = len(proxy.seen)
            out, told = running.communicate()
        finally:
            too_late.cancel()
            running.kill()
        assert (running.returncode, out, told) == (0, "(1, 64)\n", "")
        # Those that were on their way, and the last one.
        assert len(proxy.seen) <= seen + 5


def test_an_abandoned_stream_of_asyncio_leaves_no_task(server):
    async def main():
        async with AsyncClient(server.url) as client:
            before = asyncio.all_tasks()
            async for _ in client.stream(["MKTVRQG" * 50] * 5000, ("mean",)):
                break
            gc.collect()
            await asyncio.sleep(0.2)
            assert asyncio.all_tasks() == before
            task = asyncio.create_task(client.embed(["MKTVRQG" * 50] * 5000))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert asyncio.all_tasks() == before
            assert (await client.embed("MKT")).shape == (1, 64)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(main())


def test_a_client_for_asyncio_that_is_closed_while_it_asks(server):
    async def main():
        client = AsyncClient(server.url)
        task = asyncio.create_task(client.embed(["MKTVRQG" * 100] * 2000))
        await asyncio.sleep(0.5)
        await client.close()
        with pytest.raises(UnavailableError, match="the client was closed before the answer came"):
            await task
        with pytest.raises(InputError, match="the client is closed"):
            await client.embed("MKT")

    asyncio.run(main())


def test_what_had_begun_when_the_client_was_closed_says_so(server):
    """Also a request that was not sent yet, and one that waits to be sent again."""

    async def main():
        client = AsyncClient(server.url)
        stream = await client.open(("mean",), None, None, None, None)
        await client.close()
        with pytest.raises(UnavailableError, match="the client was closed before the answer came"):
            async for _ in results_of(stream, ["MKT"]):
                pass
        with Proxy(server.url) as proxy:
            proxy.failures = [(grpc.StatusCode.UNAVAILABLE, "the queue is full")] * 1000
            client = AsyncClient(proxy.url, retry=Retry(first_s=0.5))
            task = asyncio.create_task(client.embed("MKT"))
            while not proxy.seen:
                await asyncio.sleep(0.01)
            await client.close()
            with pytest.raises(UnavailableError, match="closed before the answer came"):
                await task

    asyncio.run(main())


def test_a_client_that_is_closed_while_it_asks(server):
    told = []
    client = Client(server.url)

    def ask():
        try:
            client.embed(["MKTVRQG" * 100] * 2000)
        except Exception as error:
            told.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.5)
    client.close()
    asking.join(20)
    assert told == ["the client was closed before the answer came"]
    client.close()
    with pytest.raises(InputError, match="the client is closed"):
        client.ready()


def test_a_client_of_a_process_that_was_forked(server):
    code = f"""{HEAD}
import os
client = Client(url)
client.embed("MKT")
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
try:
    client.embed("MKT")
except Exception as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, server.url], capture_output=True, text=True, timeout=60
    )
    told = "the client was used before this process was forked; make one in each process\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, told, "")


def test_a_client_that_nobody_holds_ends_its_thread(server):
    def threads():
        return {one for one in threading.enumerate() if one.name == "bionemo-ext-client"}

    before = threads()
    client = Client(server.url)
    client.embed("MKT")
    assert len(threads()) == len(before) + 1
    del client
    gc.collect()
    assert threads() == before
