"""Compose a run from ``conf/`` and the user's ``key=value`` words into a typed, frozen object.

Hydra composes, the dataclass of the command says which keys there are and what type each has.
"""

from collections.abc import Sequence
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from typing import TypeVar, cast, get_args, get_type_hints

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
    _name_choices(schema, composed, "")
    base = OmegaConf.structured(schema)
    _thaw(base)
    return cast(DictConfig, OmegaConf.merge(base, composed))


def _name_choices(schema: type, node: DictConfig, path: str) -> None:
    """Turn an enum's value, which users write, into its name, which OmegaConf reads."""
    for key, hint in get_type_hints(schema).items():
        if key not in node or node._is_missing(key):
            continue
        kinds = [hint, *get_args(hint)]
        choices = next((k for k in kinds if isinstance(k, type) and issubclass(k, Enum)), None)
        if choices is not None and node[key] is not None:
            names = {choice.value: choice.name for choice in choices}
            if node[key] not in names:
                raise ConfigError(f"{path}{key} is {node[key]!r}; {' or '.join(names)} is needed")
            node[key] = names[node[key]]
        elif is_dataclass(hint) and isinstance(node[key], DictConfig):
            _name_choices(cast(type, hint), node[key], f"{path}{key}.")


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
