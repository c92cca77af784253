"""How long to wait before the next attempt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bionemo_ext.client import Client, Retry
from bionemo_ext.errors import InputError


@given(st.floats(0.001, 10), st.floats(1, 100), st.floats(0, 0.99), st.integers(1, 10_000))
def test_waits_double_up_to_the_longest(first_s, factor, jitter, failed):
    retry = Retry(first_s=first_s, most_s=first_s * factor, jitter=jitter)
    expected = min(first_s * 2.0 ** min(failed - 1, 100), first_s * factor)
    assert expected * (1 - jitter) <= retry.wait_s(failed) * (1 + 1e-9)
    assert retry.wait_s(failed) <= expected * (1 + jitter) * (1 + 1e-9)


def test_attempts():
    assert [Retry(attempts=3).may(made) for made in range(5)] == [True, True, True, False, False]
    assert Retry().may(10**6)
    assert not Retry.NONE.may(1)


@pytest.mark.parametrize(
    "words",
    [{"attempts": 0}, {"first_s": 0}, {"first_s": 9}, {"jitter": 1}, {"jitter": -0.1}],
)
def test_values_out_of_range(words):
    with pytest.raises(InputError, match=r"must be at least|must be above 0"):
        Retry(**words)


@pytest.mark.parametrize("words", [{"timeout_s": 0}, {"in_flight": 0}])
def test_a_client_refuses_them_too(words):
    (name,) = words
    with pytest.raises(InputError, match=f"{name} must be"):
        Client("grpc://127.0.0.1:1", **words)
