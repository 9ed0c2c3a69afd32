"""Voice and video calls for any app, on the developer's own server.

The generated module, and what it cannot know of Python:

- handlers and chats run on the event loop on which they were given to a kit; each thread may have a loop of its own, and loops come and go;
- streams are iterated with `async for`, and `async with` signs a kit out and ends a call;
- a listener does nothing about an event whose method it lacks;
- a process that was forked from one which used the kit has none of its threads: what it calls raises RuntimeError;
- no thread of the kit may call into an interpreter that is ending.
"""

import asyncio
import atexit
import contextlib
import functools
import os
import sys
import threading
import time
import traceback
import weakref

from . import callkit as _generated
from .callkit import *  # noqa: F403
from .callkit import __all__  # noqa: F401

# --- Event loops ---

_here = threading.local()
"""Of each thread: `loop`, where the handler runs that is about to be called; `of_kit`, where the kit signed in that is given a handler."""


class _OnLoops(_generated._UniffiHandleMap):
    """What the kit holds of the app's handlers, each with the loop on which it was given to the kit."""

    def insert(self, handler):
        return super().insert((handler, _running_loop() or getattr(_here, "of_kit", None)))

    def get(self, handle):
        handler, _here.loop = super().get(handle)
        return handler

    def remove(self, handle):
        return super().remove(handle)[0]


def _running_loop():
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _call_on_loop(make_call, let_go, succeed, fail, error_type, lower_error):
    """Calls a handler's async method where the handler belongs."""
    asked, loop = _Asked(make_call, succeed, fail, error_type, lower_error), _here.loop
    if loop is None:
        return asked.fail_with("this handler was set where no event loop ran, and its kit did not sign in on one")
    with contextlib.suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(asked.begin, loop)
    handle = _asked.insert((loop, weakref.ref(asked)))
    let_go[0] = _generated._UniffiForeignFutureDroppedCallbackStruct(handle, _cancel)


class _Asked:
    """A call of a handler's method. The kit is told exactly once what came of it, even where the loop ends before the method does or begins."""

    def __init__(self, make_call, succeed, fail, error_type, lower_error):
        self.make_call, self.succeed, self.fail = make_call, succeed, fail
        self.error_type, self.lower_error = error_type, lower_error
        self.task, self.is_told = None, False

    def begin(self, loop):
        self.task = loop.create_task(self.answer())
        _answering.add(self.task)
        self.task.add_done_callback(self.end)

    def end(self, task):
        _answering.discard(task)
        self.task = None
        self.__del__()

    async def answer(self):
        try:
            try:
                answer = await self.make_call()
            except self.error_type as error:
                self.tell(self.fail, _generated._UniffiRustCallStatus.CALL_ERROR, self.lower_error(error))
            else:
                self.tell(self.succeed, answer)
        except Exception as error:
            traceback.print_exception(type(error), error, error.__traceback__)
            self.fail_with(repr(error))

    def tell(self, how, *what):
        if not self.is_told:
            how(*what)
            self.is_told = True

    def fail_with(self, why):
        unexpected = _generated._UniffiRustCallStatus.CALL_UNEXPECTED_ERROR
        self.tell(self.fail, unexpected, _generated._UniffiFfiConverterString.lower(why))

    def __del__(self):
        if not _is_forked and not _is_ending:
            self.fail_with("the event loop on which this handler was set has ended, or the kit waits no longer")


_asked = _generated._UniffiHandleMap()
_answering = set()
"""The tasks of handlers: a loop itself does not hold its tasks."""


@_generated._UNIFFI_FOREIGN_FUTURE_DROPPED_CALLBACK
def _cancel(handle):
    """The kit waits no longer for a handler."""
    loop, asked = _asked.remove(handle)

    def cancel():
        if (still := asked()) is not None and still.task is not None:
            still.task.cancel()

    with contextlib.suppress(RuntimeError):  # the loop is closed, and its tasks are over
        loop.call_soon_threadsafe(cancel)


@_generated._UNIFFI_RUST_FUTURE_CONTINUATION_CALLBACK
def _wake(handle, code):
    """A call into the kit is to be polled again, or is ready."""
    loop, future = _generated._UniffiContinuationHandleMap.remove(handle)
    with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
        loop.call_soon_threadsafe(_generated._uniffi_set_future_result, future, code)


async def _wait_for_kit(call, poll, complete, free, lift, error):
    """Polls a call into the kit until it is ready, on the loop that runs."""
    global _is_used
    _refuse_in_fork()
    _is_used = True
    loop = asyncio.get_running_loop()
    try:
        code = None
        while code != _generated._UNIFFI_RUST_FUTURE_POLL_READY:
            future = loop.create_future()
            poll(call, _wake, _generated._UniffiContinuationHandleMap.insert((loop, future)))
            code = await future
        return lift(_generated._uniffi_rust_call_with_error(error, complete, call))
    finally:
        if not _is_forked:
            free(call)


def _on_loop_of_kit(set_handler):
    """A handler that is set where no loop runs belongs where its kit signed in."""

    @functools.wraps(set_handler)
    def set_here(self, handler):
        _here.of_kit = getattr(self, "_loop", None)
        try:
            set_handler(self, handler)
        finally:
            _here.of_kit = None

    return set_here


def _remembering_loop(sign_in):
    @functools.wraps(sign_in)
    async def signed_in(*args, **named):
        _refuse_in_fork()
        kit = await sign_in(*args, **named)
        kit._loop = asyncio.get_running_loop()
        return kit

    return classmethod(signed_in)


_generated._uniffi_rust_call_async = _wait_for_kit
_generated._uniffi_trait_interface_call_async_with_error = _call_on_loop
for _trait in ["RtcTokenHandler", "AccessTokenHandler", "UserMapperHandler", "Chat"]:
    getattr(_generated, f"_UniffiFfiConverterType{_trait}")._handle_map = _OnLoops()
for _name in ["set_rtc_token_handler", "set_access_token_handler", "set_user_mapper_handler"]:
    setattr(_generated.CallKit, _name, _on_loop_of_kit(getattr(_generated.CallKit, _name)))
_generated.CallKit.sign_in = _remembering_loop(_generated.CallKit.sign_in.__func__)


# --- Iteration, contexts and listeners ---


async def _next(self):
    if (one := await self.next()) is None:
        raise StopAsyncIteration
    return one


async def _enter(self):
    return self


async def _sign_out(self, *_):
    await self.sign_out()


async def _end(self, *_):
    with contextlib.suppress(_generated.CallError.NoSuchCall, _generated.CallError.SignedOut):  # it is over already
        await self.end()


for _class in [_generated.EventStream, _generated.StatisticsStream, _generated.AudioLevelStream]:
    _class.__aiter__ = lambda self: self
    _class.__anext__ = _next
for _class, _leave in [(_generated.CallKit, _sign_out), (_generated.Call, _end)]:
    _class.__aenter__, _class.__aexit__ = _enter, _leave

for _class in [_generated.CallKitEventHandler, _generated.CallEventHandler, _generated.MyMediaStatusHandler]:
    for _name in [name for name in vars(_class) if name.startswith("on_")]:
        setattr(_class, _name, lambda self, *_: None)


# --- Forked processes ---

_is_used = False
"""Whether the kit has threads in this process."""
_is_forked = False
"""Whether they are those of a parent, of which none is here."""

_rust_call = _generated._uniffi_rust_call


def _rust_call_outside_forks(call, *args):
    """Every use of an object begins with a clone of its handle, and every object ends with its release."""
    if _is_forked and "_fn_clone_" in call.__name__:
        _refuse_in_fork()
    if _is_forked and "_fn_free_" in call.__name__:
        return None
    return _rust_call(call, *args)


def _refuse_in_fork():
    if _is_forked:
        raise RuntimeError("this process was forked from one that used callkit and has none of its threads; start it anew ('spawn')")


def _after_fork():
    global _is_forked
    _is_forked = _is_used
    if _is_forked:
        atexit.unregister(_fall_silent)


_generated._uniffi_rust_call = _rust_call_outside_forks
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# --- The end of the interpreter ---

_is_ending = False
"""Whether nothing is to be said any more that wakes a thread of the kit."""
_living = weakref.WeakSet()
"""Kits and calls: what has threads of its own."""


def _noting(made):
    """Remembers whatever is made."""

    @functools.wraps(made)
    def noted(cls, handle):
        one = made(cls, handle)
        _living.add(one)
        atexit.unregister(_fall_silent)  # registered once
        atexit.register(_fall_silent)
        return one

    return classmethod(noted)


def _releasing_once(release):
    """Two threads may come to it at once: the one that drops the last reference, and the one that ends the interpreter."""

    def released(self):
        if (handle := self.__dict__.pop("_handle", None)) is not None:
            _generated._uniffi_rust_call(release, handle)

    return released


for _class in [_generated.CallKit, _generated.Call, _generated.BackgroundCall]:
    _class._uniffi_make_instance = _noting(_class._uniffi_make_instance.__func__)
    _class.__del__ = _releasing_once(getattr(_generated._UniffiLib, f"uniffi_callkit_ffi_fn_free_{_class.__name__.lower()}"))


def _fall_silent(silence_s=0.05, patience_s=1.0):
    """Lets go of the kits and calls, and waits until no callback runs: Python aborts when a thread that is none of its own comes in after its end.

    A thread that waits to come in cannot be seen, but it does come in while this one sleeps.
    """
    global _is_ending
    _is_ending = True
    for one in list(_living):
        one.__del__()
    now = time.monotonic()
    end, silent_since = now + patience_s, now
    while now < end and now < silent_since + silence_s:
        time.sleep(0.005)
        now = time.monotonic()
        if _foreign_threads():
            silent_since = now


def _foreign_threads():
    """The threads that are in Python but were not started by it: they have a frame only for as long as a callback lasts."""
    return sys._current_frames().keys() - {thread.ident for thread in threading.enumerate()}
