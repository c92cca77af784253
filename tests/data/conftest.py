"""A small UniRef with every oddity that the builder knows, and stores made of it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from bionemo_ext.data.uniref.build import Search, UniRefOptions, build_uniref
from bionemo_ext.data.uniref.split import Share

CLUSTERS = 60


class SmallUniRef(NamedTuple):
    """Files, and what stands in them: sequences by name, and each UniRef90 name's cluster."""

    uniref50: Path
    uniref90: Path
    members: Path
    sequences: dict
    cluster_of: dict


@pytest.fixture(scope="session")
def small_uniref(tmp_path_factory):
    """60 clusters; number i has i % 4 members, which are unlike each other and all others."""
    folder = tmp_path_factory.mktemp("uniref")
    rng = np.random.default_rng(3)
    sequences, cluster_of = {}, {}

    def protein():
        return "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), int(rng.integers(5, 60))))

    u50, u90, table = [], [], []
    for i in range(CLUSTERS):
        cluster = f"UniRef50_{i}"
        sequences[cluster] = protein()
        u50.append(f">{cluster} n=1\n{sequences[cluster]}\n")
        for j in range(i % 4):
            member = f"UniRef90_{i}_{j}"
            sequences[member], cluster_of[member] = protein(), cluster
            u90.append(f">{member} n=1\n{sequences[member]}\n")
            table.append(f"{cluster}\t{member}\n")
    rng.shuffle(u90)
    rng.shuffle(table)
    u50 += [">UniRef50_3 repeated\nMKTAYIAK\n", ">UniRef50_empty\n\n"]
    u90 += [">UniRef90_1_0 repeated\nMKTAYIAK\n", ">UniRef90_alone\nMKT1K\n", ">UniRef90_none\n*\n"]
    table += ["UniRef50_3\tUniRef90_1_0\n", "UniRef50_x\tUniRef90_alone\n"]
    table += ["UniRef50_3\tUniRef90_x\n", "UniRef50_x\tUniRef90_x\n"]
    files = folder / "u50.fasta", folder / "u90.fasta", folder / "members.tsv"
    for path, texts in zip(files, (u50, u90, table), strict=True):
        path.write_text("".join(texts))
    return SmallUniRef(*files, sequences, cluster_of)


@pytest.fixture(scope="session")
def build_small(small_uniref):
    """``build_small(out, **options)`` builds a store of it, without a search unless asked for."""

    def build(out, bar=None, **options):
        files = small_uniref.uniref50, small_uniref.uniref90, small_uniref.members
        options = {"search": Search.NONE, "validation": Share(6), **options}
        return build_uniref(UniRefOptions(*files, out, **options), *([bar] if bar else []))

    return build


@pytest.fixture(scope="session")
def small_store(build_small, tmp_path_factory):
    """A store of 54 training clusters, and its description."""
    out = tmp_path_factory.mktemp("store") / "small"
    return out, build_small(out)
