"""The endpoint of mutation effects: it asks for logits, and computes what is small itself."""

from typing import Any

from numpy.typing import NDArray

from bionemo_ext.contract import METHOD, MUTANTS, SEQUENCE
from bionemo_ext.serving.mutation_effects import MutationEffects
from bionemo_ext.serving.thin_model import Arrays, ThinModel, strings
from bionemo_ext.serving.triton_io import read_input


class MutationModel(ThinModel):
    """Triton's ``TritonPythonModel`` of ``esm2_mutation_effect``."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the limits."""
        super().initialize(args)
        self._effects = MutationEffects(
            self.parameters["alphabet"], int(self.parameters["max_residues"])
        )

    async def answer(self, request: Any) -> Arrays:
        """Scan or score every sequence of the request."""

        async def ask(texts: list[str], output: str) -> NDArray[Any]:
            return (await self.ask(request, strings(texts), [output]))[output]

        inputs = (read_input(request, name) for name in (SEQUENCE, METHOD, MUTANTS))
        sequences, methods, mutants = inputs
        outputs = request.requested_output_names()
        return await self._effects.answer(sequences or [], methods, mutants, outputs, ask)
