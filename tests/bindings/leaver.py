"""Two kits that call each other through a chat of this process, and the program ends in mid-call without a word."""

import asyncio
import sys

import callkit

from app import APP, Backend, Chat, Tokens


async def phone(server, user, rooms):
    backend = Backend(server, user)
    config = callkit.CallKitConfig(
        app_id=APP,
        server=server,
        audio_input=callkit.AudioInput.SILENCE(),
        audio_output=callkit.AudioOutput.NULL(),
        interfaces=callkit.Interfaces.LOOPBACK(),
        chat=Chat(rooms, user),
    )
    kit = await callkit.CallKit.sign_in(config, user, backend.token)
    kit.set_rtc_token_handler(Tokens(backend))
    await kit.init_rtc()
    return kit


async def main(server):
    rooms = {}
    local = await phone(server, "rosa", rooms)
    # One kit goes with the coroutine, the other one is there until the interpreter ends.
    globals()["kept"] = await phone(server, "sven", rooms)
    events = kept.events()  # noqa: F821
    await local.start_single_call("sven", callkit.CallType.AUDIO1V1)
    while not isinstance(event := await events.next(), callkit.CallKitEvent.RECEIVE_CALL):
        pass
    await kept.answer(event.call_id)  # noqa: F821
    while not isinstance(await events.next(), callkit.CallKitEvent.ANSWER):
        pass
    sys.exit(0)


asyncio.run(main(sys.argv[1]))
