"""The kit and event loops: iteration, contexts, loops that come and go, loops of several threads, and a process that forks.

Needs what `test_call.py` needs, but for the backend that hears of calls.
"""

import asyncio
import os
import pathlib
import subprocess
import sys
import threading
import unittest

import callkit

from app import APP, Backend, CallListener, Listener, Tokens, config, sign_in

FORKER = pathlib.Path(__file__).resolve().parent / "forker.py"
PATIENCE = 30
"""Seconds that something which is sure to come is waited for; a machine under load is slow."""

server = os.environ["CALLKIT_SERVER"]
Event = callkit.CallKitEvent


TONE = callkit.AudioInput.TONE(hz=440.0, amplitude=0.5)


class KnownLoop(Tokens):
    """Remembers on which loop it was asked."""

    async def rtc_token(self, request):
        self.asked_on = asyncio.get_running_loop()
        return await super().rtc_token(request)


def phone(user, tokens=Tokens, **changes):
    return sign_in(server, user, tokens, audio_input=TONE, **changes)


async def first(events, kind):
    async for event in events:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"the events ended without {kind}")


def soon(what):
    return asyncio.wait_for(what, PATIENCE)


class IterationTest(unittest.IsolatedAsyncioTestCase):
    async def test_events_figures_and_levels_are_iterated_and_contexts_end_what_they_hold(self):
        async with await phone("anna") as anna, await phone("ben") as ben:
            annas, bens = anna.events(), ben.events()
            call_id = await anna.start_single_call("ben", callkit.CallType.AUDIO1V1)
            await soon(first(bens, Event.RECEIVE_CALL))
            await ben.answer(call_id)
            await soon(first(annas, Event.FIRST_AUDIO))
            async for levels in await ben.audio_levels(20):
                if levels.peer > 0:
                    break
            async for figures in await ben.statistics_stream(call_id, 100):
                self.assertEqual(figures.codec, "opus")
                break
            async with ben.call(call_id) as call:
                self.assertEqual(call.state(), callkit.CallState.CONNECTED)
            self.assertEqual((await soon(first(annas, Event.CALL_END))).reason, callkit.EndReason.REMOTE_HANGUP)
            async with call:
                pass  # one that is over is not ended again
        for kit in [anna, ben]:
            with self.assertRaises(callkit.CallError.SignedOut):
                await kit.mute()
        self.assertEqual([event async for event in anna.events()], [], "the events of a kit that is signed out have ended")

    async def test_a_context_lets_pass_what_goes_wrong_in_it(self):
        with self.assertRaises(ZeroDivisionError):
            async with await phone("anna") as anna:
                raise ZeroDivisionError
        with self.assertRaises(callkit.CallError.SignedOut):
            await anna.mute()


class LoopsTest(unittest.TestCase):
    def test_a_loop_after_another_one(self):
        kept = {}

        async def begin():
            kept["kit"] = await phone("carl", tokens=KnownLoop)

        async def a_call():
            """The kit of the first loop goes on; handlers are set where they are to run."""
            carl, tokens = kept["kit"], KnownLoop(Backend(server, "carl"))
            carl.set_rtc_token_handler(tokens)
            async with await phone("dora") as dora:
                events = carl.events()
                call_id = await dora.start_single_call("carl", callkit.CallType.AUDIO1V1)
                await soon(first(events, Event.RECEIVE_CALL))
                await carl.answer(call_id)
                await soon(first(events, Event.FIRST_AUDIO))
            await soon(first(events, Event.CALL_END))
            self.assertIs(tokens.asked_on, asyncio.get_running_loop())

        async def handlers_of_the_closed_loop():
            async with kept["kit"] as carl, await phone("dora") as dora:
                events = carl.events()
                await dora.start_single_call("carl", callkit.CallType.AUDIO1V1)
                call = await soon(first(events, Event.RECEIVE_CALL))
                await carl.answer(call.call_id)
                return await soon(first(events, Event.ERROR))

        for part in [begin, a_call]:
            asyncio.run(part())
        error = asyncio.run(handlers_of_the_closed_loop()).error
        self.assertEqual(error.code(), 102)
        self.assertIn("the event loop on which this handler was set has ended", error.text())

    def test_two_threads_have_a_loop_and_a_kit_each_and_call_each_other(self):
        ready, failed, tokens = {"erik": threading.Event(), "frida": threading.Event()}, [], {}

        async def side(user, other, calls):
            def remembered(backend):
                tokens[user] = KnownLoop(backend)
                return tokens[user]

            async with await phone(user, tokens=remembered) as kit:
                events, told = kit.events(), []
                kit.add_event_listener("all", Listener(lambda name, **what: told.append(name)))
                ready[user].set()
                await soon(asyncio.to_thread(ready[other].wait))
                if calls:
                    call_id = await kit.start_single_call(other, callkit.CallType.AUDIO1V1)
                else:
                    call_id = (await soon(first(events, Event.RECEIVE_CALL))).call_id
                    await kit.answer(call_id)
                await soon(first(events, Event.FIRST_AUDIO))
                await soon(asyncio.to_thread(meet.wait))
                if calls:
                    await kit.hangup(call_id)
                await soon(first(events, Event.CALL_END))
                if tokens[user].asked_on is not asyncio.get_running_loop():
                    raise AssertionError("the handler ran on another loop")
                return told

        def thread(*who):
            try:
                for _ in range(2):  # the second time on a loop of its own
                    asyncio.run(side(*who))
                    ready[who[0]].clear()
                    meet.wait()
            except BaseException as error:
                failed.append(error)
                meet.abort()
                raise

        meet = threading.Barrier(2, timeout=PATIENCE)
        threads = [threading.Thread(target=thread, args=who) for who in [("erik", "frida", True), ("frida", "erik", False)]]
        for one in threads:
            one.start()
        for one in threads:
            one.join(3 * PATIENCE)
        self.assertEqual((failed, [one.is_alive() for one in threads]), ([], [False, False]))

    def test_a_handler_may_be_set_where_no_loop_runs(self):
        async def a_call(gina):
            async with gina, await phone("hugo") as hugo:
                events = gina.events()
                call_id = await hugo.start_single_call("gina", callkit.CallType.AUDIO1V1)
                await soon(first(events, Event.RECEIVE_CALL))
                await gina.answer(call_id)
                await soon(first(events, Event.FIRST_AUDIO))

        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        gina = loop.run_until_complete(phone("gina"))
        tokens = KnownLoop(Backend(server, "gina"))
        gina.set_rtc_token_handler(tokens)
        loop.run_until_complete(a_call(gina))
        self.assertIs(tokens.asked_on, loop, "the loop on which the kit signed in")

    def test_a_manager_begins_calls_on_several_loops(self):
        manager = callkit.CallManager(config(server, audio_input=TONE))

        async def declined():
            param = callkit.MakeCallParam(
                my_user_id="ina",
                my_service_id=APP,
                peer_user_id="jan",
                peer_service_id=APP,
                access_token=Backend(server, "ina").token,
            )
            async with await phone("jan") as jan:
                loop, told = asyncio.get_running_loop(), asyncio.Queue()
                listener = CallListener(lambda name, **what: loop.call_soon_threadsafe(told.put_nowait, name))
                events = jan.events()
                made = await manager.make_call(param, listener)
                async with made.call:
                    await soon(first(events, Event.RECEIVE_CALL))
                end = await soon(first(events, Event.CALL_END))
                while await soon(told.get()) != "on_disconnected":
                    pass
                return end.reason

        for _ in range(2):
            self.assertEqual(asyncio.run(declined()), callkit.EndReason.REMOTE_CANCEL)


@unittest.skipUnless(hasattr(os, "fork"), "this system knows no fork")
class ForkTest(unittest.TestCase):
    def test_a_forked_child_has_an_error_and_ends_and_the_parent_goes_on(self):
        for way in ["used", "leaves", "unused"]:
            with self.subTest(way):
                run = subprocess.run(
                    [sys.executable, str(FORKER), server, way], capture_output=True, text=True, timeout=2 * PATIENCE
                )
                self.assertEqual((run.returncode, run.stdout.splitlines()[-1:]), (0, ["as it should be"]), run.stderr)
                self.assertEqual(run.stderr, "")


if __name__ == "__main__":
    unittest.main()
