"""Addresses, statuses, and an address where nobody is."""

import socket
import time

import grpc
import pytest

from bionemo_ext import errors
from bionemo_ext.client import Client
from bionemo_ext.client.wire.address import Address, parse_addresses
from bionemo_ext.client.wire.failures import grpc_class, http_class


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("grpc://127.0.0.1:8001", "127.0.0.1:8001"),
        ("grpcs://esm2.example:443", "esm2.example:443"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("https://esm2.example:443/", "esm2.example:443"),
        ("grpc://esm2.example/", None),
        ("grpc://gpu-1.lab:65535/", "gpu-1.lab:65535"),
        ("grpc://[::1]:8001", "[::1]:8001"),
        ("grpc://[1.2.3.4]:8001", None),
        ("grpc://[:::1]:8001", None),
        ("grpc://host:0", None),
        ("grpc://host:65536", None),
        ("grpc://host:8001/v2", None),
        ("ftp://host:8000", None),
        ("host:8001", None),
        ("", None),
        ("grpc://a:1,", None),
    ],
)
def test_only_an_address_with_a_scheme_and_a_port_is_taken(url, target):
    if target is not None:
        assert Address.parse(url).target == target
        return
    with pytest.raises(errors.InputError, match=r"looks like grpc://127\.0\.0\.1:8001"):
        Client(url)


def test_several_addresses_each_once():
    expected = ["grpc://a:1", "grpcs://[::1]:2"]
    assert list(map(str, parse_addresses("grpc://a:1, grpcs://[::1]:2,grpc://a:1/"))) == expected
    assert list(map(str, parse_addresses(expected))) == expected
    with pytest.raises(errors.InputError, match="the address of a server is needed"):
        Client([])


STATUSES = {
    "OK": errors.ServerError,
    "CANCELLED": errors.ServerError,
    "UNKNOWN": errors.ServerError,
    "INVALID_ARGUMENT": errors.RequestError,
    "DEADLINE_EXCEEDED": errors.DeadlineError,
    "NOT_FOUND": errors.NotFoundError,
    "ALREADY_EXISTS": errors.RequestError,
    "PERMISSION_DENIED": errors.RequestError,
    "UNAUTHENTICATED": errors.RequestError,
    "RESOURCE_EXHAUSTED": errors.BusyError,
    "FAILED_PRECONDITION": errors.RequestError,
    "ABORTED": errors.ServerError,
    "UNIMPLEMENTED": errors.ServerError,
    "OUT_OF_RANGE": errors.RequestError,
    "INTERNAL": errors.ServerError,
    "UNAVAILABLE": errors.UnavailableError,
    "DATA_LOSS": errors.ServerError,
}


def test_every_status_has_one_class():
    assert {status.name: grpc_class(str(status)) for status in grpc.StatusCode} == STATUSES


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, errors.RequestError),
        (401, errors.RequestError),
        (403, errors.RequestError),
        (404, errors.NotFoundError),
        (408, errors.DeadlineError),
        (413, errors.RequestError),
        (429, errors.BusyError),
        (500, errors.ServerError),
        (502, errors.UnavailableError),
        (503, errors.UnavailableError),
        (504, errors.DeadlineError),
        (302, errors.ServerError),
    ],
)
def test_every_code_has_one_class(code, kind):
    assert http_class(code) is kind


def test_nobody_at_the_address():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        with Client(f"grpc://127.0.0.1:{taken.getsockname()[1]}") as client:
            assert not client.ready()
            began = time.monotonic()
            with pytest.raises(
                errors.UnavailableError, match=r"no answer from grpc://127.*refused"
            ):
                client.embed(["MKT"])
            assert time.monotonic() - began < 10  # and not the ten minutes of timeout_s
