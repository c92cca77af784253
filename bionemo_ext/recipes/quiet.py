"""Keep the libraries' chatter off the screen, so that a run's own lines can be read.

``BIONEMO_EXT_VERBOSE=1`` lets everything through.
"""

import logging
import os
import warnings

# Of an import inside PyTorch, once a process; nothing that a user of this package can mend.
_PYNVML = "The pynvml package is deprecated"


def quieten() -> None:
    """Call before PyTorch, Lightning, Megatron and NeMo are imported."""
    if os.environ.get("BIONEMO_EXT_VERBOSE"):
        return
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore", message=_PYNVML, category=FutureWarning)
    for module in ("lightning", "nemo", "megatron", "torch.distributed", "torch.overrides"):
        warnings.filterwarnings("ignore", module=module.replace(".", r"\."))
    # Checkpoint writers are processes of their own and import PyTorch again.
    os.environ.setdefault("PYTHONWARNINGS", f"ignore:{_PYNVML}:FutureWarning")
