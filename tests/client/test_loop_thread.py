"""The loop thread when Ctrl-C comes, at any moment of a call."""

import asyncio
import contextlib
import dis
import signal
import sys
import threading
import warnings
from itertools import count

import pytest

from bionemo_ext.client import loop_thread, truncation
from bionemo_ext.client.loop_thread import LoopThread

CALLS = {dis.opmap[name] for name in ("CALL", "CALL_FUNCTION_EX")}
FILES = {
    module.__file__
    for module in (loop_thread, truncation, contextlib, asyncio.base_events, asyncio.tasks)
}


class Calls:
    """Coroutine functions, and how many of their calls are under way."""

    def __init__(self):
        self.under_way = 0

    async def answer(self, number):
        self.under_way += 1
        try:
            await asyncio.sleep(0.001)
            return number
        finally:
            self.under_way -= 1

    async def last(self):
        """Nothing is left when the thread ends."""


def interrupted(moment):
    """A trace function that raises where Python looks for signals in the files, counted from 0.

    It does so where a function begins and after a call; not between a lock and what it guards.
    """
    left, ran = count(), {}

    def trace(frame, event, _):
        if frame.f_code.co_filename not in FILES:
            return None
        frame.f_trace_opcodes = True
        looks = event == "call" or (event == "opcode" and ran.get(frame) in CALLS)
        if event == "opcode":
            ran[frame] = frame.f_code.co_code[frame.f_lasti]
        if looks and next(left) == moment:
            raise KeyboardInterrupt
        return trace

    return trace


def test_ctrl_c_at_any_moment_leaves_nothing_behind():
    told, came = [], 0
    for moment in count():
        thread, calls = LoopThread(), Calls()
        assert thread.run(calls.answer, 0) == 0
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            before = sys.gettrace()
            sys.settrace(interrupted(moment))
            try:
                answer = thread.run(calls.answer, 1)
            except KeyboardInterrupt:
                answer = None
                came += 1
            finally:
                sys.settrace(before)
            assert thread.run(calls.answer, 2) == 2
            thread.close(calls.last)
        told += [str(one.message) for one in caught if one.category is RuntimeWarning]
        assert calls.under_way == 0
        if answer is not None:
            break
    assert answer == 1
    assert came == moment > 20
    assert told == []


def test_what_is_broken_off_is_cancelled():
    thread, calls = LoopThread(), Calls()
    ended = threading.Event()

    async def slow():
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    with pytest.raises(KeyboardInterrupt):
        thread.run(slow)
    assert ended.wait(10)
    assert thread.run(calls.answer, 1) == 1
    thread.close(calls.last)


def test_a_stream_may_be_given_up_in_the_middle_of_a_call():
    """As the garbage collector does it, in whatever thread it runs."""
    thread, calls = LoopThread(), Calls()
    assert thread.run(calls.answer, 0) == 0
    gave_up, answers = [], []

    def trace(frame, *_):
        if frame.f_code.co_name == "call_soon_threadsafe" and not gave_up:
            gave_up.append(True)
            thread.start(calls.last)

    def ask():
        sys.settrace(trace)
        answers.append(thread.run(calls.answer, 1))

    caller = threading.Thread(target=ask, daemon=True)
    caller.start()
    caller.join(10)
    assert (gave_up, answers) == ([True], [1])
    thread.close(calls.last)
