"""The client for asyncio; :class:`bionemo_ext.client.Client` is the same, blocking."""

from collections.abc import Collection, Sequence
from typing import Literal, cast, overload

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.client.async_session import AsyncSession, results_of
from bionemo_ext.client.results import Prediction, Structure
from bionemo_ext.client.streaming.inputs import Inputs
from bionemo_ext.client.streaming.stream import Progress, Sequences
from bionemo_ext.client.streaming.variants import shares
from bionemo_ext.client.truncation import warn_truncated
from bionemo_ext.contract import (
    CONTACTS,
    FOLD,
    LAYER,
    LOGITS,
    METHOD,
    MUTANTS,
    PAE,
    PDB,
    PLDDT,
    POOLINGS,
    PTM,
    RESIDUES,
    SCAN,
    SCORE,
)
from bionemo_ext.errors import InputError
from bionemo_ext.sequences import Record, SequencePolicy

Array = NDArray[np.float32]
Method = Literal["wildtype", "masked"]


class AsyncClient(AsyncSession):
    """Talks to the endpoints of one server, or of several that serve the same models.

    Parameters and methods are those of :class:`bionemo_ext.client.Client`, whose methods this
    class has as coroutines and asynchronous iterators. It belongs to the event loop of its first
    call.

    Examples
    --------
    >>> async with AsyncClient("grpc://127.0.0.1:8001") as client:  # doctest: +SKIP
    ...     vectors = await client.embed(["MKTVRQG", "MALWMRLLPLL"])
    """

    @overload
    async def embed(
        self,
        sequences: Sequences,
        pooling: Literal["mean", "cls", "max"] = "mean",
        *,
        layer: int | None = None,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> Array: ...

    @overload
    async def embed(
        self,
        sequences: Sequences,
        pooling: Literal["residues"],
        *,
        layer: int | None = None,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> list[Array]: ...

    async def embed(
        self,
        sequences: Sequences,
        pooling: str = "mean",
        *,
        layer: int | None = None,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> Array | list[Array]:
        """As :meth:`Client.embed`."""
        if pooling not in (*POOLINGS, RESIDUES):
            raise InputError(
                f"pooling {pooling!r} is not one of {', '.join((*POOLINGS, RESIDUES))}"
            )
        inputs: Inputs = {} if layer is None else {LAYER: layer}
        stream = await self.open((pooling,), None, inputs, policy, on_progress)
        results = [result async for result in results_of(stream, sequences)]
        warn_truncated(results)
        values = [result.values[pooling] for result in results]
        if pooling == RESIDUES:
            return values
        if not values:
            return np.empty((0, stream.endpoint.output(pooling).dims[-1]), dtype=np.float32)
        return np.stack(values)

    @overload
    async def predict(
        self,
        sequences: Sequences,
        task: str,
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> list[Prediction]: ...

    @overload
    async def predict(
        self,
        sequences: Sequences,
        task: Collection[str],
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> dict[str, list[Prediction]]: ...

    async def predict(
        self,
        sequences: Sequences,
        task: str | Collection[str],
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> list[Prediction] | dict[str, list[Prediction]]:
        """As :meth:`Client.predict`."""
        tasks = [task] if isinstance(task, str) else list(task)
        stream = self.stream_predictions(sequences, tasks, policy=policy, on_progress=on_progress)
        pairs = [pair async for pair in stream]
        warn_truncated([result for result, _ in pairs])
        names = dict.fromkeys(tasks)
        found = {name: [made[place] for _, made in pairs] for place, name in enumerate(names)}
        return found[task] if isinstance(task, str) else found

    async def logits(
        self,
        sequences: Sequences,
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> list[Array]:
        """As :meth:`Client.logits`."""
        return await self._each(sequences, LOGITS, f"{self.model}_logits", {}, policy, on_progress)

    async def contacts(
        self,
        sequences: Sequences,
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> list[Array]:
        """As :meth:`Client.contacts`."""
        endpoint = f"{self.model}_contacts"
        return await self._each(sequences, CONTACTS, endpoint, {}, policy, on_progress)

    async def scan(
        self,
        sequences: Sequences,
        method: Method = "wildtype",
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> list[Array]:
        """As :meth:`Client.scan`."""
        inputs = {METHOD: method}
        return await self._each(sequences, SCAN, self._effects, inputs, policy, on_progress)

    @overload
    async def score(
        self,
        sequences: str | Record,
        mutants: Sequence[str],
        method: Method = "wildtype",
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> Array: ...

    @overload
    async def score(
        self,
        sequences: Sequence[str | Record],
        mutants: Sequence[Sequence[str]],
        method: Method = "wildtype",
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> list[Array]: ...

    async def score(
        self,
        sequences: str | Record | Sequence[str | Record],
        mutants: Sequence[str] | Sequence[Sequence[str]],
        method: Method = "wildtype",
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> Array | list[Array]:
        """As :meth:`Client.score`."""
        if isinstance(sequences, str | Record):
            of_one = [cast(Sequence[str], mutants)]
            return (
                await self.score(
                    [sequences], of_one, method, policy=policy, on_progress=on_progress
                )
            )[0]
        endpoint = await self._directory.endpoint(self._effects)
        parts = list(shares(sequences, mutants, endpoint, masked=method == "masked"))
        texts = [part.text for part in parts]
        inputs: Inputs = {METHOD: method, MUTANTS: texts.__getitem__}
        records = [part.record for part in parts]
        found = await self._each(records, SCORE, endpoint.name, inputs, policy, on_progress)
        scores: list[list[Array]] = [[np.empty(0, dtype=np.float32)] for _ in sequences]
        for part, values in zip(parts, found, strict=True):
            scores[part.owner].append(values)
        return [np.concatenate(one) for one in scores]

    async def fold(
        self,
        sequences: Sequences,
        *,
        policy: SequencePolicy | None = None,
        on_progress: Progress | None = None,
    ) -> list[Structure]:
        """As :meth:`Client.fold`."""
        stream = await self.open((PDB, PLDDT, PAE, PTM), FOLD, {}, policy, on_progress)
        return [Structure.of(result) async for result in results_of(stream, sequences)]

    @property
    def _effects(self) -> str:
        return f"{self.model}_mutation_effect"

    async def _each(
        self,
        sequences: Sequences,
        output: str,
        endpoint: str,
        inputs: Inputs,
        policy: SequencePolicy | None,
        on_progress: Progress | None,
    ) -> list[Array]:
        """One output of one endpoint for every sequence."""
        stream = await self.open((output,), endpoint, inputs, policy, on_progress)
        return [result.values[output] async for result in results_of(stream, sequences)]
