"""The kit in Python: two phones in two processes call each other through a real server.

Needs the generated `callkit` on the path (`cargo xtask bindings python`) and a server that nobody else uses, either as the path of
a `callkitd` in CALLKITD or as the address of one that runs with --dev in CALLKIT_SERVER:

    PYTHONPATH=target/bindings/python CALLKITD=target/debug/callkitd python3 tests/bindings/test_call.py
"""

import array
import asyncio
import gc
import json
import os
import pathlib
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import wave
import weakref

import callkit

import hearing
from app import APP, Backend, CallListener, Chat, MyMedia, Tokens, config, metric, pushed, sign_in

HERE = pathlib.Path(__file__).resolve().parent
SPEECH = HERE.parent.parent / "crates/rtc-media/assets/speech.wav"
LEAVER = HERE / "leaver.py"
EXAMPLES = HERE.parent.parent / "crates/callkit-ffi/examples"
PATIENCE = 30
"""Seconds that something which is sure to come is waited for; a machine under load is slow."""
TALK_PACKETS = 200
"""Packets of 20 ms that each side hears before the call goes on."""

server = None


def setUpModule():
    global server
    if "CALLKIT_SERVER" in os.environ:
        server = os.environ["CALLKIT_SERVER"]
        return
    daemon = subprocess.Popen(
        [os.environ["CALLKITD"], "--dev", "--listen", "127.0.0.1:0", "--log", "warn"],
        stdout=subprocess.PIPE,
        text=True,
    )
    unittest.addModuleCleanup(daemon.stdout.close)
    unittest.addModuleCleanup(daemon.wait, PATIENCE)
    unittest.addModuleCleanup(daemon.terminate)
    server = "http://" + re.search(r"tcp=(\S+)", daemon.stdout.readline()).group(1)


class Phone:
    """A phone process, and what it told: `told` in order, `waiting` what no assertion has asked for yet."""

    def __init__(self, test, user, says, hears):
        self.user, self.lines, self.told, self.waiting, self.errors = user, queue.Queue(), [], [], []
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "phone.py"), server, user, str(says), str(hears)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.readers = [threading.Thread(target=self.read), threading.Thread(target=self.read_errors)]
        for reader in self.readers:
            reader.start()
        for close in [self.process.stderr.close, self.process.stdout.close, *(r.join for r in self.readers)]:
            test.addCleanup(close)
        test.addCleanup(self.process.wait)
        test.addCleanup(self.process.kill)
        test.addCleanup(self.process.stdin.close)
        self.until("ready")

    def read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def read_errors(self):
        self.errors.extend(self.process.stderr)

    def until(self, name, **what):
        """The first event of this name and these values that was not asked for before."""
        asked = {"name": name, **what}.items()
        while (found := next((line for line in self.waiting if asked <= line.items()), None)) is None:
            try:
                line = self.lines.get(timeout=PATIENCE)
            except queue.Empty:
                raise AssertionError(f"{self.user} waited for {name} {what} and got {self.told}") from None
            if line is None:
                raise AssertionError(f"{self.user}'s phone broke down:\n{''.join(self.errors)}")
            self.told.append(line)
            self.waiting.append(line)
        self.waiting.remove(found)
        return found

    def do(self, what, **how):
        """Carries out a command and gives its result."""
        self.process.stdin.write(json.dumps({"do": what, **how}) + "\n")
        self.process.stdin.flush()
        reply = self.until("reply", what=what)
        if "error" in reply:
            raise AssertionError(f"{self.user} could not {what} {how}: {reply['error']}")
        return reply["result"]

    def until_quality(self, fits):
        deadline = time.monotonic() + PATIENCE
        while not ((quality := self.do("quality")) and fits(quality)):
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.user}'s call does not get there: {quality}")
            time.sleep(0.02)

    def events(self):
        """The names of all events so far, in order."""
        return [line["name"] for line in self.told if line["name"] not in ("ready", "reply")]


class PhonesTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        # Bob speaks Alice's speech backwards: the same sounds as often and as loud, another waveform.
        self.backwards = self.folder / "backwards.wav"
        with wave.open(str(SPEECH)) as file:
            samples = array.array("h", file.readframes(file.getnframes()))
            samples.reverse()
            hearing.write(self.backwards, samples, file.getframerate())

    def phones(self, **tokens):
        alice = Phone(self, "alice", SPEECH, self.folder / "alice-heard.wav")
        bob = Phone(self, "bob", self.backwards, self.folder / "bob-heard.wav")
        for phone in [alice, bob]:
            phone.do("tokens", kind=tokens.get(phone.user, "good"))
            phone.do("init_rtc")
        return alice, bob

    def call(self, alice, bob):
        """Alice calls, Bob answers, both hear each other."""
        call_id = alice.do("call", user="bob", ext={"topic": "lunch"})
        ring = bob.until("receive_call")
        self.assertEqual((ring["call_id"], ring["user"]), (call_id, "alice"))
        self.assertEqual((ring["call_type"], ring["ext"]), ("AUDIO1V1", {"topic": "lunch"}))
        alice.until("ringing", call_id=call_id, user="bob")
        bob.do("answer", call_id=call_id)
        for phone, other in [(alice, "bob"), (bob, "alice")]:
            phone.until("answer", call_id=call_id)
            phone.until("joined_channel", channel=call_id)
            uid = phone.until("user_joined", user=other)["uid"]
            phone.until("first_audio", uid=uid)
        return call_id

    def test_two_phones_hear_each_other(self):
        alice, bob = self.phones()
        call_id = self.call(alice, bob)
        for phone in [alice, bob]:
            phone.until_quality(lambda quality: quality["received_packets"] >= TALK_PACKETS)

        alice.do("mute", on=True)
        bob.until("user_mute_audio", muted=True)
        bob.until_quality(lambda quality: quality["output_level"] == 0)
        alice.do("mute", on=False)
        bob.until("user_mute_audio", muted=False)
        bob.until_quality(lambda quality: quality["output_level"] > 0)

        bob.do("hangup", call_id=call_id)
        bob.until("call_end", call_id=call_id, reason="HANGUP")
        alice.until("call_end", call_id=call_id, reason="REMOTE_HANGUP")
        for phone in [alice, bob]:
            phone.do("release")
            streamed = phone.do("sign_out")
            listened = phone.events()
            self.assertEqual([name.lower() for name in streamed], listened, "the stream tells what the listener is told")
            self.assertEqual(listened.count("call_end"), 1)
            self.assertNotIn("error", listened)

        # What the careless listener threw is in the log, and went no further; what it lacked is not.
        for phone, throws in [(alice, False), (bob, True)]:
            phone.process.stdin.close()
            self.assertEqual(phone.process.wait(PATIENCE), 0, phone.errors)
            phone.readers[1].join(PATIENCE)
            errors = "".join(phone.errors)
            self.assertEqual("another bug" in errors, throws, errors)
            self.assertNotIn("NotImplementedError", errors)

        length = TALK_PACKETS * hearing.RATE // 50
        forwards, backwards = hearing.read(SPEECH)[:length], hearing.read(self.backwards)[:length]
        alice_heard, bob_heard = (hearing.read(self.folder / f"{who}-heard.wav") for who in ["alice", "bob"])
        scores = {
            "bob heard alice": hearing.similarity(forwards, bob_heard),
            "alice heard bob": hearing.similarity(backwards, alice_heard),
            "bob heard himself": hearing.similarity(backwards, bob_heard),
            "alice heard herself": hearing.similarity(forwards, alice_heard),
        }
        self.assertGreater(scores["bob heard alice"], 0.7, scores)
        self.assertGreater(scores["alice heard bob"], 0.7, scores)
        self.assertLess(scores["bob heard himself"], 0.3, scores)
        self.assertLess(scores["alice heard herself"], 0.3, scores)

    def test_a_token_handler_that_throws_is_an_error_event(self):
        for kind, text in [("broken", "the app has a bug"), ("refused", "no credit left")]:
            with self.subTest(kind):
                alice, bob = self.phones(alice=kind)
                call_id = alice.do("call", user="bob", ext={})
                bob.until("receive_call")
                bob.do("answer", call_id=call_id)
                error = alice.until("error")
                self.assertEqual((error["code"], error["kind"]), (102, "PROCESS"))
                self.assertIn(text, error["text"])
                for phone in [alice, bob]:
                    phone.until("call_end", call_id=call_id)
                # The phone is none the worse for it.
                alice.do("tokens", kind="good")
                self.call(alice, bob)
                for phone in [alice, bob]:
                    phone.do("sign_out")

    def test_letting_go_of_the_kit_ends_the_call_and_signs_out(self):
        until_sessions(self, 0)
        alice, bob = self.phones()
        call_id = self.call(alice, bob)
        self.assertEqual(metric(server, "callkit_sessions"), 2)
        alice.do("drop")
        bob.until("call_end", call_id=call_id, reason="REMOTE_HANGUP")
        until_sessions(self, 1)
        bob.do("sign_out")
        until_sessions(self, 0)

    def test_a_program_may_end_in_mid_call(self):
        for _ in range(3):
            alice, bob = self.phones()
            self.call(alice, bob)
            for phone in [alice, bob]:
                phone.process.stdin.write('{"do": "leave"}\n')
                phone.process.stdin.flush()
                self.assertEqual(phone.process.wait(PATIENCE), 0, phone.errors)
            # With a chat of the app, in which a kit always waits for a message.
            run = subprocess.run([sys.executable, str(LEAVER), server], capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual(run.returncode, 0, run.stderr)
        # The same devices sign in again, which ends the sessions that the server would keep for a while.
        for phone in self.phones():
            phone.do("sign_out")


class KitTest(unittest.IsolatedAsyncioTestCase):
    def config(self, **changes):
        return config(**{"server": server, **changes})

    async def kit(self, user):
        kit = await callkit.CallKit.sign_in(self.config(), user, Backend(server, user).token)
        self.addAsyncCleanup(kit.sign_out)
        return kit

    async def test_bad_input_is_told_apart(self):
        carol = await self.kit("carol")
        self.assertEqual(carol.user(), "carol")

        with self.assertRaises(callkit.CallError.NotInitialized) as caught:
            await carol.start_single_call("dave", callkit.CallType.AUDIO1V1)
        self.assertEqual((caught.exception.code(), caught.exception.kind()), (1, callkit.ErrorKind.RTC))
        await carol.init_rtc()
        for user, call_type in [("", "AUDIO1V1"), ("carol", "AUDIO1V1"), ("dave", "MULTI")]:
            with self.assertRaises(callkit.CallError.InvalidParam) as caught:
                await carol.start_single_call(user, callkit.CallType[call_type])
            self.assertEqual((caught.exception.code(), caught.exception.kind()), (100, callkit.ErrorKind.PROCESS))
        with self.assertRaises(callkit.CallError.InvalidParam) as caught:
            await carol.hangup("not a call id")
        self.assertIn("call_id", caught.exception.detail)
        with self.assertRaises(callkit.CallError.NoSuchCall):
            await carol.answer("0" * 32)
        await carol.sign_out()
        with self.assertRaises(callkit.CallError.SignedOut):
            await carol.mute()

    async def test_sign_in_says_why_not(self):
        token = Backend(server, "erin").token
        with self.assertRaises(callkit.SignInError.Refused) as caught:
            await callkit.CallKit.sign_in(self.config(), "erin", token[:-3] + "AAA")
        self.assertEqual(caught.exception.reason, callkit.RefuseReason.TOKEN_INVALID)
        with self.assertRaises(callkit.SignInError.Refused) as caught:
            await callkit.CallKit.sign_in(self.config(app_id="another"), "erin", token)
        self.assertEqual(caught.exception.reason, callkit.RefuseReason.APP_UNKNOWN)
        for config, named in [
            (self.config(server="http://"), "server"),
            (self.config(call_timeout_ms=1), "call_timeout"),
            (self.config(interfaces=callkit.Interfaces.ADDRESSES(["here"])), "interfaces"),
        ]:
            with self.assertRaises(callkit.SignInError.InvalidParam) as caught:
                await callkit.CallKit.sign_in(config, "erin", token)
            self.assertIn(named, caught.exception.detail)
        with self.assertRaises(callkit.SignInError.Unreachable):
            await callkit.CallKit.sign_in(self.config(server="http://127.0.0.1:1"), "erin", token)

    async def test_devices_and_levels(self):
        mallory = await self.kit("mallory")
        await mallory.check_microphone()
        self.assertIsInstance(callkit.input_devices() + callkit.output_devices(), list)
        levels = await mallory.audio_levels(10)
        self.assertEqual((await asyncio.wait_for(levels.next(), PATIENCE)).mic, 0.0)
        self.assertIsNone(await mallory.statistics("0" * 32))

    async def test_handlers_are_let_go_with_the_kit(self):
        held = {"handler": Tokens(None), "chat": Chat({}, "frank")}
        config = self.config(chat=held["chat"])
        kit = await callkit.CallKit.sign_in(config, "frank", Backend(server, "frank").token)
        kit.set_rtc_token_handler(held["handler"])
        gone = {name: threading.Event() for name in held}
        for name, thing in held.items():
            weakref.finalize(thing, gone[name].set)
        del config, held, thing
        gc.collect()
        self.assertFalse(any(event.is_set() for event in gone.values()), "the kit holds them")
        del kit
        gc.collect()
        for name, event in gone.items():
            self.assertTrue(await asyncio.to_thread(event.wait, PATIENCE), f"the {name} went with the kit")

    async def test_a_reader_that_gives_up_loses_nothing(self):
        grace, heidi = await self.kit("grace"), await self.kit("heidi")
        events = heidi.events()
        given_up = asyncio.ensure_future(events.next())
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        for kit in [grace, heidi]:
            await kit.init_rtc()
        call_id = await grace.start_single_call("heidi", callkit.CallType.AUDIO1V1)
        while not isinstance(event := await asyncio.wait_for(events.next(), PATIENCE), callkit.CallKitEvent.RECEIVE_CALL):
            self.assertIsInstance(event, callkit.CallKitEvent.CONNECTION_CHANGED)
        self.assertEqual(event.call_id, call_id)
        [call] = heidi.calls()
        self.assertEqual((call.id(), call.peer_user_id(), call.state()), (call_id, "grace", callkit.CallState.VERIFIED))
        self.assertIsNone(call.connected_at())
        self.assertIsNone(heidi.call("0" * 32))


class Person:
    """A kit in this process, and what it told that no assertion has asked for yet."""

    def __init__(self, kit):
        self.kit, self.events, self.waiting = kit, kit.events(), []

    @staticmethod
    async def sign_in(test, user, **config):
        tone = callkit.AudioInput.TONE(hz=440.0, amplitude=0.5)
        kit = await sign_in(server, user, **{"audio_input": tone, "level_interval_ms": 50, **config})
        test.addAsyncCleanup(kit.sign_out)
        return Person(kit)

    async def until(self, kind, **what):
        """The first event of this kind and these values that was not asked for before."""

        def fits(event):
            return isinstance(event, kind) and what.items() <= vars(event).items()

        while (found := next(filter(fits, self.waiting), None)) is None:
            try:
                event = await asyncio.wait_for(self.events.next(), PATIENCE)
            except asyncio.TimeoutError:
                raise AssertionError(f"{self.kit.user()} waited for {kind} {what}, not for {self.waiting}") from None
            self.waiting.append(event)
        self.waiting.remove(found)
        return found

    async def until_loud(self, loud):
        """Until the other one is heard, or is not."""
        deadline = time.monotonic() + PATIENCE
        while (quality := await self.kit.call_quality()) is None or (quality.output_level > 0) != loud:
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.kit.user()}: {quality}")
            await asyncio.sleep(0.02)

    async def call(self, other, rings=callkit.CallKitEvent.RECEIVE_CALL):
        """Calls, and is answered."""
        call_id = await self.kit.start_single_call(other.kit.user(), callkit.CallType.AUDIO1V1, {"topic": "tea"})
        ring = await other.until(rings, call_id=call_id)
        assert (ring.user, ring.call_type, ring.ext) == (self.kit.user(), callkit.CallType.AUDIO1V1, {"topic": "tea"}), ring
        await self.until(callkit.CallKitEvent.RINGING, call_id=call_id)
        await other.kit.answer(call_id)
        for person in [self, other]:
            await person.until(callkit.CallKitEvent.ANSWER, call_id=call_id)
        return call_id


class SeveralCallsTest(unittest.IsolatedAsyncioTestCase):
    async def test_a_call_on_hold_is_silent_and_both_are_told(self):
        ivan, judy = await Person.sign_in(self, "ivan"), await Person.sign_in(self, "judy")
        call_id = await ivan.kit.start_single_call("judy", callkit.CallType.AUDIO1V1)
        await judy.until(callkit.CallKitEvent.RECEIVE_CALL, call_id=call_id)
        with self.assertRaises(callkit.CallError.NotAnswered):
            await ivan.kit.hold(call_id)
        await ivan.kit.hangup(call_id)
        await judy.until(callkit.CallKitEvent.CALL_END, call_id=call_id, reason=callkit.EndReason.REMOTE_CANCEL)

        call_id = await ivan.call(judy)
        for change, held in [(ivan.kit.hold, True), (ivan.kit.unhold, False)]:
            await judy.until_loud(held)
            await change(call_id)
            await ivan.until(callkit.CallKitEvent.CALL_HELD, call_id=call_id, held=held)
            await judy.until(callkit.CallKitEvent.PEER_HELD, call_id=call_id, held=held)
            await judy.until_loud(not held)

    async def test_a_second_call_waits_and_answering_it_holds_the_first(self):
        config = {"second_call": callkit.SecondCall.WAITING, "warm_path": callkit.WarmPath.OFF}
        kim = await Person.sign_in(self, "kim", **config)
        lena, mike = await Person.sign_in(self, "lena"), await Person.sign_in(self, "mike")
        first = await lena.call(kim)
        second = await mike.call(kim, rings=callkit.CallKitEvent.CALL_WAITING)
        await kim.until(callkit.CallKitEvent.CALL_HELD, call_id=first, held=True)
        await lena.until(callkit.CallKitEvent.PEER_HELD, call_id=first, held=True)
        await mike.until_loud(True)
        await kim.kit.hangup(second)
        await mike.until(callkit.CallKitEvent.CALL_END, call_id=second, reason=callkit.EndReason.REMOTE_HANGUP)
        await kim.kit.unhold(first)
        await lena.until(callkit.CallKitEvent.PEER_HELD, call_id=first, held=False)
        await lena.until_loud(True)

    async def test_a_call_to_somebody_away_is_told_as_missed(self):
        Backend(server, "nora")
        olaf = await Person.sign_in(self, "olaf")
        call_id = await olaf.kit.start_single_call("nora", callkit.CallType.AUDIO1V1, {"topic": "tea"})
        await olaf.kit.hangup(call_id)
        await olaf.until(callkit.CallKitEvent.CALL_END, call_id=call_id)
        nora = await Person.sign_in(self, "nora")
        missed = await nora.until(callkit.CallKitEvent.CALL_MISSED, call_id=call_id)
        self.assertEqual((missed.user, missed.ext), ("olaf", {"topic": "tea"}))

    async def test_words_of_calls_go_through_a_chat_of_the_app(self):
        rooms = {}
        chats = [Chat(rooms, user) for user in ["peter", "quinn"]]
        peter, quinn = [await Person.sign_in(self, chat.user, chat=chat) for chat in chats]
        opened = metric(server, "callkit_calls_opened_total")
        call_id = await peter.call(quinn)
        await peter.until_loud(True)
        await quinn.until_loud(True)
        await quinn.kit.hangup(call_id)
        await peter.until(callkit.CallKitEvent.CALL_END, call_id=call_id, reason=callkit.EndReason.REMOTE_HANGUP)
        await peter.call(quinn)
        await peter.kit.sign_out()
        await quinn.until(callkit.CallKitEvent.CALL_END, reason=callkit.EndReason.REMOTE_HANGUP)
        self.assertEqual(metric(server, "callkit_calls_opened_total"), opened, "the server has heard of no call")
        self.assertTrue(all(chat.sent for chat in chats), "both have spoken through the chat")


class Ear:
    """The handler of one call, and what it was told, in order."""

    def __init__(self):
        self.loop, self.told = asyncio.get_running_loop(), asyncio.Queue()
        self.handler = CallListener(self.tell)

    def tell(self, name, **what):
        self.loop.call_soon_threadsafe(self.told.put_nowait, (name, what))

    async def until(self, name, **what):
        """Past everything else."""
        while (found := await asyncio.wait_for(self.told.get(), PATIENCE))[0] != name or not what.items() <= found[1].items():
            pass
        return found[1]


class OneCallTest(unittest.IsolatedAsyncioTestCase):
    """Calls without a kit, each with a handler of its own."""

    def manager(self, hz):
        return callkit.CallManager(config(server, audio_input=callkit.AudioInput.TONE(hz=hz, amplitude=0.5)))

    async def rings(self, caller, callee, **param):
        """A call that rings, from one who has an access token to one who has nothing but what a push brings."""
        token, here = Backend(server, caller).token, Ear()
        Backend(server, callee)
        param = callkit.MakeCallParam(
            my_user_id=caller,
            my_service_id=APP,
            peer_user_id=callee,
            peer_service_id=APP,
            access_token=token,
            options=callkit.CallOptions(enable_statistics=True, audio_description_interval_ms=100),
            **param,
        )
        made = await self.manager(400.0).make_call(param, here.handler)
        self.assertEqual(made.reason, callkit.StartFailReason.NONE)
        there = Ear()
        read = callkit.parse_cc_param(await pushed(callee, PATIENCE))
        self.assertEqual((read.peer, read.user, read.call_type), (caller, callee, callkit.CallType.AUDIO1V1))
        param = callkit.VerifyCallParam(my_user_id=callee, my_service_id=APP, cc_param=read.text)
        verified = await self.manager(700.0).verify_call(param, there.handler)
        self.assertEqual(verified.reason, callkit.StartFailReason.NONE)
        self.assertEqual((await there.until("on_verified"))["peer"], caller)
        self.assertEqual((await here.until("on_wait_connected"))["peer"], callee)
        return (made.call, here), (verified.call, there)

    async def test_a_call_by_cc_param_is_made_taken_held_muted_and_ended(self):
        (call, here), (taken, there) = await self.rings("rosa", "sven")
        self.assertEqual(call.id(), taken.id())
        self.assertEqual((call.state(), call.direction()), (callkit.CallState.WAIT_ANSWER, callkit.CallDirection.OUTGOING))
        call.set_my_media_status_handler(MyMedia(here.tell))
        await taken.accept(False)
        for ear in [here, there]:
            self.assertFalse((await ear.until("on_connected"))["in_preparation"])
        while (await here.until("on_peer_audio_description_updated"))["level"] == 0:
            pass
        figures = await call.statistics()
        self.assertEqual(figures.codec, "opus")
        stream = await call.statistics_stream(100)
        self.assertEqual((await asyncio.wait_for(stream.next(), PATIENCE)).codec, "opus")
        self.assertGreaterEqual(call.connected_at(), call.began_at())
        await call.mute_my_audio(True)
        await here.until("on_mic_mute")
        await there.until("on_peer_mic_muted")
        self.assertTrue(call.is_my_audio_muted() and taken.is_peer_audio_muted())
        await call.mute_my_audio(False)
        await there.until("on_peer_mic_unmuted")
        await taken.request_peer_mute(True)
        self.assertTrue((await here.until("on_my_audio_mute_requested_by_peer"))["muted"])
        await call.hold("the door bell")
        self.assertEqual((await there.until("on_peer_hold"))["reason"], "the door bell")
        await call.unhold()
        await there.until("on_peer_unhold")
        await taken.end()
        for ear, by_remote in [(here, True), (there, False)]:
            told = await ear.until("on_disconnected")
            self.assertEqual(told, dict(reason="NORMAL", source="CALLEE", by_remote=by_remote, user_code=None))

    async def test_a_prepared_call_and_an_end_with_a_code_of_the_app(self):
        (call, here), (taken, there) = await self.rings("tina", "ulf", use_responder_preparation=True)
        await taken.accept(True)
        self.assertEqual(await there.until("on_connected"), dict(in_preparation=True, should_finish=True))
        self.assertEqual(await here.until("on_connected"), dict(in_preparation=True, should_finish=False))
        await taken.finish_preparation()
        await here.until("on_preparation_finished")
        await call.end_with_error("no credit left")
        told = await there.until("on_disconnected")
        self.assertEqual((told["reason"], told["user_code"]), ("USER_ERROR", "no credit left"))

    async def test_what_cannot_start_says_why(self):
        ear = Ear()
        param = callkit.VerifyCallParam(my_user_id="rosa", my_service_id=APP, cc_param="nonsense")
        verified = await self.manager(400.0).verify_call(param, ear.handler)
        self.assertEqual((verified.reason, verified.call), (callkit.StartFailReason.DECODE_CALL_PARAM, None))
        self.assertIn("cc_param", verified.param_error)
        self.assertIsNone(callkit.parse_cc_param("nonsense"))


class HearingTest(unittest.TestCase):
    def test_another_sound_is_not_taken_for_speech(self):
        speech = hearing.read(SPEECH)[: 4 * hearing.RATE]
        late = [0.0] * 777 + [sample * 0.3 for sample in speech]
        self.assertGreater(hearing.similarity(speech, late), 0.99)
        self.assertLess(hearing.similarity(speech, late[::-1]), 0.5)
        self.assertEqual(hearing.similarity(speech, [0.0] * len(late)), 0.0)
        self.assertEqual(hearing.similarity(speech, []), 0.0)


class ExamplesTest(unittest.TestCase):
    """Two programs, as the documentation shows them."""

    def program(self, name, *words):
        run = subprocess.Popen(
            [sys.executable, str(EXAMPLES / name), server, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for close in [run.stdout.close, run.stderr.close, run.wait, run.kill]:
            self.addCleanup(close)
        return run

    def test_the_documented_programs_call_each_other_also_through_a_push(self):
        for words, ready, over in [([], "call", "REMOTE_HANGUP"), (["--push"], "push", "NORMAL")]:
            with self.subTest(words=words):
                answers = self.program("answer.py", *words)
                self.assertEqual(answers.stdout.readline(), f"bob waits for a {ready}\n")
                calls = self.program("call.py")
                said, why = calls.communicate(timeout=PATIENCE)
                self.assertEqual((calls.returncode, said.splitlines()), (0, ["it rings at bob", "they talk", "over"]), why)
                said, why = answers.communicate(timeout=PATIENCE)
                heard = ["alice calls", "they talk", "muted", "unmuted", f"over: {over}"]
                self.assertEqual(answers.returncode, 0, why)
                self.assertCountEqual(said.splitlines(), heard)


def until_sessions(test, count):
    deadline = time.monotonic() + PATIENCE
    while (now := metric(server, "callkit_sessions")) != count:
        test.assertLess(time.monotonic(), deadline, f"there are {now} sessions, not {count}")
        time.sleep(0.02)


if __name__ == "__main__":
    unittest.main()
