"""The endpoint that folds: the shortest first, and an answer goes out as soon as it is whole."""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from bionemo_ext.contract import (
    FOLD_FOLDER,
    LENGTH,
    PAE,
    PDB,
    PLDDT,
    PTM,
    SEQUENCE,
    position_name,
)
from bionemo_ext.errors import RunError, SequenceError
from bionemo_ext.inference.fold import (
    MAX_TOKENS,
    FoldingModel,
    Structure,
    clean_protein,
    passes,
)
from bionemo_ext.serving.encoder_metrics import EncoderMetrics
from bionemo_ext.serving.pulse import never_late
from bionemo_ext.serving.triton_io import (
    OK,
    failure,
    log_request,
    read_input,
    read_parameters,
    refusal,
)

# What is slow the first time is done before the server is ready.
_WARM_UP = "MKTVRQERLKSIVRIL"


@never_late
class FoldModel:
    """Triton's ``TritonPythonModel`` of ``esmfold``."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model that lies beside, and fold a short protein."""
        config = json.loads(args["model_config"])
        parameters = read_parameters(config)
        folder = Path(args["model_repository"], args["model_version"])
        on_gpu = args["model_instance_kind"] == "GPU"
        device = f"cuda:{args['model_instance_device_id']}" if on_gpu else "cpu"
        chunk_size = int(parameters["chunk_size"]) or None
        self._name = config["name"]
        self._max_residues = int(parameters["max_residues"])
        # On a CPU a batch only adds its padding: there proteins are folded one by one.
        self._max_tokens = MAX_TOKENS if on_gpu else 1
        self._model = FoldingModel.load(
            folder / FOLD_FOLDER, parameters["dtype"], device, chunk_size
        )
        self._counts: Counter[str] = Counter()
        self._metrics = EncoderMetrics(self._name, self._max_tokens)
        self._model.fold_batch([_WARM_UP])

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Fold what the batcher collected, the shortest first; a wrong request spoils no other."""
        jobs = [_Job(self._name, request) for request in requests]
        for job in jobs:
            job.clean(self._max_residues)
        try:
            self._fold(jobs)
        except Exception as error:  # whoever waits must hear of it
            pb_utils.Logger.log_error(f"{self._name} failed: {error!r}")
            for job in jobs:
                job.end(failure(f"{self._name} failed: {error}"), repr(error))
        self._metrics.report(self._counts)
        return [None if job.sent else job.response for job in jobs]

    def finalize(self) -> None:
        """End what must end before Triton's part of this process."""
        del self._metrics

    def _fold(self, jobs: Sequence["_Job"]) -> None:
        sequences = sorted({sequence for job in jobs for sequence in job.sequences})
        for indices in passes([len(sequence) for sequence in sequences], self._max_tokens):
            for job in jobs:
                job.end_if_cancelled()
            wanted = {sequence for job in jobs if not job.response for sequence in job.sequences}
            batch = [sequences[index] for index in indices if sequences[index] in wanted]
            if not batch:
                continue
            # Those that are done need not wait for longer ones. The last are not sent but returned:
            # Triton may let a request half a second lie that comes while this is running.
            for job in jobs:
                job.send()
            outcomes = dict(zip(batch, self._model.fold_batch(batch), strict=True))
            self._counts["sequences"] += len(batch)
            self._counts["residues"] += sum(map(len, batch))
            for job in jobs:
                job.take(outcomes)


class _Job:
    """A request under way.

    Parameters
    ----------
    endpoint : str
        Who answers.
    request : InferenceRequest
        What was asked.
    """

    def __init__(self, endpoint: str, request: Any) -> None:
        self.sequences: list[str] = []
        self.response: Any = None
        self.sent = False
        self._start = time.perf_counter()
        self._endpoint, self._request = endpoint, request
        self._asked: list[bytes] = read_input(request, SEQUENCE) or []
        self._found: dict[str, Structure] = {}

    def clean(self, max_residues: int) -> None:
        """Read the sequences, or answer what is wrong with one."""
        try:
            for position, asked in enumerate(self._asked):
                name = position_name(position, len(self._asked))
                text = asked.decode("utf-8", "replace")
                self.sequences.append(clean_protein(text, name, max_residues))
        except SequenceError as error:
            self.sequences = []
            self.end(refusal(error), str(error))

    def end_if_cancelled(self) -> None:
        """Answer a request for which nobody waits any more, so that it is not folded."""
        if not self.response and self._request.is_cancelled():
            code = pb_utils.TritonError.CANCELLED
            self.end(failure("the request was cancelled", code), "cancelled")

    def take(self, outcomes: Mapping[str, Structure | RunError]) -> None:
        """Keep what is ours of a pass, and answer when all is there or one thing cannot be."""
        for position, sequence in enumerate(self.sequences):
            outcome = outcomes.get(sequence)
            if isinstance(outcome, Structure):
                self._found[sequence] = outcome
            elif isinstance(outcome, RunError):
                name = position_name(position, len(self.sequences))
                self.end(failure(f"record {name!r} was not folded: {outcome}"), str(outcome))
        if not self.response and self._found.keys() == set(self.sequences):
            structures = [self._found[sequence] for sequence in self.sequences]
            wanted = self._request.requested_output_names()
            tensors = [pb_utils.Tensor(name, _output(name, structures)) for name in wanted]
            self.end(pb_utils.InferenceResponse(tensors), OK)

    def end(self, response: Any, outcome: str) -> None:
        """Set the answer, unless there is one."""
        if not self.response:
            self.response = response
            log_request(self._endpoint, self._request, self._asked, self._start, outcome)

    def send(self) -> None:
        """Send the answer, if there is one, ahead of those of the other requests."""
        if self.response and not self.sent:
            self.sent = True
            final = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
            self._request.get_response_sender().send(self.response, flags=final)


def _output(name: str, structures: Sequence[Structure]) -> NDArray[Any]:
    """One output of a request, its first dimension the proteins; zeros fill shorter ones up."""
    lengths = [len(structure.plddt) for structure in structures]
    if name == LENGTH:
        return np.array(lengths, dtype=np.int32)[:, None]
    if name == PDB:
        return np.array([s.pdb.encode() for s in structures], dtype=np.object_)[:, None]
    if name == PTM:
        return np.array([[s.ptm] for s in structures], dtype=np.float32)
    rows = [{PLDDT: s.plddt, PAE: s.pae}[name] for s in structures]
    stacked = np.zeros((len(rows), *[max(lengths)] * rows[0].ndim), dtype=np.float32)
    for target, row in zip(stacked, rows, strict=True):
        target[tuple(map(slice, row.shape))] = row
    return stacked
