"""A program that forks: what its child may do with the kit, and that the child ends.

`used`: a kit with a chat and a waiting reader lives in the parent, and the child tries it. `leaves`: the same, and the child only ends.
`unused`: the parent has only imported the kit, and the child uses it.
"""

import asyncio
import os
import signal
import sys
import threading
import time
import warnings

from app import Chat, Tokens, sign_in

PATIENCE = 10


def refused(what):
    try:
        what()
    except RuntimeError as error:
        assert "forked" in str(error), error
    else:
        raise AssertionError("a child may not use its parent's kit")


def tries(kit, server):
    refused(kit.calls)
    refused(kit.events)
    refused(lambda: kit.set_rtc_token_handler(Tokens(None)))
    refused(lambda: asyncio.run(kit.mute()))
    refused(lambda: asyncio.run(sign_in(server, "kurt")))


def ends_well(child):
    """Whether it ends by itself, with success and soon."""
    end = time.monotonic() + PATIENCE
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError("the child hangs")
        time.sleep(0.01)
    assert ended[1] == 0, f"the child ended with {ended[1]:#x}"


async def signed_out(events):
    async for _ in events:
        pass


def with_a_kit(server, way):
    async def begin():
        return await sign_in(server, "kurt", chat=Chat({}, "kurt"))

    kit = asyncio.run(begin())
    reader = threading.Thread(target=asyncio.run, args=[signed_out(kit.events())])
    reader.start()
    warnings.simplefilter("ignore", DeprecationWarning)  # newer ones warn of every fork beside a thread
    if (child := os.fork()) == 0:
        if way == "used":
            tries(kit, server)
        sys.exit(0)
    ends_well(child)
    asyncio.run(kit.mute())
    asyncio.run(kit.sign_out())
    reader.join()


async def alone(server):
    kit = await sign_in(server, "lars")
    await kit.sign_out()


def main(server, way):
    if way != "unused":
        with_a_kit(server, way)
    elif (child := os.fork()) == 0:
        asyncio.run(alone(server))
        sys.exit(0)
    else:
        ends_well(child)
    print("as it should be")


main(*sys.argv[1:])
