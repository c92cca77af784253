"""Ridge regression on one-hot residues of every position, for proteins of one length.

The linear model of variants: each substitution adds its own effect.
Letters: N proteins, L residues, K substitutions.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV

# Penalties that leave-one-out error on the training proteins chooses from.
_PENALTIES = np.logspace(-3, 4, 15)


def of_one_length(sequences: Sequence[str]) -> bool:
    """Whether position i means the same residue in all of them."""
    return len(set(map(len, sequences))) == 1


def ridge_predictions(
    train: Sequence[str], targets: Sequence[NDArray[np.floating]], test: Sequence[str]
) -> list[NDArray[np.float32]]:
    """Learn from ``train`` and predict ``test``.

    Columns that are the same in all training proteins say nothing and are left out: of the 265
    positions of GB1, four vary.

    Parameters
    ----------
    train, test : sequence of str
        Proteins of one length.
    targets : sequence of array
        Of ``train``, [] each.

    Returns
    -------
    list of array
        [1] each, in the target's unit.
    """
    letters = _letters(train)
    codes, seen = np.unique(letters + 256 * np.arange(letters.shape[1]), return_counts=True)
    codes = codes[seen < len(train)]
    model = RidgeCV(alphas=_PENALTIES).fit(_columns(letters, codes), np.array(targets, float))
    predicted = model.predict(_columns(_letters(test), codes)).astype(np.float32)
    return list(predicted[:, None])


def _letters(sequences: Sequence[str]) -> NDArray[np.int64]:
    """Letters by number, [N, L]."""
    joined = np.frombuffer("".join(sequences).encode(), np.uint8)
    return joined.reshape(len(sequences), -1).astype(np.int64)


def _columns(letters: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Which proteins have which letter where, [N, K]."""
    return (letters[:, codes // 256] == codes % 256).astype(np.float64)
