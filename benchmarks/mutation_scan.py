"""A full mutation scan: masked passes in batches beside others, and the pass that needs no mask.

    python -m benchmarks.mutation_scan --model 8m --model 650m

Random weights at ESM-2's shapes, one random protein. The contestants take turns.
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.random_models import SIZES, write_random_esm2
from bionemo_ext.contract import AMINO_ACIDS
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.masked_model import EncoderLogits
from bionemo_ext.inference.packing import Encoded
from bionemo_ext.tasks.variant_effects import Method, scan


class OneByOne(EncoderLogits):
    """Every sequence in a pass of its own, as notebooks do."""

    def _pass(self, sequences: Sequence[str], masked: bool) -> list[np.ndarray]:
        return [super(OneByOne, self)._pass([one], masked)[0] for one in sequences]


def whole_last_layer(encoder: Encoder) -> Encoder:
    """The same encoder, every token of which goes through every layer."""
    other = copy.copy(encoder)

    def encode_masks(tokens: torch.Tensor, offsets: Sequence[int]) -> Encoded:
        return encoder.encode_tokens(tokens, offsets).at(tokens == encoder.alphabet.mask_id)

    other.encode_masks = encode_masks
    return other


def main() -> None:
    """Measure, and print JSON for each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=SIZES, action="append")
    parser.add_argument("--residues", type=int, default=300)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    wild = "".join(np.random.default_rng(0).choice(list(AMINO_ACIDS), options.residues))
    for size in options.model or ("8m",):
        with tempfile.TemporaryDirectory() as place:
            write_random_esm2(Path(place), size)
            encoder = Encoder.load(Path(place), options.dtype)
            print(json.dumps({"model": size, **measure(encoder, wild, options.rounds)}, indent=2))


def measure(encoder: Encoder, wild: str, rounds: int) -> dict[str, object]:
    """Seconds of each contestant, and of its processors; medians of the rounds."""
    batched, alone = EncoderLogits(encoder), OneByOne(encoder)
    whole = EncoderLogits(whole_last_layer(encoder))
    contestants: dict[str, Callable[[], np.ndarray]] = {
        "wildtype": lambda: scan(batched, wild, Method.WILDTYPE),
        "masked": lambda: scan(batched, wild, Method.MASKED),
        "masked_one_by_one": lambda: scan(alone, wild, Method.MASKED),
        "masked_whole_last_layer": lambda: scan(whole, wild, Method.MASKED),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    found = {}
    for _ in range(rounds):
        for name, run in contestants.items():
            began = time.perf_counter(), time.process_time()
            found[name] = run()
            seconds[name].append((time.perf_counter() - began[0], time.process_time() - began[1]))
    masked = [effects for name, effects in found.items() if name != "wildtype"]
    return {
        "residues": len(wild),
        **{name: _rates(len(wild), values) for name, values in seconds.items()},
        "largest_difference": float(np.abs(np.ptp(masked, axis=0)).max()),
    }


def _rates(residues: int, seconds: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Rates of scanned residues; those by processor time bear with a busy machine."""
    elapsed, busy = (statistics.median(column) for column in zip(*seconds, strict=True))
    return {"residues_per_s": residues / elapsed, "residues_per_cpu_s": residues / busy}


if __name__ == "__main__":
    main()
