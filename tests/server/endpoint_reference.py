"""What the endpoints must answer, worked out with transformers, and a bare way to ask them."""

import re

import numpy as np
import torch
import tritonclient.grpc as triton
from transformers import EsmForMaskedLM

from bionemo_ext.sequences import ESM2

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
TOLERANCE = {"rtol": 0, "atol": 1e-4}


def proteins(count, seed, longest=40, letters=AMINO_ACIDS):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(letters), rng.integers(1, longest + 1))) for _ in range(count)]


def with_masks(sequence, seed):
    rng = np.random.default_rng(seed)
    return "".join("<mask>" if rng.random() < 0.2 else letter for letter in sequence)


def string_tensor(name, values):
    tensor = triton.InferInput(name, [len(values), 1], "BYTES")
    column = np.array([value.encode() for value in values], dtype=np.object_).reshape(-1, 1)
    tensor.set_data_from_numpy(column)
    return tensor


class Asking:
    """Requests to a server without the project's client between."""

    def __init__(self, url):
        self.raw = triton.InferenceServerClient(url.removeprefix("grpc://"))

    def __call__(
        self, endpoint, sequences, *outputs, layer=None, method=None, mutants=None, **words
    ):
        inputs = [string_tensor("sequence", sequences)]
        if layer is not None:
            tensor = triton.InferInput("layer", [len(sequences), 1], "INT32")
            tensor.set_data_from_numpy(np.array(layer, dtype=np.int32).reshape(-1, 1))
            inputs.append(tensor)
        if method is not None:
            inputs.append(string_tensor("method", [method] * len(sequences)))
        if mutants is not None:
            inputs.append(string_tensor("mutants", mutants))
        wanted = [triton.InferRequestedOutput(name) for name in outputs]
        reply = self.raw.infer(endpoint, inputs, outputs=wanted, **words)
        found = [reply.as_numpy(name) for name in outputs]
        return found[0] if len(found) == 1 else found


class Reference:
    """transformers on one sequence at a time, which may have masks."""

    def __init__(self, folder):
        self.model = EsmForMaskedLM.from_pretrained(folder, attn_implementation="eager").eval()
        self.columns = [ESM2.ids[letter] for letter in AMINO_ACIDS]

    def tokens(self, sequence):
        letters = re.findall("<mask>|.", sequence)
        ids = [ESM2.bos_id, *(ESM2.ids[letter] for letter in letters), ESM2.eos_id]
        return torch.tensor([ids])

    @torch.inference_mode()
    def logits(self, sequence):
        tokens = self.tokens(sequence)
        return self.model(tokens, torch.ones_like(tokens)).logits[0, 1:-1].numpy()

    @torch.inference_mode()
    def layer(self, sequence, layer):
        tokens = self.tokens(sequence)
        out = self.model(tokens, torch.ones_like(tokens), output_hidden_states=True)
        hidden = out.hidden_states[layer][0]
        residues = hidden[1:-1]
        pooled = {"mean": residues.mean(0), "cls": hidden[0], "max": residues.amax(0)}
        return {name: t.numpy() for name, t in {**pooled, "residues": residues}.items()}

    @torch.inference_mode()
    def contacts(self, sequence):
        tokens = self.tokens(sequence)
        return self.model.predict_contacts(tokens, torch.ones_like(tokens))[0].numpy()

    def effects(self, sequence, masked_sites):
        """log p(mutant) - log p(wild type) [L, 20] with some sites masked."""
        masked = [
            "<mask>" if site in masked_sites else letter for site, letter in enumerate(sequence)
        ]
        logits = torch.from_numpy(self.logits("".join(masked)))
        log_p = logits.log_softmax(-1).numpy()
        wild = log_p[range(len(sequence)), [ESM2.ids[letter] for letter in sequence]]
        return log_p[:, self.columns] - wild[:, None]

    def scan(self, sequence, method):
        if method == "wildtype":
            return self.effects(sequence, ())
        rows = [self.effects(sequence, {site})[site] for site in range(len(sequence))]
        return np.array(rows)

    def score(self, sequence, variant, method):
        parts = [(part[-1], int(part[1:-1]) - 1) for part in variant.split(":")]
        masked = {site for _, site in parts} if method == "masked" else ()
        effects = self.effects(sequence, masked)
        return sum(effects[site, AMINO_ACIDS.index(mutant)] for mutant, site in parts)


def variants(sequence, seed, count=6, sites=3):
    """Some variants of one to a few sites, the first and the last residue among them."""
    rng = np.random.default_rng(seed)
    ends = [{0}, {len(sequence) - 1}, {0, len(sequence) - 1}]
    sets = [set(rng.choice(len(sequence), min(sites, len(sequence)))) for _ in range(count)]
    return [
        ":".join(
            f"{sequence[i]}{i + 1}{rng.choice(list(AMINO_ACIDS))}" for i in rng.permutation(list(s))
        )
        for s in [*ends, *sets]
    ]
