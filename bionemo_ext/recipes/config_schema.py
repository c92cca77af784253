"""What the dataclass of a command says of its keys, and sentences for keys it does not have."""

from collections.abc import Callable, Collection
from dataclasses import field, fields, is_dataclass
from difflib import get_close_matches
from enum import Enum
from types import NoneType
from typing import Any, get_args, get_type_hints

from omegaconf import MISSING, DictConfig, OmegaConf

from bionemo_ext.errors import ConfigError

_IN_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def check(schema: type, composed: DictConfig, groups: Collection[str]) -> None:
    """Refuse unknown keys, and turn an enum's value, which users write, into its name.

    Parameters
    ----------
    schema : type
        The dataclass of the command.
    composed : DictConfig
        Changed in place, because OmegaConf reads the names of an enum only.
    groups : collection of str
        What else may be written before ``=``: the groups that choose a file.

    Raises
    ------
    ConfigError
        For an unknown key, a single value where a section is needed, or an unknown choice.
    """
    _check(schema, composed, "", lambda key: _unknown(key, schema, groups))


def _check(schema: Any, node: DictConfig, path: str, unknown: Callable[[str], str]) -> None:
    hints = get_type_hints(schema)
    for name in map(str, list(node)):
        key = f"{path}{name}"
        if name not in hints:
            raise ConfigError(unknown(key))
        if OmegaConf.is_missing(node, name):
            continue
        hint = _plain(hints[name])
        if is_dataclass(hint):
            if not isinstance(node[name], DictConfig):
                raise ConfigError(_not_a_section(key, hint))
            _check(hint, node[name], f"{key}.", unknown)
        elif isinstance(hint, type) and issubclass(hint, Enum) and node[name] is not None:
            names = {choice.value: choice.name for choice in hint}
            value = node[name]
            if not isinstance(value, str) or value not in names:
                raise ConfigError(wrong(key, value, hint))
            node[name] = names[value]


def limited(low: float, high: float | None = None, *, default: Any = MISSING) -> Any:
    """Field of a dataclass whose value must be at least ``low`` and at most ``high``."""
    return field(default=default, metadata={"low": low, "high": high})


def check_limits(settings: Any, path: str = "") -> None:
    """Refuse a value outside the limits of its field.

    Raises
    ------
    ConfigError
        Names the first such key.
    """
    for one in fields(settings):
        key, value = f"{path}{one.name}", getattr(settings, one.name)
        if is_dataclass(value):
            check_limits(value, f"{key}.")
        low, high = one.metadata.get("low"), one.metadata.get("high")
        if value is None:
            continue
        if low is not None and not value >= low:
            raise ConfigError(f"{key} is {value}, but it must be at least {low}")
        if high is not None and not value <= high:
            raise ConfigError(f"{key} is {value}, but it must be at most {high}")


def hint_of(schema: type, key: str) -> Any:
    """Type of a dotted key; None if there is no such key."""
    hint: Any = schema
    for part in key.split("."):
        hints = get_type_hints(hint) if is_dataclass(hint) else {}
        if part not in hints:
            return None
        hint = hints[part]
    return hint


def in_words(hint: Any) -> str:
    """What a value of a type is called in a sentence."""
    plain = _plain(hint)
    if isinstance(plain, type) and issubclass(plain, Enum):
        return " or ".join(str(choice.value) for choice in plain)
    if getattr(plain, "__origin__", None) is list:
        return "a list such as [1, 2]"
    return _IN_WORDS.get(plain, "another value")


def wrong(key: str, value: object, hint: Any) -> str:
    """Sentence for a value of another type than ``hint``."""
    shown = "empty" if value is None or value == "" else repr(value)
    return f"{key} is {shown}, but {in_words(hint)} is needed"


def _plain(hint: Any) -> Any:
    """``X`` of ``X | None``."""
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    return kinds[0] if NoneType in get_args(hint) and len(kinds) == 1 else hint


def _not_a_section(key: str, section: Any) -> str:
    first = next(iter(get_type_hints(section)))
    return f"{key} is a section of keys and not a value; set one of them, as {key}.{first}=..."


def _keys(schema: Any, path: str = "") -> list[str]:
    found = []
    for name, hint in get_type_hints(schema).items():
        plain = _plain(hint)
        found += _keys(plain, f"{path}{name}.") if is_dataclass(plain) else [f"{path}{name}"]
    return found


def _unknown(key: str, whole: type, groups: Collection[str]) -> str:
    if key in groups:
        return f"{key} chooses a file, as {key}=NAME, and has no keys of its own"
    known = [*_keys(whole), *groups]
    section, _, last = key.rpartition(".")
    here = [name for name in known if name.startswith(f"{section}.")] if section else known
    near = _alike(last, here) or _alike(last, known)
    if near:
        return f"there is no key {key}; did you mean {' or '.join(near)}?"
    names = here if section else dict.fromkeys(name.partition(".")[0] for name in known)
    return f"there is no key {key}; there are {', '.join(names)}"


def _alike(last: str, known: list[str]) -> list[str]:
    """Return the known keys whose last part holds ``last``, or else is most like it."""
    parts = {name: name.rpartition(".")[2] for name in known}
    holding = [name for name in known if last in parts[name]] if len(last) > 1 else []
    near = get_close_matches(last, set(parts.values()), n=1, cutoff=0.7)
    same = [name for name in known if parts[name] == last]
    return same or holding or [name for name in known if parts[name] in near]
