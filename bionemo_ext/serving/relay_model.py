"""An endpoint that passes on outputs of the encoder's: a task, logits, contacts.

One request there for each one here, so that the encoder's batcher sees them all; residue
embeddings never leave the encoder's process.
"""

import json
from typing import Any

import triton_python_backend_utils as pb_utils

from bionemo_ext.contract import SEQUENCE
from bionemo_ext.serving.thin_model import Arrays, ThinModel


class RelayModel(ThinModel):
    """Triton's ``TritonPythonModel`` of every task, of logits and of contacts."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read what the encoder's endpoint calls our outputs, where it has another name."""
        super().initialize(args)
        self._theirs: dict[str, str] = json.loads(self.parameters.get("answers", "{}"))

    async def answer(self, request: Any) -> Arrays:
        """Pass the request on."""
        ours = request.requested_output_names()
        theirs = [self._theirs.get(name, name) for name in ours]
        sequences = pb_utils.get_input_tensor_by_name(request, SEQUENCE)
        arrays = await self.ask(request, sequences, theirs)
        return {name: arrays[other] for name, other in zip(ours, theirs, strict=True)}
