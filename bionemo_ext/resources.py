"""Where ``conf/`` and ``triton_models/`` are: inside an installed package, or beside a checkout's."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def resource(name: str) -> Path:
    """Path of a folder that is shipped with the package.

    Raises
    ------
    FileNotFoundError
        If the installation lacks it.
    """
    for folder in (_PACKAGE / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the folder {name!r} is missing from this installation")
