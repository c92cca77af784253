"""The endpoint that holds the encoder: it decodes requests, and answers them together."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import triton_python_backend_utils as pb_utils

from bionemo_ext.contract import ENCODER_FOLDER, LAYER, POOLINGS, SEQUENCE, TASKS_FOLDER
from bionemo_ext.errors import InputError
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.predictor import open_task
from bionemo_ext.serving.answers import Answer, Answerer, Ask
from bionemo_ext.serving.encoder_metrics import EncoderMetrics
from bionemo_ext.serving.pulse import never_late
from bionemo_ext.serving.triton_io import (
    failure,
    log_request,
    read_input,
    read_parameters,
    refusal,
)

# Lengths of the first sequences: what is slow the first time is done before the server is ready.
_SHORT, _SHORT_COUNT = 32, 8


@never_late
class EncoderModel:
    """Triton's ``TritonPythonModel`` of ``esm2_embed``."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the encoder and the tasks that lie beside it, and warm up."""
        config = json.loads(args["model_config"])
        parameters = read_parameters(config)
        folder = Path(args["model_repository"], args["model_version"])
        on_gpu = args["model_instance_kind"] == "GPU"
        device = f"cuda:{args['model_instance_device_id']}" if on_gpu else "cpu"
        encoder = Encoder.load(folder / ENCODER_FOLDER, parameters["dtype"], device)
        folders = sorted((folder / TASKS_FOLDER).glob("*"))
        max_tokens = int(parameters["max_tokens_per_pass"])
        self._name = config["name"]
        self._answerer = Answerer(
            encoder,
            {path.name: open_task(path, encoder) for path in folders},
            int(parameters["max_residues"]),
            max_tokens,
            int(parameters["max_answer_bytes"]),
        )
        self._metrics = EncoderMetrics(self._name, max_tokens)
        self._warm_up(int(parameters["max_residues"]))

    @torch.inference_mode()
    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer the requests that the batcher collected; a wrong one spoils no other."""
        start = time.perf_counter()
        asks = [
            Ask(
                read_input(request, SEQUENCE) or [],
                frozenset(request.requested_output_names()),
                read_input(request, LAYER) or [],
                request.is_cancelled,
            )
            for request in requests
        ]
        try:
            answers = self._answerer.answer(asks)
        except (RuntimeError, MemoryError) as error:  # torch: out of memory, above all
            pb_utils.Logger.log_error(f"a pass of the encoder failed: {error!r}")
            return [failure(f"the encoder failed: {error}") for _ in requests]
        self._metrics.report(self._answerer.counts)
        for request, ask, answer in zip(requests, asks, answers, strict=True):
            log_request(self._name, request, ask.sequences, start, _outcome(answer))
        return [_response(answer) for answer in answers]

    @torch.inference_mode()
    def _warm_up(self, max_residues: int) -> None:
        for length, count in ((_SHORT, _SHORT_COUNT), (max_residues, 1)):
            sequences = [b"M" * (min(length, max_residues) - i % 2) for i in range(count)]
            self._answerer.answer([Ask(sequences, frozenset(POOLINGS))])


def _outcome(answer: Answer) -> str:
    if isinstance(answer, InputError):
        return str(answer)
    return "cancelled" if answer is None else "ok"


def _response(answer: Answer) -> Any:
    if isinstance(answer, InputError):
        return refusal(answer)
    if answer is None:
        return failure("the request was cancelled", pb_utils.TritonError.CANCELLED)
    return pb_utils.InferenceResponse([pb_utils.Tensor(*item) for item in answer.items()])
