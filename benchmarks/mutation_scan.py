"""A full mutation scan: masked passes in batches beside one by one, and the pass that needs none.

    python -m benchmarks.mutation_scan --model 8m --model 650m

Random weights at ESM-2's shapes, one random protein. The contestants take turns.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.serving import SIZES
from bionemo_ext.contract import AMINO_ACIDS
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.masked_model import EncoderLogits
from bionemo_ext.tasks.variant_effects import Method, scan


class OneByOne(EncoderLogits):
    """Every sequence in a pass of its own, as notebooks do."""

    def _pass(self, sequences: Sequence[str], masked: bool) -> list[np.ndarray]:
        return [super(OneByOne, self)._pass([one], masked)[0] for one in sequences]


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
            encoder = load(size, Path(place), options.dtype)
            print(json.dumps({"model": size, **measure(encoder, wild, options.rounds)}, indent=2))


def measure(encoder: Encoder, wild: str, rounds: int) -> dict[str, float]:
    """Seconds of each contestant, medians, and the largest difference of an effect."""
    batched, alone = EncoderLogits(encoder), OneByOne(encoder)
    contestants: dict[str, Callable[[], np.ndarray]] = {
        "wildtype": lambda: scan(batched, wild, Method.WILDTYPE),
        "masked": lambda: scan(batched, wild, Method.MASKED),
        "masked_one_by_one": lambda: scan(alone, wild, Method.MASKED),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    found = {}
    for _ in range(rounds):
        for name, run in contestants.items():
            began = time.perf_counter()
            found[name] = run()
            seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    passes = len(wild)
    return {
        "residues": passes,
        "wildtype_s": medians["wildtype"],
        "masked_passes_per_s": passes / medians["masked"],
        "one_by_one_passes_per_s": passes / medians["masked_one_by_one"],
        "ratio": medians["masked_one_by_one"] / medians["masked"],
        "largest_difference": float(np.abs(found["masked"] - found["masked_one_by_one"]).max()),
    }


def load(size: str, place: Path, dtype: str) -> Encoder:
    """Random weights at a size."""
    from bionemo_ext.huggingface import ESM2Config, write_folder
    from bionemo_ext.huggingface.shapes import constants, shapes

    torch.manual_seed(0)
    layers, hidden, heads = SIZES[size]
    config = ESM2Config(layers=layers, hidden=hidden, heads=heads)
    state = {name: 0.02 * torch.randn(shape) for name, shape in shapes(config).items()}
    write_folder(place / "encoder", config, state | constants(config, torch.float32))
    return Encoder.load(place / "encoder", dtype)


if __name__ == "__main__":
    main()
