"""Voice and video calls for any app, on the developer's own server.

The generated module, and what it cannot know of Python: on which event loop handlers run (the one where a kit signed in, or a manager
began a call, last), that another thread wakes a loop when it cancels a handler, and that no thread of the kit may call into an
interpreter that is ending.
"""

import asyncio
import atexit
import contextlib
import functools
import sys
import threading
import time
import weakref

from . import callkit as _generated
from .callkit import *  # noqa: F403
from .callkit import __all__  # noqa: F401

_living = weakref.WeakSet()
"""Kits and calls: what has threads of its own."""


def _on_this_loop(start):
    """Handlers of what is started here run where it was started."""

    @functools.wraps(start)
    async def here(*args, **named):
        _generated.uniffi_set_event_loop(asyncio.get_running_loop())
        return await start(*args, **named)

    return here


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


_generated.CallKit.sign_in = classmethod(_on_this_loop(_generated.CallKit.sign_in.__func__))
for _name in ["make_call", "verify_call", "verify_background_call", "adopt_background_call"]:
    setattr(_generated.CallManager, _name, _on_this_loop(getattr(_generated.CallManager, _name)))
for _class in [_generated.CallKit, _generated.Call, _generated.BackgroundCall]:
    _class._uniffi_make_instance = _noting(_class._uniffi_make_instance.__func__)


@_generated._UNIFFI_FOREIGN_FUTURE_DROPPED_CALLBACK
def _cancel(handle):
    """The kit waits no longer for a handler."""
    loop, task = _generated._UNIFFI_FOREIGN_FUTURE_HANDLE_MAP.remove(handle)
    with contextlib.suppress(RuntimeError):  # the loop is closed, and its tasks are over
        loop.call_soon_threadsafe(task.cancel)


_generated._uniffi_future_dropped_callback = _cancel


def _fall_silent(silence_s=0.05, patience_s=1.0):
    """Lets go of the kits and calls, and waits until no callback runs: Python aborts when a thread that is none of its own comes in after its end.

    A thread that waits to come in cannot be seen, but it does come in while this one sleeps.
    """
    for one in list(_living):
        one.__del__()
        one._handle = None
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
