"""The page in a real Chromium, before the real gateway and a server of an 8M-shaped model."""

import json
import re
import time

import numpy as np
import pytest
import torch
from gateway_process import TOKEN, running
from page_browser import opened

from bionemo_ext.contract import AMINO_ACIDS, Kind, Level
from bionemo_ext.export import export
from bionemo_ext.huggingface import weights_digest
from bionemo_ext.inference.task import Head, HeadKind, TaskSpec, save_task
from bionemo_ext.serving import LocalServer

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.server

HIDDEN = 320
TASKS = (
    ("secondary_structure", Level.RESIDUE, Kind.CLASSIFICATION, ("C", "E", "H")),
    ("conservation", Level.RESIDUE, Kind.CLASSIFICATION, tuple("123456789")),
    ("flexibility", Level.RESIDUE, Kind.REGRESSION, ()),
    ("location", Level.SEQUENCE, Kind.CLASSIFICATION, ("Cytoplasm", "Nucleus", "Membrane")),
)
# Thioredoxin reductase of Mycoplasma mobile (UniProt Q6KIA6, CC BY 4.0), to 300 residues.
PROTEIN = (
    "MHNEKIYDVIIIGGGPAAMSAAIYASRANLSTVFIEKGAPGGKMVTTSRIENYPGFTTIGGPDLAIEMLNHAKAYKAEYKFGNVLKINNHGPFNKEVLLE"
    "RKNEIIKGKSIIIATGMVNRVPRDIEGIEEFNHKGVSYCAICDGPLFGKTPSAIIGGGNSAVEEAIYLASIASEVHVFVKDSKFNAEEKSVNDLKLLKNV"
    "KIHMNSSILKLKGSNKLEEADVLINGKKETIKLTSLFPYIGFIPSVDFAKHLGITNEQGFIQTNEKLETKLENIFAAGDIRVKDIRQVATAIGDGAIAGK"
)
# What a person waits for; five times that for a slow machine that does other things too.
PATIENCE_MS = 10_000
DONE = "#step-{}.done"


@pytest.fixture(scope="module")
def shaped(random_esm2, tmp_path_factory):
    """A server of the shape that ESM-2 8M has."""
    place = tmp_path_factory.mktemp("page")
    random_esm2(place / "model", layers=6, hidden=HIDDEN, heads=20)
    torch.manual_seed(1)
    for name, level, kind, classes in TASKS:
        spec = TaskSpec(
            name, level, kind, classes, HeadKind.LINEAR, HIDDEN, 0,
            encoder_digest=weights_digest(place / "model"),
        )  # fmt: skip
        save_task(place / name, spec, Head(spec).eval())
    export(place / "model", place / "out", [place / name for name, *_ in TASKS])
    with LocalServer(place / "out" / "triton", threads=2) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(shaped, tmp_path_factory):
    with running(tmp_path_factory.mktemp("gateway") / "log", shaped.url) as found:
        yield found


def ask(page, text):
    page.get_by_label("Protein sequence or FASTA").fill(text)
    page.get_by_role("button", name="Analyse").click()


def wait_for_all(page):
    for part in ("tracks", "contacts", "scan"):
        page.wait_for_selector(DONE.format(part), timeout=PATIENCE_MS)


def residue_shown(page):
    """What the inspector says, in one line."""
    return " ".join(page.locator("#inspector").inner_text().split())


def test_a_protein_of_300_residues(gateway, browser, pictures):
    with opened(browser, gateway.url) as watched:
        page = watched.page
        watched.shot(pictures, "empty")
        page.wait_for_selector("#server.good")
        page.get_by_label("Protein sequence or FASTA").fill(f">thioredoxin reductase\n{PROTEIN}\n")
        began = time.perf_counter()
        page.get_by_role("button", name="Analyse").click()
        wait_for_all(page)
        seconds = time.perf_counter() - began
        print(f"tracks, contacts and mutations of 300 residues after {seconds:.2f} s")
        charts = page.locator(".charts .chart[role=slider]")
        assert charts.evaluate_all("all => all.map(c => c.getAttribute('aria-label'))") == [
            "Residues", "secondary structure", "conservation", "flexibility", "Mutation effects",
            "Contact map",
        ]  # fmt: skip
        for chart in charts.all():
            assert colours_of(chart) > 3
        values_are_those_of_the_api(gateway, page)
        watched.shot(pictures, "protein")


def colours_of(chart):
    """How many colours the base canvas of a chart has."""
    return chart.locator("canvas").first.evaluate(
        """c => new Set(new Uint32Array(
            c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size"""
    )


def values_are_those_of_the_api(gateway, page):
    body = {"sequence": PROTEIN}
    tracks = gateway.post("/api/tracks", body).json()["tasks"]
    scan = gateway.post("/api/scan", body).json()["effects"]
    raw = gateway.post("/api/contacts", body).content
    contacts = np.frombuffer(raw, "<u2").reshape(300, 300) / 65535
    structure = page.locator(".chart[aria-label='secondary structure']")
    mutations = page.locator(".chart[aria-label='Mutation effects']")
    contact_map = page.locator(".chart[aria-label='Contact map']")
    structure.focus()
    page.keyboard.press("Home")
    for _ in range(2):
        page.keyboard.press("PageDown")
    expect(page.locator("#inspector")).to_contain_text("Ala 21")
    values = {task["name"]: task["values"] for task in tracks}
    said = structure.get_attribute("aria-valuetext")
    best = int(np.argmax(values["secondary_structure"][20]))
    word = ("coil", "strand", "helix")[best]
    assert said == (
        f"Ala 21, secondary structure {word} {values['secondary_structure'][20][best]:.2f}"
    )
    shown = residue_shown(page)
    assert "Ala 21" in shown
    for probability in values["conservation"][20]:
        assert f"{probability:.2f}" in shown
    mutations.focus()
    page.keyboard.press("ArrowDown")  # the first row: histidine
    expect(mutations).to_have_attribute("aria-valuetext", re.compile("A21H"))
    effect = scan[20][AMINO_ACIDS.index("H")]
    assert number(mutations.get_attribute("aria-valuetext")) == pytest.approx(effect, abs=0.006)
    contact_map.focus()
    page.keyboard.press("ArrowDown")  # the residue after
    expect(contact_map).to_have_attribute("aria-valuetext", re.compile(" 22,"))
    said = contact_map.get_attribute("aria-valuetext")
    assert said == f"Ala 21 and {name_of(PROTEIN[21])} 22, contact {contacts[20, 21]:.3f}"


def number(text):
    return float(re.search(r"[+\u2212]?\d+\.\d+", text)[0].replace("\u2212", "-"))


def name_of(letter):
    return {"A": "Ala", "I": "Ile"}[letter]


def test_pointing_and_clicking_mark_a_residue_everywhere(gateway, browser, pictures):
    with opened(browser, gateway.url, color_scheme="dark") as watched:
        page = watched.page
        page.get_by_role("button", name="Thioredoxin reductase").click()
        wait_for_all(page)
        track = page.locator(".chart[aria-label='conservation']")
        box = track.bounding_box()
        step = (box["width"] - 40) / 311
        position = {"x": 34 + 100.5 * step, "y": 30}
        track.hover(position=position)
        assert page.locator("#tip").inner_text().startswith("Arg 101")
        track.click(position=position)
        for chart in page.locator(".charts .chart[role=slider]").all():
            expect(chart).to_have_attribute("aria-valuenow", "101")
        assert "Arg 101" in residue_shown(page)
        page.get_by_role("button", name="Closer").click()
        expect(page.locator("#span")).to_have_text("51\u2013206 of 311")
        watched.shot(pictures, "dark")


def test_a_bad_sequence_gets_a_sentence_and_nothing_is_lost(gateway, browser, pictures):
    # Chromium itself notes the 422.
    with opened(browser, gateway.url, expect=["Failed to load resource"]) as watched:
        page = watched.page
        ask(page, f">good\n{PROTEIN}")
        page.wait_for_selector(DONE.format("tracks"), timeout=PATIENCE_MS)
        ask(page, ">bad\nMKT7VRQG")  # while the first is not yet answered whole
        field = page.get_by_label("Protein sequence or FASTA")
        page.wait_for_selector("#sequence[aria-invalid=true]")
        assert (
            page.locator("#problem")
            .inner_text()
            .startswith("record 'bad' has '7' at position 4, which is not in the ESM-2 alphabet")
        )
        assert field.input_value() == ">bad\nMKT7VRQG"
        wait_for_all(page)
        assert page.locator("#name").inner_text() == "good"
        assert page.locator(".charts .chart[role=slider]").count() == 6
        watched.shot(pictures, "bad_sequence")
        field.fill("MKTVRQ")
        assert field.get_attribute("aria-invalid") is None
        assert page.locator("#problem").inner_text() == ""


def test_with_the_keyboard_alone(gateway, browser, pictures):
    with opened(browser, gateway.url) as watched:
        page = watched.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        expect(page.locator("#sequence")).to_be_focused()
        page.keyboard.insert_text(PROTEIN[:80])
        page.keyboard.press("Control+Enter")
        wait_for_all(page)
        seen = []
        for _ in range(60):
            page.keyboard.press("Tab")
            seen.append(page.evaluate(
                "[document.activeElement.ariaLabel || document.activeElement.innerText, "
                "getComputedStyle(document.activeElement).outlineStyle]"
            ))  # fmt: skip
        names = [name for name, _ in seen]
        for name in ("Analyse", "Closer", "secondary structure", "Mutation effects", "Contact map",
                     "Download contacts as PNG"):  # fmt: skip
            assert name in names, names
        assert {outline for name, outline in seen if name in ("Analyse", "Contact map")} == {
            "solid"
        }
        page.locator(".chart[aria-label='conservation']").focus()
        for key in ("End", "ArrowLeft", "+", "Shift+ArrowLeft"):
            page.keyboard.press(key)
        expect(page.locator("#inspector .residue")).to_contain_text(" 69")
        watched.shot(pictures, "keyboard")
        page.keyboard.press("Escape")
        expect(page.locator("#inspector .residue")).to_have_count(0)


def test_on_a_narrow_screen(gateway, browser, pictures):
    narrow = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2}
    with opened(browser, gateway.url, **narrow) as watched:
        page = watched.page
        watched.shot(pictures, "narrow_empty")
        ask(page, f">a\n{PROTEIN}\n>b\n{PROTEIN[:40]}\n")
        wait_for_all(page)
        page.locator(".chart[aria-label='conservation']").click(position={"x": 200, "y": 30})
        page.wait_for_selector("#inspector.chosen")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        watched.shot(pictures, "narrow")
        page.get_by_label("Record").select_option(label="b")
        expect(page.locator("#name")).to_have_text("b")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(gateway, browser, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}

    def barriers(page):
        found = axe.run(page, options=rules)
        assert found.response["passes"]  # it did look
        return found.generate_report() if found.violations_count else ""

    refused = ["Failed to load resource"]
    with opened(browser, gateway.url, expect=refused, color_scheme=scheme) as watched:
        page = watched.page
        assert barriers(page) == ""
        ask(page, PROTEIN[:100])
        wait_for_all(page)
        page.locator(".chart[aria-label='conservation']").click(position={"x": 200, "y": 30})
        page.wait_for_selector("#inspector.chosen")
        assert barriers(page) == ""
        ask(page, "M7")
        page.wait_for_selector("#sequence[aria-invalid=true]")
        assert barriers(page) == ""


def test_the_other_method(gateway, browser):
    with opened(browser, gateway.url) as watched:
        page = watched.page
        ask(page, PROTEIN[:30])
        wait_for_all(page)
        page.get_by_label("Method").select_option("masked")
        wait_for_all(page)
        chart = page.locator(".chart[aria-label='Mutation effects']")
        chart.focus()
        for key in ("Home", "ArrowDown"):
            page.keyboard.press(key)
        body = {"sequence": PROTEIN[:30], "method": "masked"}
        effect = gateway.post("/api/scan", body).json()["effects"][0][AMINO_ACIDS.index("H")]
        assert abs(effect) > 0.02
        said = f"M1H  {effect:+.2f}".replace("-", "\u2212")
        expect(chart).to_have_attribute("aria-valuetext", re.compile(re.escape(said)))


def test_what_the_server_lacks_is_a_hint(tiny_hf_folder, browser, pictures, tmp_path):
    export(tiny_hf_folder, tmp_path / "out", [])
    with (
        LocalServer(tmp_path / "out" / "triton", threads=1) as bare,
        running(tmp_path / "log", bare.url) as found,
        opened(browser, found.url) as watched,
    ):
        ask(watched.page, PROTEIN[:60])
        wait_for_all(watched.page)
        expect(watched.page.locator("#tracks")).to_contain_text("no task about residues")
        assert watched.page.locator("#wholes article").count() == 0
        watched.shot(pictures, "no_tasks")


@pytest.mark.slow
def test_the_longest_protein(gateway, browser, pictures):
    with opened(browser, gateway.url) as watched:
        page = watched.page
        page.get_by_role("button", name="Sodium pump").click()
        for part in ("tracks", "contacts", "scan"):
            page.wait_for_selector(DONE.format(part), timeout=6 * PATIENCE_MS)
        assert page.locator("#facts").inner_text().count("1,021 residues") == 1
        watched.shot(pictures, "longest")


def test_downloads(gateway, browser, tmp_path):
    lines = {"tracks": 301, "contacts": 1 + 300 * 299 // 2, "mutation effects": 301}
    with opened(browser, gateway.url) as watched:
        page = watched.page
        ask(page, f">p 1\n{PROTEIN}")
        wait_for_all(page)

        def download(what, kind):
            with page.expect_download() as found:
                page.get_by_role("button", name=f"Download {what} as {kind}").click()
            path = tmp_path / found.value.suggested_filename
            found.value.save_as(path)
            return path

        for what, count in lines.items():
            assert download(what, "PNG").read_bytes().startswith(b"\x89PNG")
            assert len(download(what, "CSV").read_text().splitlines()) == count
            assert json.loads(download(what, "JSON").read_text())["sequence"] == PROTEIN


def test_a_gateway_with_a_token(shaped, browser, pictures, tmp_path):
    with (
        running(tmp_path / "log", shaped.url, BIONEMO_EXT_GATEWAY_TOKEN=TOKEN) as guarded,
        opened(browser, guarded.url, expect=["Failed to load resource"]) as watched,
    ):
        page = watched.page
        page.wait_for_selector("#token-field:visible")
        assert "asks for a token" in page.locator("#problem").inner_text()
        watched.shot(pictures, "token")
        page.get_by_label("Token").fill(TOKEN)
        ask(page, PROTEIN[:60])
        wait_for_all(page)
        assert page.locator("#token-field").is_hidden()
