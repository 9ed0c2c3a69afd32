"""The app's side in plain Python: a client of its backend, and the handlers and the listener that a kit is given."""

import asyncio
import json
import os
import re
import time
import unittest
import urllib.error
import urllib.request

import callkit

APP = "demo"
"""The app that `callkitd --dev` serves."""


class Backend:
    """One user's view of the reference app backend."""

    def __init__(self, server, user, password="a password"):
        self.server, self.user, self.token = server, user, ""
        who = {"user": user, "password": password}
        try:
            self.post("register", who)
        except urllib.error.HTTPError as refusal:
            if refusal.code != 409:
                raise
        self.token = self.post("access-token", who)["token"]

    def post(self, what, body):
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(f"{self.server}/dev/{what}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.load(response)


def metric(server, name):
    """A figure of the server."""
    with urllib.request.urlopen(f"{server}/metrics", timeout=20) as response:
        return int(float(re.search(rf"^{name} (\S+)", response.read().decode(), re.MULTILINE).group(1)))


async def pushed(user, patience):
    """The cc_param that the app's backend was told for this user."""
    backend = os.environ.get("CALLKIT_BACKEND")
    if backend is None:
        raise unittest.SkipTest("there is no backend that hears of calls; `cargo xtask test` brings one")
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        answer = await asyncio.to_thread(urllib.request.urlopen, f"{backend}/pushed/{user}", timeout=patience)
        with answer:
            if (push := json.load(answer)) is not None:
                return push["cc_param"]
        await asyncio.sleep(0.02)
    raise AssertionError(f"nobody pushed {user}")


class Tokens(callkit.RtcTokenHandler):
    """Fetches channel tokens from the app's backend."""

    def __init__(self, backend):
        self.backend = backend

    async def rtc_token(self, request):
        asked = {"channel": request.channel, "uid": request.uid or 0}
        reply = await asyncio.to_thread(self.backend.post, "rtc-token", asked)
        return callkit.RtcToken(token=reply["token"], uid=reply["uid"])


def config(server, **changes):
    """What a kit is made of that speaks with others on this machine, without a sound."""
    silent = {"audio_input": callkit.AudioInput.SILENCE(), "audio_output": callkit.AudioOutput.NULL()}
    here = {"app_id": APP, "server": server, "interfaces": callkit.Interfaces.LOOPBACK()}
    return callkit.CallKitConfig(**{**here, **silent, **changes})


async def sign_in(server, user, tokens=Tokens, **changes):
    """The kit of a user, which can make and take calls."""
    backend = Backend(server, user)
    kit = await callkit.CallKit.sign_in(config(server, **changes), user, backend.token)
    kit.set_rtc_token_handler(tokens(backend))
    await kit.init_rtc()
    return kit


class BrokenTokens(callkit.RtcTokenHandler):
    """Fails with an exception that the kit has never heard of."""

    async def rtc_token(self, request):
        raise ZeroDivisionError("the app has a bug")


class RefusedTokens(callkit.RtcTokenHandler):
    """Fails the documented way."""

    async def rtc_token(self, request):
        raise callkit.HandlerError.Failed("no credit left")


class Users(callkit.UserMapperHandler):
    """Asks the app's backend who is behind a uid."""

    def __init__(self, backend):
        self.backend = backend

    async def map_user(self, channel, uid):
        reply = await asyncio.to_thread(self.backend.post, "user-map", {"channel": channel, "uid": uid})
        return callkit.UserMapper(channel=channel, users={uid: reply["user"]})


class Chat(callkit.Chat):
    """One device in a chat of this process: `rooms` has the queues of each user's devices. What is sent comes twice, and to every one."""

    def __init__(self, rooms, user):
        self.rooms, self.user, self.inbox, self.sent = rooms, user, asyncio.Queue(), 0
        rooms.setdefault(user, []).append(self.inbox)

    async def send(self, to, device, message):
        self.sent += 1
        for inbox in self.rooms[to] * 2:
            inbox.put_nowait(callkit.ChatMessage(user=self.user, message=message))

    async def receive(self):
        return await self.inbox.get()


class CallListener(callkit.CallEventHandler):
    """The handler of one call: passes everything on as its name and a dictionary."""

    def __init__(self, tell):
        self.tell = tell

    def on_wait_connected(self, call):
        self.tell("on_wait_connected", peer=call.peer_user_id())

    def on_verified(self, call, peer_use_responder_preparation):
        self.tell("on_verified", peer=call.peer_user_id(), preparation=peer_use_responder_preparation)

    def on_connected(self, call, in_preparation, should_finish):
        self.tell("on_connected", in_preparation=in_preparation, should_finish=should_finish)

    def on_preparation_finished(self, call):
        self.tell("on_preparation_finished")

    def on_disconnected(self, call, reason, source, by_remote, user_code):
        self.tell("on_disconnected", reason=reason.name, source=source.name, by_remote=by_remote, user_code=user_code)

    def on_peer_mic_muted(self, call):
        self.tell("on_peer_mic_muted")

    def on_peer_mic_unmuted(self, call):
        self.tell("on_peer_mic_unmuted")

    def on_peer_hold(self, call, reason):
        self.tell("on_peer_hold", reason=reason)

    def on_peer_unhold(self, call):
        self.tell("on_peer_unhold")

    def on_my_audio_mute_requested_by_peer(self, call, muted):
        self.tell("on_my_audio_mute_requested_by_peer", muted=muted)

    def on_network_unavailable(self, call, is_peer, seconds_until_disconnect):
        self.tell("on_network_unavailable", is_peer=is_peer)

    def on_network_reavailable(self, call, is_peer):
        self.tell("on_network_reavailable", is_peer=is_peer)

    def on_peer_audio_description_updated(self, call, level):
        self.tell("on_peer_audio_description_updated", level=level)

    def on_microphone_failed(self, call, failure):
        self.tell("on_microphone_failed", failure=type(failure).__name__)

    def on_microphone_restored(self, call):
        self.tell("on_microphone_restored")

    def on_background_call_adopted(self, call):
        self.tell("on_background_call_adopted")

    def on_events_lost(self, call, count):
        self.tell("on_events_lost", count=count)


class MyMedia(callkit.MyMediaStatusHandler):
    """This side's own media."""

    def __init__(self, tell):
        self.tell = tell

    def on_mic_mute(self):
        self.tell("on_mic_mute")

    def on_mic_unmute(self):
        self.tell("on_mic_unmute")

    def on_audio_description_update(self, level):
        self.tell("on_audio_description_update", level=level)


class Listener(callkit.CallKitEventHandler):
    """Passes every event on as its name and a dictionary."""

    def __init__(self, tell):
        self.tell = tell

    def on_receive_call(self, user, call_id, call_type, ext):
        self.tell("receive_call", user=user, call_id=call_id, call_type=call_type.name, ext=ext)

    def on_call_waiting(self, user, call_id, call_type, ext):
        self.tell("call_waiting", user=user, call_id=call_id, call_type=call_type.name, ext=ext)

    def on_call_missed(self, user, call_id, call_type, ext):
        self.tell("call_missed", user=user, call_id=call_id, call_type=call_type.name, ext=ext)

    def on_call_merged(self, old, call_id, call_type):
        self.tell("call_merged", old=old, call_id=call_id, call_type=call_type.name)

    def on_call_held(self, call_id, held):
        self.tell("call_held", call_id=call_id, held=held)

    def on_peer_held(self, call_id, held):
        self.tell("peer_held", call_id=call_id, held=held)

    def on_ringing(self, call_id, user):
        self.tell("ringing", call_id=call_id, user=user)

    def on_answer(self, call_id):
        self.tell("answer", call_id=call_id)

    def on_joined_channel(self, call_id, channel):
        self.tell("joined_channel", call_id=call_id, channel=channel)

    def on_user_joined(self, call_id, uid, user):
        self.tell("user_joined", call_id=call_id, uid=uid, user=user)

    def on_user_left(self, call_id, uid, user):
        self.tell("user_left", call_id=call_id, uid=uid, user=user)

    def on_user_mute_audio(self, call_id, uid, muted):
        self.tell("user_mute_audio", call_id=call_id, uid=uid, muted=muted)

    def on_user_mute_video(self, call_id, uid, muted):
        self.tell("user_mute_video", call_id=call_id, uid=uid, muted=muted)

    def on_user_removed(self, call_id, user, reason):
        self.tell("user_removed", call_id=call_id, user=user, reason=reason.name)

    def on_first_audio(self, call_id, uid):
        self.tell("first_audio", call_id=call_id, uid=uid)

    def on_peer_reachable(self, call_id, reachable, ends_in_ms):
        self.tell("peer_reachable", call_id=call_id, reachable=reachable, ends_in_ms=ends_in_ms)

    def on_network_available(self, call_id, available, ends_in_ms):
        self.tell("network_available", call_id=call_id, available=available, ends_in_ms=ends_in_ms)

    def on_microphone_failed(self, call_id, failure):
        self.tell("microphone_failed", call_id=call_id, failure=type(failure).__name__)

    def on_microphone_restored(self, call_id):
        self.tell("microphone_restored", call_id=call_id)

    def on_call_end(self, call_id, reason, user_code):
        self.tell("call_end", call_id=call_id, reason=reason.name, user_code=user_code)

    def on_error(self, call_id, error):
        self.tell("error", call_id=call_id, code=error.code(), kind=error.kind().name, text=error.text())

    def on_access_token_expiring(self, left_ms):
        self.tell("access_token_expiring", left_ms=left_ms)

    def on_connection_changed(self, state):
        self.tell("connection_changed", state=str(state))

    def on_events_lost(self, count):
        self.tell("events_lost", count=count)
