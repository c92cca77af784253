"""A task's endpoint: it asks the encoder's endpoint for its own output and passes it on.

One request there for each one here, so that the encoder's batcher sees them all; residue
embeddings never leave the encoder's process.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import triton_python_backend_utils as pb_utils

from bionemo_ext.contract import PREDICTION, SEQUENCE, is_about_a_record


class TaskModel:
    """Triton's ``TritonPythonModel`` of every task."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read which endpoint to ask."""
        config = json.loads(args["model_config"])
        self._host = config["parameters"]["host"]["string_value"]
        self._task = config["name"]

    async def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Pass the requests on, all at once."""
        return await asyncio.gather(*(self._ask(request) for request in requests))

    async def _ask(self, request: Any) -> Any:
        # The encoder calls the task's output by the task's name, this endpoint `prediction`.
        names = {
            self._task if name == PREDICTION else name: name
            for name in request.requested_output_names()
        }
        response = await pb_utils.InferenceRequest(
            model_name=self._host,
            inputs=[pb_utils.get_input_tensor_by_name(request, SEQUENCE)],
            requested_output_names=list(names),
            request_id=request.request_id(),
        ).async_exec()
        if response.has_error():
            return pb_utils.InferenceResponse(error=_with_code(response.error()))
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor(wanted, _output(response, name).as_numpy())
                for name, wanted in names.items()
            ]
        )


def _with_code(error: Any) -> Any:
    # On this way Triton forgets the code of an error: all of them arrive as internal.
    if not is_about_a_record(error.message()):
        return error
    return pb_utils.TritonError(error.message(), pb_utils.TritonError.INVALID_ARG)


def _output(response: Any, name: str) -> Any:
    return pb_utils.get_output_tensor_by_name(response, name)
