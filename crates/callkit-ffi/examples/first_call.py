import asyncio
import sys

import callkit


async def phone(server, user):
    backend = await callkit.DevBackend.sign_in(server, user, "a password")  # a real app asks its own backend
    config = callkit.CallKitConfig(
        app_id="demo",
        server=server,
        audio_input=callkit.AudioInput.SPEECH(looped=True),  # leave these two out to use the microphone
        audio_output=callkit.AudioOutput.NULL(),  # and the loudspeaker
    )
    kit = await callkit.CallKit.sign_in(config, user, backend.access_token())
    backend.supply(kit)
    await kit.init_rtc()
    return kit


async def until(events, kind):
    while (event := await events.next()) is not None:
        print(event)
        if isinstance(event, kind):
            return event
    raise EOFError("the kit is signed out")


async def main(server):
    alice, bob = await phone(server, "alice"), await phone(server, "bob")
    alices, bobs = alice.events(), bob.events()
    await alice.start_single_call("bob", callkit.CallType.AUDIO1V1)
    call = await until(bobs, callkit.CallKitEvent.RECEIVE_CALL)
    await bob.answer(call.call_id)
    await until(alices, callkit.CallKitEvent.FIRST_AUDIO)
    await bob.hangup(call.call_id)
    await until(alices, callkit.CallKitEvent.CALL_END)
    await alice.sign_out()
    await bob.sign_out()


asyncio.run(main(sys.argv[1]))
