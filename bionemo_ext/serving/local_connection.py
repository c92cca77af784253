"""The endpoints of a model folder, answered in this process: what the client asks without a server.

The numbers are those of a server, because the same code computes them; there is no queue.
"""

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bionemo_ext.contract import (
    LAYER,
    METHOD,
    MUTANTS,
    SEQUENCE,
    Endpoint,
    embed_name,
)
from bionemo_ext.errors import InputError, NotFoundError, RequestError
from bionemo_ext.export.endpoints import describe_endpoints
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.predictor import open_task
from bionemo_ext.serving.answers import Answerer, Ask
from bionemo_ext.serving.mutation_effects import MutationEffects

Arrays = dict[str, NDArray[Any]]


class LocalConnection:
    """Takes the place of :class:`bionemo_ext.client.wire.connection.Connection`.

    Parameters
    ----------
    folder : Path
        A Hugging Face folder of ESM-2 or ESM-1nv, or a pretraining run's.
    tasks : sequence of Path
        Task folders, as ``export`` takes them.
    model : str
        What the names of the endpoints begin with.
    dtype : {"float32", "bfloat16"}
        Arithmetic.
    device : str
        Where to compute.

    Raises
    ------
    CheckpointError
        If a folder is missing or damaged, or a task belongs to another encoder.
    """

    def __init__(
        self,
        folder: Path,
        tasks: Sequence[Path] = (),
        *,
        model: str,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        inner = folder / "huggingface"
        encoder = Encoder.load(inner if inner.is_dir() else folder, dtype, device)
        opened = [open_task(path, encoder) for path in tasks]
        found = [one for _, one in describe_endpoints(encoder, opened, model, dtype)]
        self._endpoints = {endpoint.name: endpoint for endpoint in found}
        self._host = embed_name(model)
        parameters = self._endpoints[self._host].parameters
        self._answerer = Answerer(
            encoder,
            {task.spec.name: task for task in opened},
            int(parameters["max_residues"]),
            int(parameters["max_tokens_per_pass"]),
            int(parameters["max_answer_bytes"]),
        )
        self._effects = MutationEffects(parameters["alphabet"], int(parameters["max_residues"]))
        # One thread for all of torch, which keeps threads of its own for each that calls it.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self.closed = False

    async def close(self) -> None:
        """End the thread once what is under way is done."""
        self.closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def ready(self) -> bool:
        """Always: the model was loaded before."""
        return True

    async def endpoint_names(self) -> list[str]:
        """Names of the endpoints, sorted."""
        return sorted(self._endpoints)

    async def endpoint(self, name: str) -> Endpoint:
        """Describe an endpoint.

        Raises
        ------
        NotFoundError
            If there is none of that name.
        """
        if name not in self._endpoints:
            raise NotFoundError(f"there is no endpoint {name!r}")
        return self._endpoints[name]

    async def infer(self, endpoint: str, inputs: Arrays, outputs: Sequence[str]) -> Arrays:
        """Answer one request: arrays [B, 1] in, arrays [B, ...] out.

        Raises
        ------
        RequestError
            If its content is wrong.
        """
        about = await self.endpoint(endpoint)
        values = {name: array.ravel().tolist() for name, array in inputs.items()}
        try:
            if METHOD in (spec.name for spec in about.inputs):
                words = (values.get(METHOD), values.get(MUTANTS))
                return await self._effects.answer(values[SEQUENCE], *words, outputs, self._rows)
            theirs: dict[str, str] = json.loads(about.parameters.get("answers", "{}"))
            names = {theirs.get(name, name): name for name in outputs}
            found = await self._answer(values[SEQUENCE], names, values.get(LAYER))
        except InputError as error:
            raise RequestError(str(error)) from None
        return {ours: found[name] for name, ours in names.items()}

    async def _rows(self, texts: list[str], output: str) -> NDArray[Any]:
        return (await self._answer([text.encode() for text in texts], [output], None))[output]

    async def _answer(
        self, sequences: list[bytes], outputs: Sequence[str], layers: list[int] | None
    ) -> Arrays:
        ask = Ask(sequences, frozenset(outputs), layers or [])
        loop = asyncio.get_running_loop()
        (answer,) = await loop.run_in_executor(self._thread, self._compute, ask)
        if isinstance(answer, InputError):
            raise answer
        return {name: np.asarray(array) for name, array in answer.items()}

    @torch.inference_mode()
    def _compute(self, ask: Ask) -> list[Any]:
        return list(self._answerer.answer([ask]))
