"""Two kits that call each other through a chat of this process, and the program ends in mid-call without a word."""

import asyncio
import sys

import callkit

from app import Chat, sign_in


async def main(server):
    rooms = {}
    local = await sign_in(server, "rosa", chat=Chat(rooms, "rosa"))
    # One kit goes with the coroutine, the other one is there until the interpreter ends.
    globals()["kept"] = await sign_in(server, "sven", chat=Chat(rooms, "sven"))
    events = kept.events()  # noqa: F821
    await local.start_single_call("sven", callkit.CallType.AUDIO1V1)
    while not isinstance(event := await events.next(), callkit.CallKitEvent.RECEIVE_CALL):
        pass
    await kept.answer(event.call_id)  # noqa: F821
    while not isinstance(await events.next(), callkit.CallKitEvent.ANSWER):
        pass
    sys.exit(0)


asyncio.run(main(sys.argv[1]))
