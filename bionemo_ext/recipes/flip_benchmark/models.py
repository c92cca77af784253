"""What is compared: encoders, and predictors that know nothing of evolution."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from torch import Tensor

from bionemo_ext.contract import Kind
from bionemo_ext.data.progress import Bar
from bionemo_ext.errors import ConfigError
from bionemo_ext.huggingface import Architecture, read_config, weights_digest
from bionemo_ext.inference.task import HeadKind
from bionemo_ext.recipes.finetune import evaluate
from bionemo_ext.recipes.finetune.epochs import Row
from bionemo_ext.recipes.finetune.evaluate import Predictions
from bionemo_ext.recipes.finetune.features import (
    Composition,
    Embeddings,
    Features,
    OneHot,
    cache_folder,
    fill,
    load_encoder,
    open_cache,
)
from bionemo_ext.recipes.finetune.head_training import predict_all, train_head
from bionemo_ext.recipes.finetune.preflight import check
from bionemo_ext.recipes.finetune.prepare import Prepared, model_folder
from bionemo_ext.recipes.finetune.settings import FinetuneSettings
from bionemo_ext.recipes.flip_benchmark.ridge import of_one_length, ridge_predictions

ONE_HOT, COMPOSITION, CONSTANT = "one-hot", "composition", "constant"
OnEpoch = Callable[[Row], None]

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


class Model(Protocol):
    """One row of a task's table."""

    name: str

    def title(self, kind: Kind) -> str:
        """Its name in the table of a task of this kind."""

    def check(self, settings: FinetuneSettings) -> None:
        """Refuse settings that it cannot run with, by a ConfigError."""

    def identity(self, settings: FinetuneSettings) -> dict[str, str]:
        """What its results depend on beside data, head and training."""

    def max_residues(self, wanted: int) -> int:
        """Residues that it takes of a sequence, at most ``wanted``."""

    def fixed(self, prepared: Prepared) -> bool:
        """Whether every seed gives the same."""

    def predict(
        self, prepared: Prepared, settings: FinetuneSettings, on_epoch: OnEpoch, bar: Bar
    ) -> Predictions:
        """Learn the training part and predict the test part."""


class _BuiltIn:
    """Takes sequences of any length and is the same everywhere."""

    name: str

    def title(self, kind: Kind) -> str:
        return self.name

    def check(self, settings: FinetuneSettings) -> None:
        pass

    def identity(self, settings: FinetuneSettings) -> dict[str, str]:
        return {"built_in": self.name}

    def max_residues(self, wanted: int) -> int:
        return wanted

    def fixed(self, prepared: Prepared) -> bool:
        return False


class ConstantModel(_BuiltIn):
    """The training targets' mean or most frequent class, always: what must not be lost to."""

    name = CONSTANT

    def title(self, kind: Kind) -> str:
        """Mean or majority."""
        return f"{evaluate.constant_name(kind)} predictor"

    def fixed(self, prepared: Prepared) -> bool:
        """Nothing is drawn."""
        return True

    def predict(
        self, prepared: Prepared, settings: FinetuneSettings, on_epoch: OnEpoch, bar: Bar
    ) -> Predictions:
        """The same for every protein."""
        return evaluate.constant(prepared)


class OneHotModel(_BuiltIn):
    """The residues themselves.

    Residues have the task's head on one-hot rows. Numbers of proteins of one length, as variants
    are, have ridge regression on the one-hot rows of every position. Other proteins have the task's
    head on the mean of the rows, which is their composition.
    """

    name = ONE_HOT

    def fixed(self, prepared: Prepared) -> bool:
        """Ridge regression has one solution."""
        is_number = prepared.spec.kind is Kind.REGRESSION and not prepared.spec.residues
        return is_number and of_one_length(prepared.sequences)

    def predict(
        self, prepared: Prepared, settings: FinetuneSettings, on_epoch: OnEpoch, bar: Bar
    ) -> Predictions:
        """By head or ridge regression."""
        if self.fixed(prepared):
            train, test = prepared.part("train"), prepared.part("test")
            return ridge_predictions(train.sequences, train.targets, test.sequences)
        features = OneHot() if prepared.spec.sees_residues else Composition()
        return _by_head(prepared, features, settings, on_epoch)


class CompositionModel(_BuiltIn):
    """Shares of the amino acids in the protein.

    Proteins have the task's head. Residues, whose protein's composition is all that is known of
    them, have a linear head.
    """

    name = COMPOSITION

    def predict(
        self, prepared: Prepared, settings: FinetuneSettings, on_epoch: OnEpoch, bar: Bar
    ) -> Predictions:
        """By head."""
        if not prepared.spec.sees_residues:
            return _by_head(prepared, Composition(), settings, on_epoch)
        linear = replace(prepared, spec=replace(prepared.spec, head=HeadKind.LINEAR))
        return _by_head(linear, _OfItsProtein(), settings, on_epoch)


class _OfItsProtein:
    """The protein's composition at every residue, [L, 25]."""

    width = Composition.width
    _composition = Composition()

    def __call__(self, sequence: str) -> Tensor:
        return self._composition(sequence).expand(len(sequence), -1)


@dataclass(frozen=True)
class EncoderModel:
    """A frozen encoder under the task's head.

    Parameters
    ----------
    name : str
        In tables and folders.
    folder : Path
        A Hugging Face folder.
    digest : str
        SHA-256 of its weights.
    architecture : Architecture
        Its shape, and the residues that it was made for.
    """

    name: str
    folder: Path
    digest: str
    architecture: Architecture

    def title(self, kind: Kind) -> str:
        """Its name."""
        return self.name

    def check(self, settings: FinetuneSettings) -> None:
        """Refuse what fine-tuning on it would."""
        check(settings, self.architecture)

    def identity(self, settings: FinetuneSettings) -> dict[str, str]:
        """The weights and how they are used."""
        return {
            "encoder": self.digest,
            "arithmetic": settings.precision.arithmetic.value,
            "cache_dtype": settings.cache.dtype.value,
        }

    def max_residues(self, wanted: int) -> int:
        """At most its own limit."""
        return min(wanted, self.architecture.max_residues)

    def fixed(self, prepared: Prepared) -> bool:
        """The head is drawn."""
        return False

    def predict(
        self, prepared: Prepared, settings: FinetuneSettings, on_epoch: OnEpoch, bar: Bar
    ) -> Predictions:
        """By head on embeddings, which are computed once for all seeds."""
        hidden = self.architecture.hidden
        spec = replace(prepared.spec, input_size=hidden, encoder_digest=self.digest)
        arithmetic = settings.arithmetic
        root = cache_folder(settings.cache.folder)
        with open_cache(root, spec, arithmetic, settings.cache.dtype.value) as cache:
            fill(
                cache,
                lambda: load_encoder(self.folder, arithmetic),
                prepared.sequences,
                settings.max_tokens,
                bar,
            )
            return _by_head(prepared, Embeddings(cache), settings, on_epoch)


def _by_head(
    prepared: Prepared, features: Features, settings: FinetuneSettings, on_epoch: OnEpoch
) -> Predictions:
    spec = replace(prepared.spec, input_size=features.width)
    head = train_head(
        spec,
        prepared.part("train"),
        prepared.part("validation"),
        features,
        settings.training,
        lr=settings.lr,
        seed=settings.seed,
        class_weights=settings.task.class_weights,
        on_epoch=on_epoch,
    )
    return predict_all(spec, head, prepared.part("test").sequences, features)


def choose(words: Sequence[str]) -> list[Model]:
    """Make the models that a user names; the constant predictor always comes first.

    Parameters
    ----------
    words : sequence of str
        ``one-hot``, ``composition``, and folders as ``DIR`` or ``NAME=DIR``: a Hugging Face folder
        or a pretraining run's.

    Raises
    ------
    ConfigError
        If two have the same name.
    CheckpointError
        If a folder holds no encoder.
    """
    built_in = {model.name: model for model in (OneHotModel(), CompositionModel())}
    models: list[Model] = [ConstantModel()]
    for word in words:
        model = built_in.get(word) or _encoder(word)
        if model.name in [other.name for other in models]:
            raise ConfigError(f"two models are called {model.name!r}; NAME=DIR gives another name")
        models.append(model)
    return models


def _encoder(word: str) -> EncoderModel:
    name, _, path = word.rpartition("=")
    folder = model_folder(Path(path))
    run = folder.parent if folder.name == "huggingface" else folder
    name = _NOT_IN_A_NAME.sub("_", name or run.resolve().name)
    return EncoderModel(name, folder, weights_digest(folder), read_config(folder))
