"""Compose a run from ``conf/`` and the user's ``key=value`` words into a typed, frozen object.

Hydra composes the files, the dataclass of the command says which keys there are and what type each
has, and every mistake is one sentence.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError

from bionemo_ext.errors import ConfigError
from bionemo_ext.recipes.config_schema import check, check_limits, hint_of, wrong
from bionemo_ext.resources import resource

T = TypeVar("T")
_WORD = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*)=(.*)", re.DOTALL)


def compose(name: str, overrides: Sequence[str], schema: type[T], folder: Path | None = None) -> T:
    """Build the configuration ``conf/<name>.yaml`` with overrides.

    Parameters
    ----------
    name : str
        The command's file in ``conf/``, for example ``pretrain``.
    overrides : sequence of str
        ``group=choice`` words choose files, of ``conf/`` or, with the ending ``.yaml``, the
        user's own; ``key=value`` words change values, whatever the files
        say. A value is YAML, but where the key takes text it is the text as it stands. Of two words
        for the same key the later wins.
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
        For a word that is not ``key=value``, an unknown key or choice, a wrong type, a value
        outside its limits, or one that must be given and was not.
    """
    folder = (folder or resource("conf")).resolve()
    try:
        groups = _groups(folder / f"{name}.yaml")
        words = [_split(word) for word in overrides]
        chosen = {key: value for key, value in words if key in groups}
        own = {key: _own_file(value) for key, value in chosen.items() if _is_file_name(value)}
        choices = [_choice(folder / k, value) for k, value in chosen.items() if k not in own]
        with initialize_config_dir(str(folder), version_base="1.3"):
            composed = hydra_compose(name, choices)
        OmegaConf.set_struct(composed, False)
        composed.update(own)
        for key, value in words:
            if key not in groups:
                _set(composed, key, value, hint_of(schema, key))
        check(schema, composed, groups)
        merged = _merge(schema, composed)
        missing = sorted(OmegaConf.missing_keys(merged))
        if missing:
            raise ConfigError(f"{' and '.join(missing)} must be given, as {missing[0]}=...")
        settings = cast(T, OmegaConf.to_object(merged))
    except yaml.YAMLError as error:
        raise ConfigError(_yaml_sentence(error)) from None
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_sentence(error, schema)) from None
    check_limits(settings)
    return settings


def _groups(path: Path) -> set[str]:
    """Name the groups that a command's file chooses from."""
    entries = OmegaConf.to_container(OmegaConf.load(path).get("defaults", OmegaConf.create([])))
    return {str(key).split()[-1].lstrip("/") for e in entries if isinstance(e, dict) for key in e}


def _split(word: str) -> tuple[str, str]:
    found = _WORD.fullmatch(word)
    if found is None:
        raise ConfigError(f"{word!r} is not of the form key=value")
    return found[1], found[2]


def _is_file_name(choice: str) -> bool:
    return Path(choice).suffix in (".yaml", ".yml")


def _own_file(name: str) -> DictConfig:
    try:
        loaded = OmegaConf.load(name)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ConfigError(f"the file {name} cannot be read: {reason}") from None
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"the file {name} does not hold keys and values")
    return loaded


def _choice(group: Path, choice: str) -> str:
    known = sorted(path.stem for path in group.glob("*.yaml"))
    if choice not in known:
        raise ConfigError(f"there is no {group.name} {choice!r}; choose one of {', '.join(known)}")
    return f"{group.name}={choice}"


def _set(composed: DictConfig, key: str, text: str, hint: Any) -> None:
    if hint is str or (hint == str | None and text != "null"):
        # An empty text is none: out= must not mean the folder one is in.
        OmegaConf.update(composed, key, text or "???")
        return
    try:
        composed.merge_with_dotlist([f"{key}={text}"])
    except yaml.YAMLError:
        raise ConfigError(wrong(key, text, hint)) from None


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


def _sentence(error: Exception, schema: type) -> str:
    """What went wrong, without the location lines that OmegaConf and Hydra append."""
    key = getattr(error, "full_key", None) or ""
    hint = hint_of(schema, key)
    if isinstance(error, ValidationError) and hint is not None:
        return wrong(key, error.value, hint)
    text = re.split(r"\s+(?:full_key:|Config search path:)", str(error))[0]
    text = " ".join(text.split())
    return f"{key}: {text}" if key and key not in text else text


def _yaml_sentence(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"{mark.name}, line {mark.line + 1}: " if mark else ""
    return place + " ".join(str(getattr(error, "problem", None) or error).split())
