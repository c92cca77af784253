"""Addresses and statuses."""

import grpc
import pytest

from bionemo_ext import errors
from bionemo_ext.client import Client
from bionemo_ext.client.connection import error_class, parse_url


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("grpc://127.0.0.1:8001", "127.0.0.1:8001"),
        ("grpc://esm2.example/", None),
        ("grpc://gpu-1.lab:65535/", "gpu-1.lab:65535"),
        ("grpc://[::1]:8001", "[::1]:8001"),
        ("grpc://host:0", None),
        ("grpc://host:65536", None),
        ("grpc://host:8001/v2", None),
        ("http://host:8000", None),
        ("host:8001", None),
        ("", None),
    ],
)
def test_only_a_grpc_address_with_a_port_is_taken(url, address):
    if address is not None:
        assert parse_url(url) == address
        return
    with pytest.raises(errors.InputError, match=r"looks like grpc://127\.0\.0\.1:8001"):
        Client(url)


@pytest.mark.parametrize("status", list(grpc.StatusCode), ids=lambda status: status.name)
def test_every_status_has_one_class(status):
    found = error_class(str(status))
    assert issubclass(found, errors.BionemoExtError)
    expected = {
        "NOT_FOUND": errors.NotFoundError,
        "INVALID_ARGUMENT": errors.RequestError,
        "UNAVAILABLE": errors.UnavailableError,
        "DEADLINE_EXCEEDED": errors.DeadlineError,
        "INTERNAL": errors.ServerError,
        "UNKNOWN": errors.ServerError,
    }
    assert found is expected.get(status.name, found)


def test_nobody_at_the_address():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        with Client(f"grpc://127.0.0.1:{taken.getsockname()[1]}") as client:
            assert not client.ready()
            with pytest.raises(errors.UnavailableError, match=r"no answer from grpc://127"):
                client.embed(["MKT"])
