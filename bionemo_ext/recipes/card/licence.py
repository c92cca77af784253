"""Under which terms the weights of a model stand, as far as that is known."""

from importlib import metadata
from typing import Any

UNKNOWN = "unknown"  # the Hugging Face Hub's own word for it


def licence_facts(published: str | None) -> dict[str, str]:
    """Licence of a model that we trained, or of one that somebody published.

    Parameters
    ----------
    published : str or None
        Name of a published model, such as ``facebook/esm2_t6_8M_UR50D``; None for our own run.

    Returns
    -------
    dict
        ``id`` as the Hugging Face Hub writes it, and ``text``.
    """
    if published is None:
        return _own()
    if published.startswith("facebook/esm2_"):
        return {"id": "mit", "text": f"MIT, as Meta published {published}."}
    return {"id": UNKNOWN, "text": "The licence of the weights that this model came from holds; it "
            "is not known here."}  # fmt: skip


def _own() -> dict[str, Any]:
    try:
        code = metadata.metadata("bionemo-ext")["License-Expression"]
    except metadata.PackageNotFoundError:
        code = None
    text = (
        f"The code that trained the model is under {code or 'a licence that is not known here'}. "
        "No licence of the weights was stated in the run. Weights made from UniProt or UniRef data "
        "carry its attribution: UniProt Consortium, CC BY 4.0."
    )
    return {"id": code.lower() if code else UNKNOWN, "text": text}
