"""The queue before the encoder: in order, bounded, cut by tokens, and never stuck."""

import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from bionemo_ext.serving.waiting import WaitingRoom


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 60))
def test_all_are_taken_in_order_and_few_at_a_time(sizes, max_tokens):
    room = WaitingRoom(len(sizes), max_tokens)
    for number, tokens in enumerate(sizes):
        assert room.put(number, tokens, 60)
    room.close()
    seen = []
    while (taken := room.take()) is not None:
        ready, late = taken
        assert ready
        assert not late
        assert len(ready) == 1 or sum(sizes[number] for number in ready) <= max_tokens
        following = ready[-1] + 1  # it did not fit any more
        if following < len(sizes):
            assert sum(sizes[number] for number in ready) + sizes[following] > max_tokens
        seen += ready
    assert seen == list(range(len(sizes)))


def test_a_full_room_takes_no_more_until_some_are_taken():
    room = WaitingRoom(2, 100)
    assert [room.put(number, 1, 60) for number in range(3)] == [True, True, False]
    assert room.take() == ([0, 1], [])
    assert room.put(3, 1, 60)
    assert room.counts["refused_requests"] == 1


def test_who_waited_too_long_is_told_apart():
    room = WaitingRoom(5, 100)
    room.put("late", 90, 0.01)
    room.put("patient", 90, 60)
    time.sleep(0.05)
    assert len(room) == 2
    assert room.take() == (["patient"], ["late"])
    assert room.counts.pop("queue_us") >= 2 * 50_000
    assert room.counts == {"queued_requests": 2, "refused_requests": 1}
    assert len(room) == 0


def test_what_many_threads_put_is_taken_once_and_at_once():
    room = WaitingRoom(1000, 64)
    taken, waits = [], []

    def work():
        while (found := room.take()) is not None:
            for number, put_at in found[0]:
                taken.append(number)
                waits.append(time.monotonic() - put_at)

    def put(first):
        for number in range(first, first + 200):
            assert room.put((number, time.monotonic()), 8, 60)
            time.sleep(0.001)

    worker = threading.Thread(target=work)
    worker.start()
    threads = [threading.Thread(target=put, args=(first,)) for first in range(0, 800, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    room.close()
    worker.join(10)
    assert not worker.is_alive()
    assert sorted(taken) == list(range(800))
    assert sorted(waits)[len(waits) // 2] < 0.1
