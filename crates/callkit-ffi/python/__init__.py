"""Voice and video calls for any app, on the developer's own server.

The generated module, and what it cannot know of Python: on which event loop handlers run (the one that signed in last), that another
thread wakes a loop when it cancels a handler, and that no thread of the kit may call into an interpreter that is ending.
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

_kits = weakref.WeakSet()
_sign_in = _generated.CallKit.sign_in.__func__


@functools.wraps(_sign_in)
async def _sign_in_here(cls, config, user, access_token):
    _generated.uniffi_set_event_loop(asyncio.get_running_loop())
    kit = await _sign_in(cls, config, user, access_token)
    _kits.add(kit)
    atexit.unregister(_fall_silent)  # registered once
    atexit.register(_fall_silent)
    return kit


_generated.CallKit.sign_in = classmethod(_sign_in_here)


@_generated._UNIFFI_FOREIGN_FUTURE_DROPPED_CALLBACK
def _cancel(handle):
    """The kit waits no longer for a handler."""
    loop, task = _generated._UNIFFI_FOREIGN_FUTURE_HANDLE_MAP.remove(handle)
    with contextlib.suppress(RuntimeError):  # the loop is closed, and its tasks are over
        loop.call_soon_threadsafe(task.cancel)


_generated._uniffi_future_dropped_callback = _cancel


def _fall_silent(silence_s=0.05, patience_s=1.0):
    """Lets go of the kits, and waits until no callback runs: Python aborts when a thread that is none of its own comes in after its end.

    A thread that waits to come in cannot be seen, but it does come in while this one sleeps.
    """
    for kit in list(_kits):
        kit.__del__()
        kit._handle = None
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
