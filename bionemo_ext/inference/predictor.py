"""A trained task ready to predict: its head, and the encoder that goes with it.

A task's folder holds ``task.json`` and ``head.safetensors``; beside them ``adapter`` where the
encoder was adapted, ``huggingface`` where it was trained as a whole, and neither where it was
frozen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.errors import CheckpointError
from bionemo_ext.huggingface import read_adapter
from bionemo_ext.inference.encoder import DTYPES, Encoder
from bionemo_ext.inference.task import Head, TaskSpec, load_task, predict

ADAPTER = "adapter"
OWN_ENCODER = "huggingface"


@dataclass(frozen=True)
class Predictor:
    """A head on its encoder.

    Parameters
    ----------
    spec : TaskSpec
        What is predicted.
    head : Head
        The trained network.
    encoder : Encoder
        Several tasks on one frozen encoder share this very object.
    """

    spec: TaskSpec
    head: Head
    encoder: Encoder

    def predict(
        self, sequences: Sequence[str], max_tokens: int = 4096
    ) -> Iterator[tuple[list[int], list[NDArray[np.float32]]]]:
        """Predict any number of clean sequences, a batch of like lengths at a time.

        Yields
        ------
        indices, predictions : list of int, list of array
            As :meth:`Encoder.embed` and :func:`bionemo_ext.inference.task.predict` give them.
        """
        for indices, encoded in self.encoder.embed(sequences, max_tokens):
            yield indices, predict(self.head, self.spec, encoded)


def open_task(folder: Path, base: Encoder) -> Predictor:
    """Read a task's folder.

    Parameters
    ----------
    folder : Path
        See above.
    base : Encoder
        What a frozen or an adapted task was trained on; its weights are shared.

    Raises
    ------
    CheckpointError
        If a file is missing or damaged, or the task was trained on another encoder.
    """
    spec, head = load_task(folder)
    encoder = base
    if (folder / OWN_ENCODER).is_dir():
        names = {dtype: name for name, dtype in DTYPES.items()}
        encoder = Encoder.load(folder / OWN_ENCODER, names[base.dtype], str(base.device))
    if spec.encoder_digest != encoder.digest:
        raise CheckpointError(
            f"the task {spec.name!r} in {folder} was trained on another encoder "
            f"({spec.encoder_digest[:12]}) than this one ({encoder.digest[:12]})"
        )
    if (folder / ADAPTER).is_dir():
        encoder = encoder.adapted(read_adapter(folder / ADAPTER))
    return Predictor(spec, head.to(encoder.device), encoder)
