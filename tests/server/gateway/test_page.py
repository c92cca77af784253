"""The page in a real Chromium, before the real gateway and a server of an 8M-shaped model."""

import json
import re
import time

import numpy as np
import pytest
from page_browser import DONE, PATIENCE_MS, PROTEIN, ask, opened, wait_for_all

from bionemo_ext.contract import AMINO_ACIDS

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.server


def residue_shown(page):
    """What the inspector says, in one line."""
    return " ".join(page.locator("#inspector").inner_text().split())


def test_a_protein_of_300_residues(site, browser, pictures):
    with opened(browser, site.url) as watched:
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
        values_are_those_of_the_api(site, page)
        watched.shot(pictures, "protein")


def colours_of(chart):
    """How many colours the base canvas of a chart has."""
    return chart.locator("canvas").first.evaluate(
        """c => new Set(new Uint32Array(
            c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size"""
    )


def values_are_those_of_the_api(site, page):
    body = {"sequence": PROTEIN}
    tracks = site.post("/api/tracks", body).json()["tasks"]
    scan = site.post("/api/scan", body).json()["effects"]
    raw = site.post("/api/contacts", body).content
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


def test_pointing_and_clicking_mark_a_residue_everywhere(site, browser, pictures):
    with opened(browser, site.url, color_scheme="dark") as watched:
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


def test_a_bad_sequence_gets_a_sentence_and_nothing_is_lost(site, browser, pictures):
    # Chromium itself notes the 422.
    with opened(browser, site.url, expect=["Failed to load resource"]) as watched:
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


def test_the_other_method(site, browser):
    with opened(browser, site.url) as watched:
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
        effect = site.post("/api/scan", body).json()["effects"][0][AMINO_ACIDS.index("H")]
        assert abs(effect) > 0.02
        said = f"M1H  {effect:+.2f}".replace("-", "\u2212")
        expect(chart).to_have_attribute("aria-valuetext", re.compile(re.escape(said)))


@pytest.mark.slow
def test_the_longest_protein(site, browser, pictures):
    with opened(browser, site.url) as watched:
        page = watched.page
        page.get_by_role("button", name="Sodium pump").click()
        for part in ("tracks", "contacts", "scan"):
            page.wait_for_selector(DONE.format(part), timeout=6 * PATIENCE_MS)
        assert page.locator("#facts").inner_text().count("1,021 residues") == 1
        watched.shot(pictures, "longest")


def test_downloads(site, browser, tmp_path):
    lines = {"tracks": 301, "contacts": 1 + 300 * 299 // 2, "mutation effects": 301}
    with opened(browser, site.url) as watched:
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
