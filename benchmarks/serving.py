"""Embedding through the real server: its rate beside the encoder's own, and how long answers take.

    python -m benchmarks.serving --fasta proteins.fasta.gz --model 8m --model 650m

Random weights at ESM-2's shapes. First the share: the project's client embeds all proteins through
tritonserver over gRPC, the encoder does the same in a process of its own, and they take turns.
Then the latency: that many clients, each with one protein a request and no pause, beside the model
that tutorials write for Triton's Python backend: transformers, a batch padded to its longest.
Proteins are taken at even steps out of the whole file sorted by length.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.random_models import SIZES, write_random_esm2

# Enough for a round of seconds to a minute.
PROTEINS = {"8m": 1024, "35m": 256, "150m": 96, "650m": 48}
REQUESTS = {"8m": 600, "35m": 300, "150m": 100, "650m": 48}
CONCURRENCY = (1, 4, 16)
MAX_RESIDUES = 1022
ENDPOINT = "esm2_embed"
NAIVE = "naive"

# What most tutorials do: a list, a padded batch, the mean with a mask.
NAIVE_MODEL = """
import json, os, sys
import numpy as np, torch
import triton_python_backend_utils as pb_utils
from transformers import EsmModel
from bionemo_ext.sequences import ESM2

class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        folder, dtype = (parameters[k]["string_value"] for k in ("folder", "dtype"))
        self.model = EsmModel.from_pretrained(
            folder, add_pooling_layer=False, torch_dtype=getattr(torch, dtype)
        ).eval()

    @torch.inference_mode()
    def execute(self, requests):
        counts, rows = [], []
        for request in requests:
            texts = pb_utils.get_input_tensor_by_name(request, "sequence").as_numpy().ravel()
            counts.append(len(texts))
            rows += [torch.from_numpy(ESM2.encode(text.decode())) for text in texts]
        ids = torch.nn.utils.rnn.pad_sequence(rows, True, ESM2.pad_id)
        hidden = self.model(ids, attention_mask=ids != ESM2.pad_id).last_hidden_state.float()
        residues = (ids > 3)[..., None]
        mean = ((hidden * residues).sum(1) / residues.sum(1)).numpy()
        parts = np.split(mean, np.cumsum(counts)[:-1])
        return [pb_utils.InferenceResponse([pb_utils.Tensor("mean", part)]) for part in parts]
"""


def main() -> None:
    """Measure, and print JSON for each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fasta", type=Path, required=True)
    parser.add_argument("--model", choices=SIZES, action="append")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--proteins", type=int)
    parser.add_argument("--requests", type=int)
    parser.add_argument("--no-naive", action="store_true", help="leave the naive model out")
    parser.add_argument("--in-process", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_process:
        in_process(options.in_process, options.dtype, options.threads)
        return
    for size in options.model or ("8m", "650m"):
        with tempfile.TemporaryDirectory() as place:
            report = measure(size, Path(place), options)
        print(json.dumps(report, indent=2), flush=True)


def measure(size: str, place: Path, options: argparse.Namespace) -> dict[str, object]:
    """Measure one size of model."""
    from bionemo_ext.client import Client
    from bionemo_ext.serving import LocalServer

    sequences = proteins(options.fasta, options.proteins or PROTEINS[size])
    (place / "proteins.json").write_text(json.dumps(sequences))
    repository = write_model(size, place, options.dtype, naive=not options.no_naive)
    tokens = sum(map(len, sequences)) + 2 * len(sequences)
    served, alone = [], []
    with LocalServer(repository, threads=options.threads) as server, Client(server.url) as client:
        client.embed(sequences[:64])
        with Alone(place, options) as encoder:
            for number in range(options.rounds):
                began = time.perf_counter()
                found = client.embed(sequences)
                served.append(tokens / (time.perf_counter() - began))
                seconds, truth = encoder.embed()
                alone.append(tokens / seconds)
                print(
                    f"{size} round {number + 1}: {served[-1]:,.0f} tokens/s served, "
                    f"{alone[-1]:,.0f} alone",
                    file=sys.stderr,
                    flush=True,
                )
        error = float(np.abs(found - truth).max())
        latency = {
            name: {n: waits(server.url, name, sequences, n, count(size, options))
                   for n in CONCURRENCY}
            for name in (ENDPOINT, *([] if options.no_naive else [NAIVE]))
        }  # fmt: skip
    return {
        "model": size,
        "dtype": options.dtype,
        "proteins": len(sequences),
        "tokens": tokens,
        "served_tokens_per_s": statistics.median(served),
        "alone_tokens_per_s": statistics.median(alone),
        "share": statistics.median(s / a for s, a in zip(served, alone, strict=True)),
        "largest_error": error,
        "latency": latency,
    }


def count(size: str, options: argparse.Namespace) -> int:
    """Requests to measure the latency with."""
    return options.requests or REQUESTS[size]


def proteins(fasta: Path, number: int) -> list[str]:
    """Take proteins at even steps of length, in an order of no meaning."""
    from bionemo_ext.sequences import read_fasta

    by_length = sorted((r.sequence[:MAX_RESIDUES] for r in read_fasta(fasta)), key=len)
    chosen = [by_length[int(i)] for i in np.linspace(0, len(by_length) - 1, number)]
    return [chosen[i] for i in np.random.default_rng(0).permutation(number)]


def write_model(size: str, place: Path, dtype: str, naive: bool) -> Path:
    """Export random weights; gives the repository, the naive model in it where it is wanted."""
    from bionemo_ext.contract import Endpoint, TensorSpec, to_pbtxt
    from bionemo_ext.export import export

    write_random_esm2(place / "encoder", size)
    export(place / "encoder", place / "out", dtype=dtype)
    repository = place / "out" / "triton"
    if naive:
        endpoint = Endpoint(
            NAIVE,
            (TensorSpec("sequence", "TYPE_STRING", (1,)),),
            (TensorSpec("mean", "TYPE_FP32", (SIZES[size][1],)),),
            {"folder": str(place / "encoder"), "dtype": dtype},
        )
        (repository / NAIVE / "1").mkdir(parents=True)
        (repository / NAIVE / "config.pbtxt").write_text(to_pbtxt(endpoint))
        (repository / NAIVE / "1" / "model.py").write_text(NAIVE_MODEL)
    return repository


class Alone:
    """The encoder in a process of its own, which embeds all proteins at each word."""

    def __init__(self, place: Path, options: argparse.Namespace) -> None:
        words = ["--in-process", place, "--threads", options.threads, "--dtype", options.dtype]
        self._place = place
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serving", "--fasta", "-", *map(str, words)],
            env={**os.environ, "OMP_NUM_THREADS": str(options.threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Alone":
        self._read()
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate("")

    def embed(self) -> tuple[float, np.ndarray]:
        """Seconds, and the means [N, H]."""
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return float(self._read()), np.load(self._place / "alone.npy")

    def _read(self) -> str:
        return self._process.stdout.readline()


def in_process(place: Path, dtype: str, threads: int) -> None:
    """Embed all proteins at each line of standard input."""
    import torch

    from bionemo_ext.contract import MAX_TOKENS_PER_PASS
    from bionemo_ext.inference.encoder import Encoder

    torch.set_num_threads(threads)
    encoder = Encoder.load(place / "encoder", dtype)
    sequences = json.loads((place / "proteins.json").read_text())
    found = np.zeros((len(sequences), encoder.hidden_size), dtype=np.float32)

    def run(number: int) -> None:
        for indices, encoded in encoder.embed(sequences[:number], MAX_TOKENS_PER_PASS):
            found[indices] = encoded.mean().float().numpy()

    run(8)
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        run(len(sequences))
        seconds = time.perf_counter() - began
        np.save(place / "alone.npy", found)
        print(seconds, flush=True)


def waits(url: str, endpoint: str, sequences: list[str], at_once: int, number: int) -> dict:
    """Latency in milliseconds and rate, with ``at_once`` clients that do not pause."""
    from bionemo_ext.client import Client

    todo = iter([sequences[i % len(sequences)] for i in range(number + at_once)])
    lock, taken = threading.Lock(), []

    def ask() -> None:
        connection = Client(url)
        while True:
            with lock:
                sequence = next(todo, None)
            if sequence is None:
                break
            began = time.perf_counter()
            connection.infer(endpoint, [sequence], ["mean"])
            taken.append(1e3 * (time.perf_counter() - began))
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(at_once)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    p50, p99 = np.percentile(taken, (50, 99))
    return {
        "p50_ms": round(p50, 1),
        "p99_ms": round(p99, 1),
        "per_s": round(len(taken) / seconds, 2),
    }


if __name__ == "__main__":
    main()
