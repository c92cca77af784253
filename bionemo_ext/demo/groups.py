"""Near-duplicate proteins, found by the words of four residues that they share."""

from collections import Counter, defaultdict
from collections.abc import Sequence

_WORD = 4
# Two unrelated proteins of 300 residues share about 0.5 of their 300 words by chance. A share of
# 10% of the shorter one's words is what about 56% identity gives (0.1 ** (1 / 4) = 0.56); below
# that, chains through repeats and short proteins join half of all proteins to one group.
_SHARE = 0.1


def similar_groups(sequences: Sequence[str]) -> list[int]:
    """Give each protein the number of its group; two alike, directly or by a chain, share it.

    Alike are proteins that have at least a tenth of the shorter one's distinct words of four
    residues in common. It is a quick stand-in for clustering by identity, enough to keep
    near-duplicates on one side of a split.

    Parameters
    ----------
    sequences : sequence of str
        The residues of each protein.

    Returns
    -------
    list of int
        For each protein the index of the first protein of its group.
    """
    words = [{s[i : i + _WORD] for i in range(len(s) - _WORD + 1)} for s in sequences]
    owners: defaultdict[str, list[int]] = defaultdict(list)
    parent = list(range(len(sequences)))
    for index, own in enumerate(words):
        shared = Counter(other for word in own for other in owners[word])
        for other, count in shared.items():
            if count >= _SHARE * max(1, min(len(own), len(words[other]))):
                parent[_root(parent, index)] = _root(parent, other)
        for word in own:
            owners[word].append(index)
    first: dict[int, int] = {}
    return [first.setdefault(_root(parent, i), i) for i in range(len(sequences))]


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index
