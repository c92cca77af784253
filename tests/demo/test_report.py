"""The page: complete, one file, no request to anybody, names that cannot become markup."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from bionemo_ext.demo.checks import Difference, Training
from bionemo_ext.demo.report import Protein, Story, render
from bionemo_ext.demo.steps import Step

SEQUENCE = "MKTVRQGLLAEWDSCYHNPFIKMKTVRQG"


def task(name, level):
    scores = {"accuracy": 0.8125}
    return {
        "task": name, "level": level, "metric": "accuracy", "test": scores,
        "one_hot": {"accuracy": 0.7531}, "majority": {"accuracy": 0.5019},
        "counts": {"train": 1700, "validation": 150, "test": 150}, "seconds": 3.0,
    }  # fmt: skip


@pytest.fixture
def story():
    random = np.random.default_rng(0)
    length = len(SEQUENCE)
    return Story(
        date="21 November 2026",
        training=Training([1, 2, 3], [3.1, 2.9, 2.8], [2, 3], [15.9, 15.25], 18.03, 1234, 20.0),
        tasks=[task("capsid", "sequence"), task("accessibility", "residue")],
        protein=Protein(
            "SA_45", SEQUENCE, random.random((length, length)), random.random(length), "E" * length
        ),
        differences=[Difference("mean embeddings", 178, 22784, 3.2e-7)],
        steps=[Step("pretrain", "bionemo-ext pretrain recipe=demo", 61.25, 1234.0)],
        sizes={"weights": "3.1 MiB"},
        seconds=300.0,
    )


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.references, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
                self.references.append(value)


def test_the_page_asks_nobody_for_anything(story):
    text = render(story)
    page = Page(text)
    assert page.tags.count("svg") == 3
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert page.references, "the contact map is an embedded picture"
    assert all(reference.startswith(("data:", "#")) for reference in page.references)
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)]*)", text))
    assert "@import" not in text
    assert "<!DOCTYPE svg" not in text


def test_the_page_tells_what_was_measured(story):
    text = render(story)
    for told in (
        "15.25", "18.0", "0.812", "0.753", "0.502", "1,700 / 150 / 150", "3.2e-07", "22,784",
        "bionemo-ext pretrain recipe=demo", "61.2", "1,234", "3.1 MiB", "5.0 min", "SA_45",
        "megatron-core", "CC BY 4.0",
    ):  # fmt: skip
        assert told in text, told
    assert "$" not in text


def test_the_figures_take_the_colours_of_the_page(story):
    text = render(story)
    assert "currentColor" in text
    assert "prefers-color-scheme: dark" in text
    assert "#010203" not in text


def test_names_cannot_become_markup(story):
    evil = "<b onload='x'>&"
    text = render(
        replace(
            story,
            protein=replace(story.protein, name=evil),
            steps=[replace(story.steps[0], command=evil)],
        )
    )
    assert "<b onload" not in text
    assert "&lt;b onload" in text
