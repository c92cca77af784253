"""The blocking client and the one for asyncio have the same methods, word for word."""

import inspect
import typing

import pytest

from bionemo_ext.client import AsyncClient, Client


def public(kind):
    return {
        name: method
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


def blocking(annotation):
    return str(annotation).replace("AsyncIterator", "Iterator")


# ``open`` and ``plan`` are what the blocking client builds its streams from.
NAMES = sorted(set(public(AsyncClient)) - {"open", "plan"})


def test_names_are_the_same():
    assert sorted(public(Client)) == NAMES
    assert {"embed", "predict", "logits", "contacts", "scan", "score", "fold"} < set(NAMES)


@pytest.mark.parametrize("name", ["__init__", *NAMES])
def test_signatures_are_the_same(name):
    ours = inspect.signature(getattr(Client, name))
    theirs = inspect.signature(getattr(AsyncClient, name))
    assert ours.parameters == theirs.parameters
    assert blocking(ours.return_annotation) == blocking(theirs.return_annotation)
    assert inspect.iscoroutinefunction(getattr(AsyncClient, name)) == (
        not inspect.isasyncgenfunction(getattr(AsyncClient, name)) and name != "__init__"
    )


@pytest.mark.parametrize("name", ["embed", "predict", "score"])
def test_overloads_are_the_same(name):
    ours, theirs = (typing.get_overloads(getattr(kind, name)) for kind in (Client, AsyncClient))
    assert len(ours) == 2
    assert list(map(inspect.signature, ours)) == list(map(inspect.signature, theirs))


@pytest.mark.parametrize("name", NAMES)
def test_every_method_is_explained(name):
    assert getattr(Client, name).__doc__
    assert getattr(AsyncClient, name).__doc__ == f"As :meth:`Client.{name}`."
