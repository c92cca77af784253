"""Embeddings by an encoder that is spread over tensor parallel ranks.

For frozen encoders too large for one device. Shapes: T packed tokens, H hidden.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from megatron.core import parallel_state, tensor_parallel

from bionemo_ext.data.batches import pack
from bionemo_ext.data.dataset import Sample
from bionemo_ext.errors import ConfigError
from bionemo_ext.inference.packing import Encoded, token_batches
from bionemo_ext.models.config import megatron_config
from bionemo_ext.models.esm1nv import ESM1nvModel
from bionemo_ext.models.esm2 import ESM2Model
from bionemo_ext.models.folder import load_into, read_folder
from bionemo_ext.recipes import cpu
from bionemo_ext.recipes.settings import Implementation, ParallelSettings, PrecisionSettings
from bionemo_ext.recipes.strategy import DTYPES, layers_for, token_multiple
from bionemo_ext.recipes.trained_model import packing_of


class RankEncoder:
    """A frozen encoder, of which every rank of this run holds a part.

    To be made and asked in every rank alike; see :meth:`embed`.

    Parameters
    ----------
    folder : Path
        A Hugging Face folder.
    parallel : ParallelSettings
        As many devices as tensor parallel ranks.
    precision : PrecisionSettings
        Arithmetic of the encoder.

    Raises
    ------
    ConfigError
        If the layout is another than tensor parallel.
    CheckpointError
        If the folder cannot be read.
    """

    def __init__(
        self, folder: Path, parallel: ParallelSettings, precision: PrecisionSettings
    ) -> None:
        if parallel.devices * parallel.nodes != parallel.tensor:
            raise ConfigError(
                f"parallel.devices {parallel.devices} x parallel.nodes {parallel.nodes} must be "
                f"parallel.tensor {parallel.tensor} where a frozen encoder embeds"
            )
        _join_ranks(parallel.tensor)
        architecture, state = read_folder(folder)
        layers = layers_for(Implementation.AUTO, precision)
        config = megatron_config(
            architecture,
            tensor_parallel=parallel.tensor,
            sequence_parallel=parallel.sequence,
            layers=layers,
            dtype=DTYPES[precision.arithmetic],
            fp8=precision.fp8.value,
        )
        kind = ESM2Model if architecture.family == "esm2" else ESM1nvModel
        self.model = kind(architecture, config, layers)
        load_into(self.model, state)
        self.device = torch.cuda.current_device()
        self.model.to(self.device).eval()
        self.alphabet = architecture.alphabet
        self.multiple = token_multiple(parallel, precision)

    @torch.inference_mode()
    def embed(
        self, sequences: Sequence[str], max_tokens: int = 4096
    ) -> Iterator[tuple[list[int], Encoded]]:
        """Encode any number of sequences in batches of like lengths.

        Parameters
        ----------
        sequences : sequence of str
            Clean sequences. Those of the first rank count; the others may give none.
        max_tokens : int
            Tokens in a batch; a longer sequence is a batch of its own.

        Yields
        ------
        indices, encoded : list of int, Encoded
            On every rank. Sequence i of the batch is ``sequences[indices[i]]``; hidden states are
            those after the final LayerNorm, [T, H]. Every one comes once, the longest first.
        """
        told = [list(sequences)]
        torch.distributed.broadcast_object_list(told, src=0)
        lengths = [len(sequence) + 2 for sequence in told[0]]
        for indices in token_batches(lengths, max_tokens):
            yield indices, self._encode([told[0][i] for i in indices])

    def _encode(self, sequences: Sequence[str]) -> Encoded:
        tokens = [self.alphabet.encode(sequence) for sequence in sequences]
        unmasked = [Sample(t, t, np.zeros(len(t), bool)) for t in tokens]
        batch = pack(unmasked, self.alphabet.pad_id, self.multiple)
        batch = {n: t if t.ndim == 0 else t.to(self.device) for n, t in batch.items()}
        hidden = self.model.encode(batch["tokens"], batch["attention_mask"], packing_of(batch))
        if self.model.config.sequence_parallel:
            hidden = tensor_parallel.gather_from_sequence_parallel_region(hidden)
        offsets = np.cumsum([0, *map(len, tokens)])
        return Encoded(hidden[: offsets[-1], 0], tuple(offsets.tolist()))


def _join_ranks(tensor: int) -> None:
    """Meet the other ranks, unless that has been done."""
    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        cpu.enable()
    if not torch.distributed.is_initialized():
        if on_gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        torch.distributed.init_process_group("nccl" if on_gpu else "gloo")
    if not parallel_state.model_parallel_is_initialized():
        parallel_state.initialize_model_parallel(tensor)
        tensor_parallel.model_parallel_cuda_manual_seed(0)  # no dropout draws from it
