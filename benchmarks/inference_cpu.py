"""Embedding proteins on a CPU: this project, transformers and esm-cpp on the same proteins.

    python -m benchmarks.inference_cpu --fasta proteins.fasta.gz --model 8m --model 650m
    python -m benchmarks.inference_cpu --fasta proteins.fasta.gz --model 150m --esm-cpp PYTHON

Random weights at ESM-2's shapes. Every contestant is a process of its own that reads the model and
runs a batch before the clock starts; they take turns, round by round. Told are medians over the
rounds of real tokens a second (a residue each, ``<cls>`` and ``<eos>``; padding never counts),
ratios, the share of the machine's own rate of matrix products, and errors against transformers in
fp32. The proteins are taken at even steps out of the whole file sorted by length, eight
neighbours at a time, so that whoever sorts finds batches as even as in the whole file. PYTHON is an
interpreter of an environment in which ``esm-cpp==0.2.1`` is installed.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.random_models import SIZES, write_random_esm2

# Batches of eight proteins in a round: as many as give the slowest contestant minutes, not hours.
BATCHES = {"8m": 32, "35m": 16, "150m": 8, "650m": 4}
BATCH = 8
MAX_RESIDUES = 1022


def main() -> None:
    """Compare, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fasta", type=Path)
    parser.add_argument("--model", choices=SIZES, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", type=int, help="of eight proteins, in a round")
    parser.add_argument("--contestant", choices=CONTESTANTS, action="append", help="only these")
    parser.add_argument("--esm-cpp", metavar="PYTHON", help="interpreter that can import esm_cpp")
    parser.add_argument("--only", choices=[*CONTESTANTS, "products"], help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(_contest(options.only, options.work, options.threads)))
        return
    if not options.fasta:
        parser.error("--fasta is needed")
    for size in options.model or SIZES:
        with tempfile.TemporaryDirectory() as folder:
            compare(size, Path(folder), options)


def compare(size: str, work: Path, options: argparse.Namespace) -> None:
    """Time all contestants on one size of model."""
    tokens = prepare(work, size, options.fasta, options.batches or BATCHES[size])
    names = list(options.contestant or CONTESTANTS)
    if not options.esm_cpp:
        names = [name for name in names if not name.startswith("esm-cpp")]
    elif any(name.startswith("esm-cpp") for name in names):
        _pack(work)
    print(f"\n{size}: {len(tokens)} proteins, {sum(tokens):,} tokens, {options.threads} threads")
    rates: dict[str, list[float]] = {name: [] for name in [*names, "products"]}
    for number in range(options.rounds):
        for name, found in rates.items():
            answer = _apart(name, work, options)
            found.append(answer["rate"])
            print(f"round {number + 1}  {name:<28} {found[-1]:10,.1f}", flush=True)
    _tell(size, work, tokens, rates)


def _tell(size: str, work: Path, tokens: list[int], rates: dict[str, list[float]]) -> None:
    layers, hidden, _ = SIZES[size]
    median = {name: statistics.median(found) for name, found in rates.items()}
    peak = median.pop("products")
    # Of the encoder alone: QKV, out and the two of the FFN; scores and their product with values.
    flops = sum(24 * layers * hidden**2 * n + 4 * layers * hidden * n**2 for n in tokens)
    best = max(median.values())
    print(f"matrix products in bf16: {peak:,.0f} GFLOP/s")
    print(f"{'':<28} {'tokens/s':>10} {'to best':>8} {'products':>9} {'cosine':>12}  largest error")
    for name, rate in median.items():
        share = rate * flops / sum(tokens) / 1e9 / peak
        cosine, error = _error(work, name)
        print(f"{name:<28} {rate:10,.0f} {rate / best:8.3f} {share:9.1%} {cosine} {error}")


def _error(work: Path, name: str) -> tuple[str, str]:
    """Least cosine and largest element error of what a contestant gave, against fp32's."""
    if not (work / "transformers fp32.npz").is_file() or name == "transformers fp32":
        return f"{'':>12}", ""
    found, truth = (np.load(work / f"{n}.npz") for n in (name, "transformers fp32"))
    cosine = f"{'':>12}"
    if "mean" in found:
        norms = np.linalg.norm(found["mean"], axis=1) * np.linalg.norm(truth["mean"], axis=1)
        cosine = f"{((found['mean'] * truth['mean']).sum(1) / norms).min():12.6f}"
    errors = (f"{np.abs(found[key] - truth[key]).max():.5f} ({key})" for key in found)
    return cosine, " " + ", ".join(errors)


def prepare(work: Path, size: str, fasta: Path, batches: int) -> list[int]:
    """Write the model and the proteins; gives the number of tokens of each."""
    from bionemo_ext.sequences import read_fasta

    write_random_esm2(work / "model", size)
    sequences = [record.sequence[:MAX_RESIDUES] for record in read_fasta(fasta)]
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    starts = np.linspace(0, len(order), batches, endpoint=False) + len(order) / (2 * batches)
    chosen = sorted(i for start in starts for i in order[int(start) : int(start) + BATCH])
    (work / "proteins.json").write_text(json.dumps([sequences[i] for i in chosen]))
    return [len(sequences[i]) + 2 for i in chosen]


def _apart(name: str, work: Path, options: argparse.Namespace) -> dict[str, float]:
    threads = str(options.threads)
    program = [sys.executable, "-m", "benchmarks.inference_cpu", "--threads", threads]
    if name.startswith("esm-cpp"):
        program = [options.esm_cpp, str(Path(__file__).with_name("esm_cpp_peer.py"))]
    done = subprocess.run(
        [*program, "--only", name, "--work", str(work)],
        env={**os.environ, "OMP_NUM_THREADS": threads, "ESM_NUM_THREADS": threads},
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def _pack(work: Path) -> None:
    from bionemo_ext.sequences import ESM2

    tokens, offsets = ESM2.encode_packed(json.loads((work / "proteins.json").read_text()))
    np.savez(work / "tokens.npz", tokens=tokens, offsets=offsets)


def _contest(name: str, work: Path, threads: int) -> dict[str, float]:
    import torch

    torch.set_num_threads(threads)
    if name == "products":
        return {"rate": products()}
    sequences = json.loads((work / "proteins.json").read_text())
    run = CONTESTANTS[name](work)
    run(sequences[:BATCH])
    began = time.perf_counter()
    found = run(sequences)
    rate = (sum(map(len, sequences)) + 2 * len(sequences)) / (time.perf_counter() - began)
    outputs = {"mean": found}
    if (work / "tokens.npz").is_file() and name in LOGITS:  # all that esm-cpp gives of a batch
        outputs["logits"] = LOGITS[name](work)
    np.savez(work / f"{name}.npz", **outputs)
    return {"rate": rate}


def products(size: int = 2048, seconds: float = 3) -> float:
    """GFLOP/s of bf16 matrix products: the best of several shapes."""
    import torch

    best = 0.0
    for rows, inner, columns in (
        (size, size, size),
        (2 * size, 1280, 5120),
        (2 * size, 5120, 1280),
    ):
        a = torch.randn(rows, inner, dtype=torch.bfloat16)
        b = torch.randn(columns, inner, dtype=torch.bfloat16)
        torch.nn.functional.linear(a, b)
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds / 3:
            torch.nn.functional.linear(a, b)
            count += 1
        rate = 2 * rows * inner * columns * count / (time.perf_counter() - began) / 1e9
        best = max(best, rate)
    return best


def ours(work: Path, dtype: str) -> Callable[[list[str]], np.ndarray]:
    """The packed encoder."""
    from bionemo_ext.inference.encoder import Encoder

    encoder = Encoder.load(work / "model", dtype)

    def run(sequences: list[str]) -> np.ndarray:
        found = np.zeros((len(sequences), encoder.hidden_size), dtype=np.float32)
        for indices, encoded in encoder.embed(sequences):
            found[indices] = encoded.mean().numpy()
        return found

    return run


def transformers(work: Path, dtype: str, by_length: bool) -> Callable[[list[str]], np.ndarray]:
    """Hugging Face's model in padded batches of eight, its default attention."""
    import torch
    from transformers import EsmModel

    from bionemo_ext.sequences import ESM2

    model = EsmModel.from_pretrained(
        work / "model", add_pooling_layer=False, torch_dtype=getattr(torch, dtype)
    ).eval()

    @torch.inference_mode()
    def run(sequences: list[str]) -> np.ndarray:
        order = list(range(len(sequences)))
        if by_length:
            order.sort(key=lambda i: len(sequences[i]))
        found = np.zeros((len(sequences), model.config.hidden_size), dtype=np.float32)
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            rows = [torch.from_numpy(ESM2.encode(sequences[i])) for i in batch]
            ids = torch.nn.utils.rnn.pad_sequence(rows, True, ESM2.pad_id)
            hidden = model(ids, attention_mask=ids != ESM2.pad_id).last_hidden_state
            for i, row in zip(batch, hidden, strict=True):
                found[i] = row[1 : len(sequences[i]) + 1].float().mean(0).numpy()
        return found

    return run


def _our_logits(work: Path) -> np.ndarray:
    """Logits of all tokens by the packed encoder in bf16, a sequence at a time."""
    import torch

    from bionemo_ext.inference.encoder import Encoder

    packed = np.load(work / "tokens.npz")
    encoder = Encoder.load(work / "model", "bfloat16")
    return np.concatenate([
        encoder.logits(
            encoder.encode_tokens(torch.from_numpy(packed["tokens"][a:b]), [0, int(b - a)])
        ).numpy()
        for a, b in itertools.pairwise(packed["offsets"])
    ])  # fmt: skip


def _transformers_logits(work: Path) -> np.ndarray:
    """Logits of all tokens by transformers in fp32."""
    import torch
    from transformers import EsmForMaskedLM

    packed = np.load(work / "tokens.npz")
    model = EsmForMaskedLM.from_pretrained(work / "model").eval()
    offsets = packed["offsets"]
    with torch.inference_mode():
        return np.concatenate([
            model(torch.from_numpy(packed["tokens"][a:b])[None].long()).logits[0].numpy()
            for a, b in itertools.pairwise(offsets)
        ])  # fmt: skip


CONTESTANTS: dict[str, Callable[[Path], Callable[[list[str]], np.ndarray]]] = {
    "ours bf16": lambda work: ours(work, "bfloat16"),
    "ours fp32": lambda work: ours(work, "float32"),
    "transformers fp32": lambda work: transformers(work, "float32", by_length=False),
    "transformers fp32, sorted": lambda work: transformers(work, "float32", by_length=True),
    "transformers bf16, sorted": lambda work: transformers(work, "bfloat16", by_length=True),
    "esm-cpp fp32": lambda work: _elsewhere(),
    "esm-cpp int8": lambda work: _elsewhere(),
}
LOGITS = {"transformers fp32": _transformers_logits, "ours bf16": _our_logits}


def _elsewhere() -> Callable[[list[str]], np.ndarray]:
    raise RuntimeError("esm-cpp runs in benchmarks/esm_cpp_peer.py")


if __name__ == "__main__":
    main()
