"""The part of a model card that shows how to use a model."""

from collections.abc import Mapping
from typing import Any

_ESM2 = """```python
import torch
from transformers import AutoTokenizer, EsmForMaskedLM

tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
model = EsmForMaskedLM.from_pretrained("path/to/this/folder").eval()
batch = tokenizer(["MKTVRQGLLAW"], return_tensors="pt")
with torch.no_grad():
    output = model(**batch, output_hidden_states=True)
embedding = output.hidden_states[-1][0, 1:-1]  # a row for each residue
```

or, without padding and transformers:

```bash
bionemo-ext export path/to/this/folder --out model && bionemo-ext serve model
```"""

_ESM1NV = """```python
import torch
from transformers import AutoTokenizer, MegatronBertModel

tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
model = MegatronBertModel.from_pretrained("path/to/this/folder", add_pooling_layer=False).eval()
batch = tokenizer(["MKTVRQGLLAW"], return_tensors="pt")
with torch.no_grad():
    output = model(batch["input_ids"], batch["attention_mask"])
embedding = output.last_hidden_state[0, 1:-1]  # a row for each residue
```

The LM head lies under MegatronBert's names but has the erf GELU (`bionemo_ext` in `config.json`),
where `MegatronBertForMaskedLM` computes the tanh form."""


def loading(model: Mapping[str, Any]) -> list[str]:
    """Lines of code that load a model."""
    return [_ESM2 if model["family"] == "esm2" else _ESM1NV]
