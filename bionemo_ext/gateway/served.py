"""Which models the server has, under the names that they have in paths."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bionemo_ext.client import AsyncClient
from bionemo_ext.contract import CONTACTS, RESIDUES, Endpoint, TaskInfo, embed_name
from bionemo_ext.errors import InputError, NotFoundError, UnavailableError
from bionemo_ext.gateway.settings import Connect
from bionemo_ext.sequences import ESM1NV, ESM2, Alphabet

_ALPHABETS = {alphabet.name: alphabet for alphabet in (ESM2, ESM1NV)}
# How old an answer about the server's models may be.
_FRESH_S = 10.0


@dataclass(frozen=True)
class ServedModel:
    """A model as callers see it.

    Parameters
    ----------
    route : str
        Its name in paths, for example ``esm2-650m``.
    name : str
        Its name at the server, for example ``esm2_650m``.
    encoder : Endpoint
        The endpoint that holds its encoder.
    tasks : tuple of TaskInfo
        What it predicts.
    contacts, mutation_effects : bool
        Whether it has contact maps and mutation scans.
    """

    route: str
    name: str
    encoder: Endpoint
    tasks: tuple[TaskInfo, ...]
    contacts: bool
    mutation_effects: bool

    @property
    def max_residues(self) -> int:
        """Residues that a sequence may have."""
        return self.encoder.max_residues

    @property
    def alphabet(self) -> Alphabet:
        """The letters and tokens that it knows."""
        return _ALPHABETS[self.encoder.parameters["alphabet"]]

    @property
    def hidden_size(self) -> int:
        """H, numbers in an embedding."""
        return self.encoder.output(RESIDUES).dims[-1]


def served_models(
    endpoints: Mapping[str, Endpoint], aliases: Mapping[str, str]
) -> dict[str, ServedModel]:
    """Find the models among a server's endpoints.

    Parameters
    ----------
    endpoints : mapping of str to Endpoint
        What the server has.
    aliases : mapping of str to str
        Further routes, and the names of the models that they lead to.

    Returns
    -------
    dict of str to ServedModel
        By route: the model's name with ``-`` for ``_``, and the aliases of models that are there.
    """
    names = sorted(
        about.parameters["model"] for about in endpoints.values() if "model" in about.parameters
    )
    routes = {name.replace("_", "-"): name for name in names}
    routes |= {route: name for route, name in aliases.items() if name in names}
    return {route: _served(route, name, endpoints) for route, name in routes.items()}


def _served(route: str, name: str, endpoints: Mapping[str, Endpoint]) -> ServedModel:
    host = embed_name(name)
    tasks = [e.task for e in endpoints.values() if e.task is not None and e.host == host]
    return ServedModel(
        route,
        name,
        endpoints[host],
        tuple(tasks),
        f"{name}_{CONTACTS}" in endpoints,
        f"{name}_mutation_effect" in endpoints,
    )


class Directory:
    """The server's models, asked anew every few seconds, and a client for each of them.

    Parameters
    ----------
    connect : callable
        Makes the client of a model.
    aliases : mapping of str to str
        As for :func:`served_models`.
    """

    def __init__(self, connect: Connect, aliases: Mapping[str, str]) -> None:
        self._connect = connect
        self._aliases = aliases
        # At once, so that an address of another form is told at the start.
        self._clients: dict[str | None, AsyncClient] = {None: connect(None)}
        self._known: dict[str, ServedModel] = {}
        self._asked = float("-inf")
        self._asking = asyncio.Lock()

    def client(self, name: str | None = None) -> AsyncClient:
        """Give the client of the server's model ``name``."""
        if name not in self._clients:
            self._clients[name] = self._connect(name)
        return self._clients[name]

    async def close(self) -> None:
        """Close every client."""
        for client in self._clients.values():
            await client.close()

    async def ready(self) -> bool:
        """Whether the server is ready and has a model."""
        return await self.client().ready() and bool(await self.models())

    async def models(self) -> Mapping[str, ServedModel]:
        """Give the models by route; those last seen while the server does not answer.

        Raises
        ------
        UnavailableError
            If it never answered.
        """
        async with self._asking:
            if time.monotonic() - self._asked > _FRESH_S:
                try:
                    endpoints = await self.client().models()
                except UnavailableError:
                    if not self._known:
                        raise
                else:
                    self._known = served_models(endpoints, self._aliases)
                self._asked = time.monotonic()
        return self._known

    async def model(self, route: str | None) -> ServedModel:
        """Find a model by its route; the first where nobody says which.

        Raises
        ------
        NotFoundError
            If there is none of that name.
        UnavailableError
            If the server never answered.
        """
        models = await self.models()
        if route is None and models:
            return next(iter(models.values()))
        if route not in models:
            raise NotFoundError(
                f"there is no model {route!r}; the models are: {', '.join(models) or 'none'}"
            )
        return models[route]


def check_length(sequences: Iterable[str], model: ServedModel) -> None:
    """Refuse sequences that are longer than the model takes.

    Raises
    ------
    InputError
        Names the first of them by position.
    """
    for position, sequence in enumerate(sequences, 1):
        if len(sequence) > model.max_residues:
            raise InputError(
                f"sequence {position} has {len(sequence):,} residues, the limit of "
                f"{model.route} is {model.max_residues:,}"
            )
