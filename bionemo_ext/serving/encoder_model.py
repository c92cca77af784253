"""The endpoint that holds the encoder: it decodes requests, and answers them together."""

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
from bionemo_ext.serving.request_seconds import RequestSeconds
from bionemo_ext.serving.triton_io import (
    OK,
    QUEUE_FULL,
    TOO_LATE,
    cancelled,
    failure,
    log_request,
    read_input,
    read_parameters,
    refusal,
    send,
    unavailable,
)
from bionemo_ext.serving.waiting import WaitingRoom

# Lengths of the first sequences: what is slow the first time is done before the server is ready.
_SHORT, _SHORT_COUNT = 32, 8


@dataclass(frozen=True)
class Job:
    """A request on its way: what it asks, where its answer goes, and when it came."""

    request: Any
    sender: Any
    ask: Ask
    arrived: float

    @classmethod
    def of(cls, request: Any) -> "Job":
        """Take over a request of Triton's."""
        ask = Ask(
            read_input(request, SEQUENCE) or [],
            frozenset(request.requested_output_names()),
            read_input(request, LAYER) or [],
            request.is_cancelled,
        )
        return cls(request, request.get_response_sender(), ask, time.perf_counter())


@never_late
class EncoderModel:
    """Triton's ``TritonPythonModel`` of ``esm2_embed``.

    An execution only puts its requests into the queue; one thread takes them from there, as many
    at a time as fill a pass of the encoder, and sends the answers.
    """

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
        self._patience_s = float(parameters["queue_timeout_s"])
        self._answerer = Answerer(
            encoder,
            {path.name: open_task(path, encoder) for path in folders},
            int(parameters["max_residues"]),
            max_tokens,
            int(parameters["max_answer_bytes"]),
        )
        self._metrics = EncoderMetrics(self._name, max_tokens)
        self._seconds = RequestSeconds(self._name)
        self._room: WaitingRoom[Job] = WaitingRoom(int(parameters["queue_size"]), max_tokens)
        # One thread for all of torch, which keeps threads of its own for each that calls it.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self._thread.submit(self._warm_up, int(parameters["max_residues"])).result()
        self._metrics.skip(self._answerer.counts)
        self._thread.submit(self._work)

    def execute(self, requests: Sequence[Any]) -> list[None]:
        """Put the requests into the queue; their answers follow."""
        for request in requests:
            job = Job.of(request)
            tokens = sum(len(sequence) + 2 for sequence in job.ask.sequences)
            if not self._room.put(job, tokens, self._patience_of(request)):
                size = self._room.size
                text = f"{QUEUE_FULL}: {self._name} has a maximum queue size of {size}"
                send(job.sender, unavailable(text))
        return [None for _ in requests]

    def finalize(self) -> None:
        """End the thread; Triton calls this once every request has its answer."""
        self._room.close()
        self._thread.shutdown()
        del self._metrics, self._seconds  # they must end before Triton's part of this process

    def _patience_of(self, request: Any) -> float:
        """How long a request may wait: its own timeout, which is in microseconds, if shorter."""
        own_s = request.timeout() / 1e6
        return min(own_s, self._patience_s) if own_s else self._patience_s

    @torch.inference_mode()
    def _work(self) -> None:
        while (taken := self._room.take()) is not None:
            ready, late = taken
            self._metrics.report_pending(self._room)
            self._metrics.report(self._room.counts)
            for job in late:
                send(job.sender, unavailable(f"{TOO_LATE} in the queue of {self._name}"))
            if ready:
                self._answer(ready)

    def _answer(self, jobs: Sequence[Job]) -> None:
        """Answer requests together; where that fails, each alone, so that one spoils no other."""
        start = time.perf_counter()
        try:
            answers = self._answerer.answer([job.ask for job in jobs])
        except Exception as error:  # torch: out of memory, above all
            pb_utils.Logger.log_error(f"a pass of the encoder failed: {error!r}")
            if len(jobs) == 1:
                send(jobs[0].sender, failure(f"the encoder failed: {error}"))
                return
            for job in jobs:
                self._answer([job])
            return
        # Counted first, so that who has an answer finds it in the metrics.
        self._metrics.report(self._answerer.counts)
        ends = [self._send(job, answer) for job, answer in zip(jobs, answers, strict=True)]
        for job, (outcome, seconds) in zip(jobs, ends, strict=True):
            if outcome == OK:
                self._seconds.observe(seconds)
            log_request(self._name, job.request, job.ask.sequences, start, outcome)

    def _send(self, job: Job, answer: Answer) -> tuple[str, float]:
        """Answer a request; gives what became of it, and the seconds since it came."""
        outcome = _outcome(answer)
        try:
            send(job.sender, _response(answer))
        except Exception as error:  # no shared memory left, above all
            pb_utils.Logger.log_error(f"an answer could not be sent: {error!r}")
            outcome = f"the answer could not be sent: {error}"
            send(job.sender, failure(outcome))
        return outcome, time.perf_counter() - job.arrived

    @torch.inference_mode()
    def _warm_up(self, max_residues: int) -> None:
        for length, count in ((_SHORT, _SHORT_COUNT), (max_residues, 1)):
            sequences = [b"M" * (min(length, max_residues) - i % 2) for i in range(count)]
            self._answerer.answer([Ask(sequences, frozenset(POOLINGS))])


def _outcome(answer: Answer) -> str:
    if isinstance(answer, InputError):
        return str(answer)
    return "cancelled" if answer is None else OK


def _response(answer: Answer) -> Any:
    if isinstance(answer, InputError):
        return refusal(answer)
    if answer is None:
        return cancelled()
    return pb_utils.InferenceResponse([pb_utils.Tensor(*item) for item in answer.items()])
