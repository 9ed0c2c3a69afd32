"""Voice and video calls for any app, on the developer's own server.

The generated module, and what it cannot know of Python: on which event loop handlers run (the one that signed in last), and that
no thread of the kit may call into an interpreter that is ending.
"""

import asyncio
import atexit
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
    return kit


_generated.CallKit.sign_in = classmethod(_sign_in_here)


@atexit.register
def _fall_silent(patience_s=1.0):
    """Waits for the callbacks that run at this moment; Python aborts when one is still running later."""
    for kit in list(_kits):
        kit.clear_event_listeners()
    end = time.monotonic() + patience_s
    while _foreign_threads() and time.monotonic() < end:
        time.sleep(0.001)


def _foreign_threads():
    """The threads that are in Python but were not started by it: they have a frame only for as long as a callback lasts."""
    return sys._current_frames().keys() - {thread.ident for thread in threading.enumerate()}
