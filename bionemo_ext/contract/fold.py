"""The endpoint that folds: one protein in, its structure and how far it can be trusted out."""

from bionemo_ext.contract import names
from bionemo_ext.contract.endpoint import Endpoint, QueuePolicy, TensorSpec

FOLD = "esmfold"
PDB = "pdb"
PLDDT = "plddt"
PAE = "pae"
PTM = "ptm"
# Beside the endpoint's model.py: a Hugging Face folder.
FOLD_FOLDER = "model"

# A long protein takes minutes: few in one request, and few that wait, for long.
MAX_FOLDS = 8
MAX_FOLD_RESIDUES = 1024
# Rows of the pair representation at once; the default of the published configuration.
FOLD_CHUNK_SIZE = 128
_QUEUE = QueuePolicy(64, 3600, by_triton=True)


def fold_endpoint(
    max_residues: int = MAX_FOLD_RESIDUES,
    *,
    chunk_size: int = FOLD_CHUNK_SIZE,
    dtype: str = "float32",
    digest: str = "",
) -> Endpoint:
    """Describe the endpoint that folds, ``esmfold``.

    ``pdb`` STRING [1], its B-factors the pLDDT of each atom; ``plddt`` FP32 [L] of each alpha
    carbon, 0 to 100; ``pae`` FP32 [L, L], predicted aligned error in angstrom; ``ptm`` FP32 [1],
    predicted TM-score.

    Parameters
    ----------
    max_residues : int
        Residues a protein may have; memory grows with the square of their number, time with the
        cube.
    chunk_size : int
        Rows of the pair representation that attention takes at once, 0 for all: fewer need less
        memory, and more time.
    dtype : {"float32", "bfloat16", "float16"}
        Precision of the language model; the folding trunk's is float32.
    digest : str
        SHA-256 of the weights, by which users tell models apart.
    """
    return Endpoint(
        FOLD,
        (TensorSpec(names.SEQUENCE, "TYPE_STRING", (1,)),),
        (
            TensorSpec(PDB, "TYPE_STRING", (1,)),
            TensorSpec(PLDDT, "TYPE_FP32", (-1,)),
            TensorSpec(PAE, "TYPE_FP32", (-1, -1)),
            TensorSpec(PTM, "TYPE_FP32", (1,)),
            TensorSpec(names.LENGTH, "TYPE_INT32", (1,)),
        ),
        {
            "chunk_size": str(chunk_size),
            "digest": digest,
            "dtype": dtype,
            "max_residues": str(max_residues),
        },
        max_batch_size=MAX_FOLDS,
        queue=_QUEUE,
        on_gpu=True,
    )
