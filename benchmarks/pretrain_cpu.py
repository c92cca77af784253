"""Pretraining on a CPU: this project packed and padded, and a plain loop over transformers.

    python -m benchmarks.pretrain_cpu --fasta proteins.fasta.gz

All three train the 8M recipe's model on the same batches (the same proteins, crops and masks in the
same order) with AdamW in fp32, each in a process of its own, one after the other, round by round.
Ours is the real command with everything that it does beside the arithmetic. What is told is the
median over the rounds of real tokens a second, without a run's first step, and their ratios.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RECIPE = [
    "recipe=esm2_8m", "precision=fp32", "parallel=single", "data=fasta", "data.workers=0",
    "data.max_residues=1022", "checkpoint_every=1000000", "async_checkpoints=false",
]  # fmt: skip
SEED = 42  # the recipe's
VALIDATION = 0.001


def ours(fasta: Path, sequences: int, steps: int, packing: bool) -> float:
    """Real tokens a second of ``bionemo-ext pretrain``."""
    with tempfile.TemporaryDirectory() as folder:
        words = [
            *RECIPE, f"data.train={fasta}", f"data.validation_fraction={VALIDATION}",
            f"seed={SEED}", f"micro_batch={sequences}", f"global_batch={sequences}",
            f"steps={steps}", f"validate_every={steps}", f"packing={str(packing).lower()}",
            f"out={folder}/run",
        ]  # fmt: skip
        subprocess.run(
            [sys.executable, "-m", "bionemo_ext", "pretrain", *words],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if "loss" in row]
    first, last = rows[0], rows[-1]
    return (last["tokens"] - first["tokens"]) / (last["seconds"] - first["seconds"])


def transformers_loop(fasta: Path, sequences: int, steps: int) -> float:
    """Real tokens a second of the shortest training loop that does the same."""
    import torch
    from torch.utils.data import DataLoader
    from transformers import EsmConfig, EsmForMaskedLM

    from bionemo_ext.data.batches import collate
    from bionemo_ext.data.dataset import MaskedDataset
    from bionemo_ext.data.store import SequenceStore
    from bionemo_ext.sequences import ESM2

    train, _ = SequenceStore.from_fasta(fasta).split(VALIDATION, SEED)
    stream = MaskedDataset(train, steps * sequences, SEED, ESM2.max_residues)
    batches = DataLoader(stream, sequences, collate_fn=lambda s: collate(s, ESM2.pad_id))
    torch.manual_seed(SEED)
    model = EsmForMaskedLM(
        EsmConfig(
            vocab_size=33, hidden_size=320, num_hidden_layers=6, num_attention_heads=20,
            intermediate_size=1280, position_embedding_type="rotary", token_dropout=True,
            mask_token_id=32, pad_token_id=1, layer_norm_eps=1e-5, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    ).train()  # fmt: skip
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=4e-4, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.01
    )
    seen, began = 0, 0.0
    for step, batch in enumerate(batches):
        labels = batch["labels"].masked_fill(batch["loss_mask"] == 0, -100)
        loss = model(batch["tokens"], batch["attention_mask"], labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step:
            seen += int(batch["attention_mask"].sum())
        else:
            began = time.perf_counter()
    return seen / (time.perf_counter() - began)


def _apart(name: str, options: argparse.Namespace) -> float:
    """Run one contestant as its own process and read its rate."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.pretrain_cpu", "--only", name,
         "--fasta", str(options.fasta), "--sequences", str(options.sequences),
         "--steps", str(options.steps)],
        check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    return float(done.stdout.split()[-1])


CONTESTANTS = {
    "packed": lambda o: ours(o.fasta, o.sequences, o.steps, packing=True),
    "padded": lambda o: ours(o.fasta, o.sequences, o.steps, packing=False),
    "transformers": lambda o: transformers_loop(o.fasta, o.sequences, o.steps),
}


def main() -> None:
    """Compare, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fasta", type=Path, required=True)
    parser.add_argument("--sequences", type=int, default=16, help="of a batch")
    parser.add_argument("--steps", type=int, default=6, help="of a run; the first is not counted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(CONTESTANTS[options.only](options))
        return
    rates: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for number in range(options.rounds):
        for name, found in rates.items():
            found.append(_apart(name, options))
            print(f"round {number + 1}  {name:<13} {found[-1]:8,.0f} tokens/s", flush=True)
    median = {name: statistics.median(found) for name, found in rates.items()}
    for name, rate in median.items():
        print(f"median   {name:<13} {rate:8,.0f} tokens/s")
    print(f"packed to transformers {median['packed'] / median['transformers']:.2f}")
    print(f"padded to transformers {median['padded'] / median['transformers']:.2f}")
    print(f"packed to padded       {median['packed'] / median['padded']:.2f}")


if __name__ == "__main__":
    main()
