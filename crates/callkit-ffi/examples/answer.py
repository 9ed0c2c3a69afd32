"""Waits for a call, takes it, and says what happened; with --push as an app that sleeps until a push comes."""

import asyncio
import sys

import callkit
from callkit import CallKitEvent as Event


def config(server):
    return callkit.CallKitConfig(
        app_id="demo",
        server=server,
        audio_input=callkit.AudioInput.SPEECH(looped=True),  # leave these two out to use the microphone
        audio_output=callkit.AudioOutput.NULL(),  # and the loudspeaker
    )


async def awake(server, backend):
    """The app is there: it waits for a call, and takes it."""
    async with await callkit.CallKit.sign_in(config(server), "bob", backend.access_token()) as kit:
        backend.supply(kit)
        await kit.init_rtc()
        events = kit.events()
        print("bob waits for a call", flush=True)
        async for event in events:
            if isinstance(event, Event.RECEIVE_CALL):
                print(event.user, "calls")
                await kit.answer(event.call_id)
            elif isinstance(event, Event.FIRST_AUDIO):
                print("they talk")
            elif isinstance(event, Event.USER_MUTE_AUDIO):
                print("muted" if event.muted else "unmuted")
            elif isinstance(event, Event.CALL_END):
                return event.reason


class PushedCall(callkit.CallEventHandler):
    """A call of which a push told: only the events that this app cares for."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.alive, self.ended = self.loop.create_future(), self.loop.create_future()

    def on_verified(self, call, peer_use_responder_preparation):
        self.loop.call_soon_threadsafe(self.alive.set_result, call)

    def on_connected(self, call, in_preparation, should_finish):
        print("they talk")

    def on_peer_mic_muted(self, call):
        print("muted")

    def on_peer_mic_unmuted(self, call):
        print("unmuted")

    def on_disconnected(self, call, reason, source, by_remote, user_code):
        self.loop.call_soon_threadsafe(self.ended.set_result, reason)


async def asleep(server, backend):
    """A push wakes the app: what it brought is enough to ask whether the call is alive, and to take it."""
    print("bob waits for a push", flush=True)
    while (pushed := await backend.cc_param()) is None:  # a real app is given it by the push service
        await asyncio.sleep(0.1)
    print(callkit.parse_cc_param(pushed).peer, "calls")
    param = callkit.VerifyCallParam(my_user_id="bob", my_service_id="demo", cc_param=pushed)
    handler = PushedCall()
    started = await callkit.CallManager(config(server)).verify_call(param, handler)
    if started.call is None:
        sys.exit(f"the call is gone: {started.reason.name}")
    call = await handler.alive
    await call.accept(False)
    return await handler.ended


async def main(*words):
    server = next((word for word in words if word != "--push"), "http://127.0.0.1:7450")
    backend = await callkit.DevBackend.sign_in(server, "bob", "a password")  # a real app asks its own backend
    reason = await (asleep if "--push" in words else awake)(server, backend)
    print("over:", reason.name)


asyncio.run(main(*sys.argv[1:]))
