"""The encoder's endpoint, as the Python backend of Triton runs it: one process, one encoder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import triton_python_backend_utils as pb_utils

from bionemo_ext.contract import ENCODER_FOLDER, SEQUENCE, TASKS_FOLDER
from bionemo_ext.errors import SequenceError
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.predictor import open_task
from bionemo_ext.serving.answers import Answerer, Ask


class EncoderModel:
    """Triton's ``TritonPythonModel`` of ``esm2_embed``."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the encoder and the tasks that lie beside it."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        folder = Path(args["model_repository"], args["model_version"])
        encoder = Encoder.load(folder / ENCODER_FOLDER, parameters["dtype"], "cpu")
        folders = sorted((folder / TASKS_FOLDER).glob("*"))
        self._answerer = Answerer(
            encoder,
            {path.name: open_task(path, encoder) for path in folders},
            int(parameters["max_residues"]),
            int(parameters["max_tokens_per_pass"]),
        )

    @torch.inference_mode()
    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer the requests that the batcher collected; a wrong one spoils no other."""
        asks = [
            Ask(
                pb_utils.get_input_tensor_by_name(request, SEQUENCE).as_numpy().ravel().tolist(),
                frozenset(request.requested_output_names()),
            )
            for request in requests
        ]
        try:
            answers = self._answerer.answer(asks)
        except (RuntimeError, MemoryError) as error:  # torch: out of memory, above all
            pb_utils.Logger.log_error(f"a pass of the encoder failed: {error!r}")
            failed = pb_utils.TritonError(f"the encoder failed: {error}")
            return [pb_utils.InferenceResponse(error=failed) for _ in requests]
        return [_response(answer) for answer in answers]


def _response(answer: dict[str, Any] | SequenceError) -> Any:
    if isinstance(answer, SequenceError):
        error = pb_utils.TritonError(str(answer), pb_utils.TritonError.INVALID_ARG)
        return pb_utils.InferenceResponse(error=error)
    return pb_utils.InferenceResponse([pb_utils.Tensor(*item) for item in answer.items()])
