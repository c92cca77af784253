"""Configurations are composed as written, and every mistake is one sentence that helps."""

from dataclasses import dataclass, field
from enum import Enum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import MISSING

from bionemo_ext.data.store import Crop
from bionemo_ext.errors import ConfigError
from bionemo_ext.recipes.config import compose
from bionemo_ext.recipes.settings import Arithmetic, PretrainSettings
from bionemo_ext.resources import resource


class Animal(str, Enum):
    CAT = "cat"
    DOG = "dog"


@dataclass(frozen=True)
class Inner:
    size: int = MISSING
    rate: float = 0.5
    names: list[int] = field(default_factory=lambda: [1, 2])


@dataclass(frozen=True)
class Outer:
    model: Inner = field(default_factory=Inner)
    animal: Animal = Animal.CAT
    other: Animal | None = None
    out: str = MISSING
    note: str | None = None
    fast: bool = False
    steps: int = 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conf")
    (folder / "model").mkdir()
    (folder / "recipe").mkdir()
    (folder / "run.yaml").write_text("defaults: [{model: small}, {recipe: plain}, _self_]\n")
    (folder / "model/small.yaml").write_text("size: 1\n")
    (folder / "model/large.yaml").write_text("size: 100\nrate: 0.1\n")
    (folder / "model/extra.yaml").write_text("size: 1\nsiez: 2\n")
    (folder / "model/broken.yaml").write_text("size: 1\nrate: [1\n")
    (folder / "model/twice.yaml").write_text("size: 1\nsize: 2\n")
    (folder / "recipe/plain.yaml").write_text("# @package _global_\nsteps: 5\n")
    (folder / "recipe/big.yaml").write_text(
        "# @package _global_\ndefaults: [{override /model: large}]\nsteps: 50\nanimal: dog\n"
    )
    (folder / "recipe/lost.yaml").write_text(
        "# @package _global_\ndefaults: [{override /model: nowhere}]\n"
    )
    return folder


@pytest.fixture(scope="module")
def run(folder):
    return lambda *words: compose("run", words, Outer, folder)


def test_files_then_recipe_then_words(run):
    assert run("out=o") == Outer(Inner(1), out="o", steps=5)
    assert run("out=o", "recipe=big") == Outer(Inner(100, 0.1), Animal.DOG, out="o", steps=50)
    chosen = run("steps=7", "model.rate=2", "model=small", "recipe=big", "out=o")
    assert chosen == Outer(Inner(1, 2.0), Animal.DOG, out="o", steps=7)


def test_the_later_word_wins(run):
    assert run("out=a", "steps=2", "model=large", "out=b", "model=small", "steps=3") == Outer(
        Inner(1), out="b", steps=3
    )


def test_values_of_every_kind(run):
    words = ["out=o", "fast=true", "model.rate=1e-3", "model.names=[3,4]", "animal=dog"]
    assert run(*words, "other=cat", "note=null") == Outer(
        Inner(1, 1e-3, [3, 4]), Animal.DOG, Animal.CAT, "o", None, True, 5
    )
    assert run("out=o", "other=null", "fast=false") == Outer(Inner(1), out="o", steps=5)


@settings(max_examples=30)
@given(text=st.text(min_size=1).filter(lambda t: "$" not in t and t != "???"))
def test_text_is_taken_as_it_stands(run, text):
    # Paths hold =, brackets, blanks and commas: none of them may need quotes of their own.
    composed = run(f"out={text}", f"note=x{text}")
    assert (composed.out, composed.note) == (text, f"x{text}")


def test_text_may_name_other_values(run):
    assert run("out=runs/${model.size}-${steps}-${model.rate}").out == "runs/1-5-0.5"


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("steps", "'steps' is not of the form key=value"),
        ("=3", "'=3' is not of the form key=value"),
        ("+steps=3", "'+steps=3' is not of the form key=value"),
        ("~steps", "'~steps' is not of the form key=value"),
        ("model.=3", "'model.=3' is not of the form key=value"),
        ("two words=3", "'two words=3' is not of the form key=value"),
        ("setps=3", "there is no key setps; did you mean steps?"),
        ("model.siez=3", "there is no key model.siez; did you mean model.size?"),
        ("rate=3", "there is no key rate; did you mean model.rate?"),
        ("modle.rate=3", "there is no key modle; did you mean model?"),
        ("recipie=big", "there is no key recipie; did you mean recipe?"),
        (
            "q=3",
            "there is no key q; there are model, animal, other, out, note, fast, steps, recipe",
        ),
        ("model.q=3", "there is no key model.q; there are model.size, model.rate, model.names"),
        ("recipe.q=3", "recipe chooses a file, as recipe=NAME, and has no keys of its own"),
        (
            "model=huge",
            "there is no model 'huge'; choose one of broken, extra, large, small, twice",
        ),
        ("recipe=", "there is no recipe ''; choose one of big, lost, plain"),
        ("steps=many", "steps is 'many', but a whole number is needed"),
        ("steps=1.5", "steps is 1.5, but a whole number is needed"),
        ("steps=true", "steps is True, but a whole number is needed"),
        ("steps=", "steps is empty, but a whole number is needed"),
        ("steps=[1", "steps is '[1', but a whole number is needed"),
        ("steps={a: 1}", "steps is {'a': 1}, but a whole number is needed"),
        ("steps.a=1", "steps is {'a': 1}, but a whole number is needed"),
        ("model.size=???", "model.size must be given, as model.size=..."),
        ("steps=${nothing}", "steps: Interpolation key 'nothing' not found"),
        ("model.rate=fast", "model.rate is 'fast', but a number is needed"),
        ("model.names=3", "model.names is 3, but a list such as [1, 2] is needed"),
        ("fast=perhaps", "fast is 'perhaps', but true or false is needed"),
        ("animal=cow", "animal is 'cow', but cat or dog is needed"),
        ("animal=CAT", "animal is 'CAT', but cat or dog is needed"),
        ("animal=[cat]", "animal is ['cat'], but cat or dog is needed"),
        ("other=cow", "other is 'cow', but cat or dog is needed"),
        ("out=", "out must be given, as out=..."),
        ("model=extra", "there is no key model.siez; did you mean model.size?"),
    ],
)
def test_a_mistake_is_one_sentence(run, word, sentence):
    with pytest.raises(ConfigError) as caught:
        run("out=o", word)
    assert str(caught.value) == sentence
    assert caught.value.exit_code == 2


def test_all_missing_values_are_told_at_once(folder):
    (folder / "bare.yaml").write_text("steps: 3\n")
    with pytest.raises(ConfigError, match=r"^model\.size and out must be given, as model\.size="):
        compose("bare", [], Outer, folder)


def test_a_section_is_not_a_value(folder):
    with pytest.raises(ConfigError, match=r"^model is a section of keys.* as model\.size=\.\.\.$"):
        compose("bare", ["model=3"], Outer, folder)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("model=broken", "broken.yaml, line 3: expected ',' or ']'"),
        ("model=twice", "twice.yaml, line 2: found duplicate key size"),
        ("recipe=lost", "Could not find 'model/nowhere'"),
    ],
)
def test_a_bad_file_is_named(run, word, said):
    with pytest.raises(ConfigError) as caught:
        run("out=o", word)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert "search path" not in str(caught.value)


@settings(max_examples=50)
@given(words=st.lists(st.text(max_size=12) | st.from_regex(r"(steps|model|animal)=.*"), max_size=4))
def test_no_word_is_answered_with_anything_but_a_sentence(run, words):
    try:
        assert isinstance(run("out=o", *words), Outer)
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017


MODELS = {  # layers, hidden and heads as published
    "esm2_8m": (6, 320, 20),
    "esm2_35m": (12, 480, 20),
    "esm2_150m": (30, 640, 20),
    "esm2_650m": (33, 1280, 20),
    "esm2_3b": (36, 2560, 40),
    "esm2_15b": (48, 5120, 40),
}


@pytest.mark.parametrize("name", sorted(p.stem for p in (resource("conf") / "model").iterdir()))
def test_every_shipped_model(name):
    words = ["recipe=demo", f"model={name}", "data.train=x.fasta", "out=x"]
    model = compose("pretrain", words, PretrainSettings).model
    assert model.name == name
    if name in MODELS:
        assert (model.layers, model.hidden, model.heads) == MODELS[name]


def test_shipped_choices_take_the_words_that_users_write():
    words = ["recipe=demo", "precision=bf16", "data.crop=random", "parallel=single", "data=demo"]
    composed = compose("pretrain", words, PretrainSettings)
    assert (composed.precision.arithmetic, composed.data.crop) == (Arithmetic.BF16, Crop.RANDOM)
    assert composed.parallel.devices == 1
