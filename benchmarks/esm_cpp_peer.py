"""What esm-cpp does in ``inference_cpu.py``; in an environment apart, esm-cpp and numpy alone."""

import argparse
import itertools
import json
import time
from pathlib import Path

import esm_cpp
import numpy as np


def main() -> None:
    """Time one pass over all proteins with its own scheduler, and keep the logits."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", choices=["esm-cpp fp32", "esm-cpp int8"], required=True)
    options = parser.parse_args()
    packed = np.load(options.work / "tokens.npz")
    offsets = packed["offsets"]
    tokens = [packed["tokens"][a:b].astype(np.int32) for a, b in itertools.pairwise(offsets)]
    model = esm_cpp.Model.load_from_safetensors(str(options.work / "model" / "model.safetensors"))
    if options.only.endswith("int8"):
        model.quantize_weights()
    model.forward_scheduled(tokens[:8])
    began = time.perf_counter()
    logits = model.forward_scheduled(tokens)
    rate = sum(map(len, tokens)) / (time.perf_counter() - began)
    np.savez(options.work / f"{options.only}.npz", logits=np.concatenate(logits))
    print(json.dumps({"rate": rate}))


if __name__ == "__main__":
    main()
