"""Compose a run from ``conf/`` and the user's ``key=value`` words into a typed, frozen object.

Hydra composes, the dataclass of the command says which keys there are and what type each has.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, cast

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bionemo_ext.errors import ConfigError
from bionemo_ext.resources import resource

T = TypeVar("T")


def compose(name: str, overrides: Sequence[str], schema: type[T], folder: Path | None = None) -> T:
    """Build the configuration ``conf/<name>.yaml`` with overrides.

    Parameters
    ----------
    name : str
        The command's file in ``conf/``, for example ``pretrain``.
    overrides : sequence of str
        ``group=choice`` and ``key=value`` words; a later one wins.
    schema : type
        A frozen dataclass: its fields are the keys there may be.
    folder : Path, optional
        Another folder than the shipped ``conf/``.

    Returns
    -------
    object of type ``schema``

    Raises
    ------
    ConfigError
        For a word that is not ``key=value``, an unknown key or choice, a wrong type, or a value
        that must be given and was not.
    """
    for word in overrides:
        if "=" not in word:
            raise ConfigError(f"{word!r} is not of the form key=value")
    folder = (folder or resource("conf")).resolve()
    # A key that no YAML names has its default in the dataclass; ++ lets Hydra set it all the same,
    # and the dataclass refuses what it does not know.
    words = [w if (folder / w.partition("=")[0]).is_dir() else f"++{w}" for w in overrides]
    try:
        with initialize_config_dir(str(folder), version_base="1.3"):
            composed = hydra_compose(name, words)
        return cast(T, OmegaConf.to_object(_merge(schema, composed)))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"configuration of {name}: {_sentence(error)}") from None


def _merge(schema: type, composed: DictConfig) -> DictConfig:
    base = OmegaConf.structured(schema)
    _thaw(base)
    return cast(DictConfig, OmegaConf.merge(base, composed))


def _thaw(node: DictConfig) -> None:
    # A frozen dataclass gives a read-only node, which could not take the composed values.
    OmegaConf.set_readonly(node, False)
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            _thaw(child)


def _sentence(error: Exception) -> str:
    """What went wrong, without the location lines that OmegaConf and Hydra append."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    keep = [line for line in lines if not line.startswith(("object_type=", "reference_type="))]
    key = next((line.partition(": ")[2] for line in keep if line.startswith("full_key: ")), "")
    text = " ".join(line for line in keep if not line.startswith("full_key: "))
    return f"{key}: {text}" if key and key not in text else text
