"""Calls bob, mutes for a moment, hangs up, and says what happened."""

import asyncio
import sys

import callkit
from callkit import CallKitEvent as Event


async def main(server="http://127.0.0.1:7450"):
    backend = await callkit.DevBackend.sign_in(server, "alice", "a password")  # a real app asks its own backend
    config = callkit.CallKitConfig(
        app_id="demo",
        server=server,
        audio_input=callkit.AudioInput.SPEECH(looped=True),  # leave these two out to use the microphone
        audio_output=callkit.AudioOutput.NULL(),  # and the loudspeaker
    )
    async with await callkit.CallKit.sign_in(config, "alice", backend.access_token()) as kit:
        backend.supply(kit)
        await kit.init_rtc()
        events = kit.events()
        call_id = await kit.start_single_call("bob", callkit.CallType.AUDIO1V1)
        async for event in events:
            if isinstance(event, Event.RINGING):
                print("it rings at", event.user)
            elif isinstance(event, Event.FIRST_AUDIO):
                print("they talk")
                await asyncio.sleep(1)
                await kit.mute()
                await asyncio.sleep(1)
                await kit.unmute()
                await asyncio.sleep(1)
                await kit.hangup(call_id)
            elif isinstance(event, Event.ERROR):
                print("error:", event.error.text())
            elif isinstance(event, Event.CALL_END):
                break
    if event.reason != callkit.EndReason.HANGUP:
        sys.exit(f"the call ended: {event.reason.name}")
    print("over")


asyncio.run(main(*sys.argv[1:]))
