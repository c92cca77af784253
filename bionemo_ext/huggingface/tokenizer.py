"""The files from which ``transformers.AutoTokenizer`` tokenizes as our alphabets do."""

import json

from bionemo_ext.huggingface.config import Architecture
from bionemo_ext.sequences import ESM2, Alphabet


def tokenizer_files(config: Architecture) -> dict[str, str]:
    """Text of every tokenizer file of a model, by its name."""
    alphabet = config.alphabet
    special = {
        "cls_token": alphabet.bos,
        "eos_token": alphabet.eos,
        "pad_token": alphabet.pad,
        "mask_token": alphabet.mask,
        "unk_token": alphabet.unk,
    }
    settings = {
        **special,
        "model_max_length": config.max_positions,
        "clean_up_tokenization_spaces": True,
    }
    if alphabet is ESM2:
        settings["tokenizer_class"] = "EsmTokenizer"
        files = {"vocab.txt": "\n".join(alphabet.tokens)}
    else:
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
        files = {"tokenizer.json": _text(_rules(alphabet))}
    return files | {
        "special_tokens_map.json": _text(special),
        "tokenizer_config.json": _text(settings),
    }


def _rules(alphabet: Alphabet) -> dict:
    """Rules of the ``tokenizers`` library: one token a letter, ``bos`` before, ``eos`` behind."""
    bos, eos = alphabet.bos, alphabet.eos
    special = (alphabet.unk, bos, eos, alphabet.pad, alphabet.mask)
    piece = {"SpecialToken": {"id": bos, "type_id": 0}}
    end = {"SpecialToken": {"id": eos, "type_id": 0}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": alphabet.ids[token],
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for token in special
        ],
        "normalizer": {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": ""},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": "."},
            "behavior": "Isolated",
            "invert": False,
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [piece, {"Sequence": {"id": "A", "type_id": 0}}, end],
            "pair": [
                *(piece, {"Sequence": {"id": "A", "type_id": 0}}, end),
                *({"Sequence": {"id": "B", "type_id": 0}}, end),
            ],
            "special_tokens": {
                token: {"id": token, "ids": [alphabet.ids[token]], "tokens": [token]}
                for token in (bos, eos)
            },
        },
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": dict(alphabet.ids),
            "unk_token": alphabet.unk,
        },
    }


def _text(value: dict) -> str:
    return json.dumps(value, indent=2) + "\n"
