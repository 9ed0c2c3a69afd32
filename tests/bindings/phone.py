"""One phone in a process of its own: commands come in as lines of JSON, events and replies go out the same way."""

import asyncio
import gc
import json
import os
import sys
import threading

import callkit

from app import APP, Backend, BrokenTokens, Listener, RefusedTokens, Tokens, Users

HANDLERS = {"good": Tokens, "broken": lambda _: BrokenTokens(), "refused": lambda _: RefusedTokens()}


telling = threading.Lock()


def tell(name, **what):
    """Called by the listener's thread as well as by the event loop's."""
    with telling:
        print(json.dumps({"name": name, **what}), flush=True)


class Careless(callkit.CallKitEventHandler):
    """A listener with one method, which fails."""

    def on_receive_call(self, user, call_id, call_type, ext):
        raise KeyError("the app has another bug")


class Phone:
    def __init__(self, kit, backend):
        self.kit, self.backend = kit, backend
        self.streamed = []
        self.reader = asyncio.create_task(self.read(kit.events()))

    @staticmethod
    async def begin(server, user, says, hears):
        backend = await asyncio.to_thread(Backend, server, user)
        config = callkit.CallKitConfig(
            app_id=APP,
            server=server,
            device=f"{user}'s phone",
            audio_input=callkit.AudioInput.WAV(path=says, looped=True),
            audio_output=callkit.AudioOutput.WAV(path=hears),
            interfaces=callkit.Interfaces.LOOPBACK(),
        )
        kit = await callkit.CallKit.sign_in(config, user, backend.token)
        kit.add_event_listener("careless", Careless())
        kit.add_event_listener("test", Listener(tell))
        kit.set_user_mapper_handler(Users(backend))
        return Phone(kit, backend)

    async def read(self, events):
        while (event := await events.next()) is not None:
            self.streamed.append(type(event).__name__.removeprefix("CallKitEvent."))

    async def tokens(self, kind):
        self.kit.set_rtc_token_handler(HANDLERS[kind](self.backend))

    async def init_rtc(self):
        await self.kit.init_rtc()

    async def call(self, user, ext):
        return await self.kit.start_single_call(user, callkit.CallType.AUDIO1V1, ext)

    async def answer(self, call_id):
        await self.kit.answer(call_id)

    async def hangup(self, call_id):
        await self.kit.hangup(call_id)

    async def mute(self, on):
        await (self.kit.mute() if on else self.kit.unmute())

    async def quality(self):
        quality = await self.kit.call_quality()
        return quality and vars(quality)

    async def release(self):
        await self.kit.release_rtc()

    async def sign_out(self):
        """Gives the names of the events that the stream had, once it has ended."""
        await self.kit.sign_out()
        await self.reader
        return self.streamed

    async def drop(self):
        """Lets go of the kit without a word; the stream ends by itself."""
        self.kit = None
        gc.collect()
        await self.reader

    async def leave(self):
        """Ends the program without a word."""
        sys.exit(0)


async def main(server, user, says, hears):
    callkit.init_logging(os.environ.get("CALLKIT_LOG", "error"))
    phone = await Phone.begin(server, user, says, hears)
    tell("ready")
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        what = command.pop("do")
        try:
            tell("reply", what=what, result=await getattr(phone, what)(**command))
        except callkit.CallError as error:
            tell("reply", what=what, error=error.text())
    if phone.kit is not None:
        await phone.sign_out()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
