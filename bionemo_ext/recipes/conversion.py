"""One model between Hugging Face, fair-esm and NeMo, recognised by what it is."""

from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download

from bionemo_ext.errors import CheckpointError, InputError, RunError
from bionemo_ext.huggingface import (
    Architecture,
    ESM2Config,
    State,
    check_adapter,
    merge_adapter,
    parameter_count,
    read_adapter,
    read_model,
    weight_files,
    weights_digest,
)
from bionemo_ext.huggingface.tensors import OnBytes
from bionemo_ext.models.convert import from_huggingface, to_huggingface
from bionemo_ext.models.fair_esm import contacts_path, read_fair_esm, write_fair_esm
from bionemo_ext.models.folder import write_folder
from bionemo_ext.recipes.bytes_bar import bytes_bar
from bionemo_ext.recipes.card.origin import PUBLISHED, describe, describe_checkpoint
from bionemo_ext.recipes.checkpoint import WEIGHTS, find_checkpoint, read_checkpoint
from bionemo_ext.recipes.checkpoint import write_checkpoint as write_nemo
from bionemo_ext.recipes.runs import RUN_FILE, is_checkpoint

_DOWNLOADED = ["config.json", "*.safetensors", "*.safetensors.index.json", "pytorch_model*"]


class Form(str, Enum):
    """How a model lies on disk."""

    HUGGINGFACE = "huggingface"
    NEMO = "nemo"
    FAIR_ESM = "fair-esm"


@dataclass(frozen=True)
class Conversion:
    """What was converted, for the command's output."""

    source: Form
    form: Form
    out: str
    family: str
    parameters: int
    dtype: str
    max_residues: int
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "source": self.source.value, "form": self.form.value}


def read_any(source: Path | str) -> tuple[Architecture, State]:
    """Read a model from wherever it is, as architecture and Megatron state.

    Parameters
    ----------
    source : Path or str
        ``facebook/esm2_*``, a Hugging Face folder, a fair-esm ``.pt`` file, a NeMo checkpoint, or
        the folder of a pretraining run, whose newest checkpoint is taken.

    Raises
    ------
    CheckpointError
        If it is none of these, or is damaged.
    RunError
        If a published model can neither be found in the cache nor be downloaded.
    """
    path, form = recognise(source)
    return _read(path, form)


def recognise(source: Path | str) -> tuple[Path, Form]:
    """Say where a model lies and in which form; a published one is downloaded first.

    Raises
    ------
    CheckpointError
        If there is no model of a known form.
    RunError
        If a published model cannot be had.
    """
    path = Path(source)
    if not path.exists():
        if PUBLISHED.fullmatch(str(source)):
            return _download(str(source)), Form.HUGGINGFACE
        raise CheckpointError(
            f"there is no {source}; a folder, a fair-esm .pt file or facebook/esm2_... is needed"
        )
    if path.is_file():
        return path, _form_of_file(path)
    if (path / WEIGHTS).is_dir() or (path / RUN_FILE).is_file() or is_checkpoint(path):
        return find_checkpoint(path), Form.NEMO
    for folder in (path, path / "huggingface"):  # the second lies in what `export` writes
        if (folder / "config.json").is_file():
            return folder, Form.HUGGINGFACE
    raise CheckpointError(
        f"{path} is neither a Hugging Face folder (config.json), nor a NeMo checkpoint "
        f"({WEIGHTS}), nor a run's folder ({RUN_FILE})"
    )


def convert(
    source: Path | str,
    out: Path,
    form: Form,
    *,
    adapter: Path | None = None,
    force: bool = False,
) -> Conversion:
    """Write a model in another form, whole or not at all.

    Parameters
    ----------
    source : Path or str
        See :func:`read_any`.
    out : Path
        A folder, or for fair-esm a ``.pt`` file.
    form : Form
        What to write.
    adapter : Path, optional
        Folder of a LoRA adapter, or of the task that has one; it is merged into the weights.
    force : bool
        Replace what is at ``out``.

    Raises
    ------
    InputError
        If ``out`` exists, or has no name that the form can have.
    CheckpointError
        If the source cannot be read, its model does not exist in the form, or the adapter is of
        other weights.
    RunError
        If a published model cannot be had.
    """
    _check_target(out, form, force)
    path, source_form = recognise(source)
    if out.resolve() in (path.resolve(), *path.resolve().parents):
        raise InputError(f"{out} holds the source {path}; choose another place")
    with bytes_bar("reading", _size(path, source_form)) as on_bytes:
        config, state = _read(path, source_form, on_bytes)
    if adapter is not None:
        digest = weights_digest(path) if source_form is Form.HUGGINGFACE else ""
        state = _merged(config, state, adapter, digest)
    with bytes_bar("writing", sum(t.nbytes for t in state.values()), watch=_partial(out)):
        _write(out, form, config, state)
    if form is not Form.FAIR_ESM:
        (describe if form is Form.HUGGINGFACE else describe_checkpoint)(out, path, str(source))
    dtype = str(state["output_layer.bias"].dtype).removeprefix("torch.")
    return Conversion(
        source=source_form,
        form=form,
        out=str(out),
        family=config.family,
        parameters=parameter_count(config),
        dtype=dtype,
        max_residues=config.max_residues,
        notes=_notes(out, form, config, state),
    )


def _form_of_file(path: Path) -> Form:
    if path.suffix == ".pt":
        return Form.FAIR_ESM
    if path.suffix in (".safetensors", ".bin", ".json"):
        raise CheckpointError(f"{path} is one file of a Hugging Face folder; give the folder")
    raise CheckpointError(f"{path} is not a model: a folder or a fair-esm .pt file is needed")


def _read(path: Path, form: Form, on_bytes: OnBytes | None = None) -> tuple[Architecture, State]:
    if form is Form.NEMO:
        return read_checkpoint(path, on_bytes)
    found = read_fair_esm(path) if form is Form.FAIR_ESM else read_model(path, on_bytes)
    config, state = found
    return config, from_huggingface(state, config)


def _merged(config: Architecture, state: State, folder: Path, digest: str) -> State:
    """Add an adapter to a Megatron state; ``digest`` is that of its weights, if they have one."""
    inner = folder / "adapter"  # in a task's folder
    adapter = read_adapter(inner if inner.is_dir() else folder)
    check_adapter(adapter, config, digest)
    merged = merge_adapter(to_huggingface(state, config), config, adapter)
    return from_huggingface(merged, config)


def _write(out: Path, form: Form, config: Architecture, state: State) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    if form is Form.NEMO:
        write_nemo(out, config, state)
    elif form is Form.HUGGINGFACE:
        write_folder(out, config, state)
    elif isinstance(config, ESM2Config):
        write_fair_esm(out, config, to_huggingface(state, config))
    else:
        raise CheckpointError("fair-esm has no ESM-1nv; choose --to huggingface or --to nemo")


def _check_target(out: Path, form: Form, force: bool) -> None:
    to_file = form is Form.FAIR_ESM
    if to_file and out.suffix != ".pt":
        raise InputError(f"{out} must end in .pt, as fair-esm's files do")
    existing = [path for path in (out, *([contacts_path(out)] if to_file else [])) if path.exists()]
    if existing and not force:
        raise InputError(f"{existing[0]} exists; give --force to replace it")
    if out.exists() and not (out.is_file() if to_file else _is_model_folder(out)):
        raise InputError(f"{out} is no model of the form {form.value}; it is not replaced")


def _is_model_folder(path: Path) -> bool:
    """Whether nothing but a model would be lost with a folder."""
    return path.is_dir() and (
        not any(path.iterdir())
        or (path / "config.json").is_file()
        or ((path / WEIGHTS).is_dir() and not (path / RUN_FILE).exists())
    )


def _notes(out: Path, form: Form, config: Architecture, state: State) -> list[str]:
    notes = []
    if config.max_residues != config.alphabet.max_residues:
        notes.append(
            f"{config.max_positions} positions take {config.max_residues} residues, for the "
            "sequence stands between two special tokens"
        )
    if isinstance(config, ESM2Config) and not state["contact_head.weight"].any():
        notes.append("the contact head is zero: contacts are not predicted")
    if form is Form.FAIR_ESM and not out.name.startswith("esm2"):
        notes.append("fair-esm takes a file for ESM-2 only if its name begins with esm2")
    return notes


def _download(name: str) -> Path:
    try:
        return Path(snapshot_download(name, allow_patterns=_DOWNLOADED))
    except OSError as error:  # all that the library raises here is one
        raise RunError(
            f"{name} is not in the Hugging Face cache and could not be downloaded "
            f"({type(error).__name__}); download it where there is a network, with "
            f"huggingface-cli download {name}, and give the folder"
        ) from None


def _size(path: Path, form: Form) -> int | None:
    if form is Form.HUGGINGFACE:
        return sum(file.stat().st_size for file in weight_files(path))
    return None


def _partial(out: Path) -> Path:
    return out.with_name(f".{out.name}.partial")
