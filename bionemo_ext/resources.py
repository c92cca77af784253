"""Where files shipped with the package are, installed or in a checkout."""

from pathlib import Path

from bionemo_ext.errors import DataError

_PACKAGE = Path(__file__).parent


def resource(name: str) -> Path:
    """Path of a folder that is shipped with the package.

    ``conf`` and ``triton_models`` lie inside an installed package and beside a checkout's.

    Raises
    ------
    FileNotFoundError
        If the installation lacks it.
    """
    for folder in (_PACKAGE / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the folder {name!r} is missing from this installation")


def data_path(name: str) -> Path:
    """Path of a data file or folder: the user's own, else one of the demo's by that name.

    Raises
    ------
    DataError
        If there is neither.
    """
    for path in (Path(name), resource("demo/data") / name):
        if path.exists():
            return path
    raise DataError(f"there is no data file or folder {name}")
