"""The page's files: nothing from elsewhere, nothing inline, colours that can be read."""

import re
from importlib.resources import files

import pytest

PAGE = files("bionemo_ext.gateway") / "page"
TEXTS = {path.name: path.read_text() for path in PAGE.iterdir()}
# Text, its ground, and where they meet.
PAIRS = [
    ("ink", "card"), ("ink", "page"), ("ink", "field"), ("soft", "card"), ("soft", "page"),
    ("soft", "field"), ("accent", "card"), ("accent", "page"), ("on-accent", "accent"),
    ("good", "tint"), ("bad", "bad-tint"), ("bad", "card"),
]  # fmt: skip
# Marks and borders of fields: 3 to 1 is enough.
SHAPES = [("focus", "card"), ("focus", "page"), ("mark", "card"), ("hover", "card"),
          ("helix", "card"), ("strand", "card")]  # fmt: skip


def colours(scheme):
    light, dark = re.findall(r":root \{(.*?)\}", TEXTS["style.css"], re.DOTALL)
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
    if scheme == "dark":
        found |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark))
    return found


def luminance(colour):
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_wcag():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("pair", PAIRS, ids="-on-".join)
def test_text_can_be_read(scheme, pair):
    found = colours(scheme)
    assert contrast(found[pair[0]], found[pair[1]]) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("pair", SHAPES, ids="-on-".join)
def test_marks_can_be_seen(scheme, pair):
    found = colours(scheme)
    assert contrast(found[pair[0]], found[pair[1]]) >= 3


@pytest.mark.parametrize("name", TEXTS)
def test_nothing_comes_from_elsewhere(name):
    addresses = set(re.findall(r"https?://[^\s\"')]+|//[a-z]+\.[a-z]+", TEXTS[name]))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, not a place


def test_nothing_is_inline():
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script>(?!</)", TEXTS["index.html"])


def test_every_file_is_used():
    everything = "".join(TEXTS.values())
    for name in TEXTS:
        others = everything.replace(TEXTS[name], "")
        assert name == "index.html" or name in others, name


@pytest.mark.parametrize("name", TEXTS)
def test_files_are_small(name):
    assert len(TEXTS[name].splitlines()) <= 300
