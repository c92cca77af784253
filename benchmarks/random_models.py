"""Random ESM-2 models of the published shapes, which the benchmarks measure."""

from pathlib import Path

# Layers, hidden size, attention heads.
SIZES = {"8m": (6, 320, 20), "35m": (12, 480, 20), "150m": (30, 640, 20), "650m": (33, 1280, 20)}


def write_random_esm2(folder: Path, size: str, seed: int = 0) -> None:
    """Write a random ESM-2 as transformers writes one.

    The weights are those of its initialisation, and noise on biases and LayerNorms: at 0 and 1,
    where it leaves them, an error in them would not show.

    Parameters
    ----------
    folder : Path
        Where ``config.json`` and ``model.safetensors`` go.
    size : str
        A key of ``SIZES``.
    seed : int
        The same seed gives the same weights.
    """
    import torch
    from transformers import EsmConfig, EsmForMaskedLM

    torch.manual_seed(seed)
    layers, hidden, heads = SIZES[size]
    model = EsmForMaskedLM(
        EsmConfig(
            vocab_size=33, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
            intermediate_size=4 * hidden, position_embedding_type="rotary", token_dropout=True,
            mask_token_id=32, pad_token_id=1, layer_norm_eps=1e-5, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0, max_position_embeddings=1026,
        )
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
