"""A folder as `bionemo-ext export` leaves it, for the pods of these tests."""

import sys
from pathlib import Path

import pytest

# operating, gateway_process and certificates: what runs servers there runs the pods here.
sys.path.extend(str(Path(__file__).parents[1] / "server" / name) for name in ("", "gateway"))


@pytest.fixture(scope="session")
def out(tiny_hf_folder, tmp_path_factory):
    """OUT of an export: ``huggingface`` and ``triton``."""
    from bionemo_ext.export import export

    folder = tmp_path_factory.mktemp("export") / "out"
    export(tiny_hf_folder, folder)
    return folder
