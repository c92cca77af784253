"""The page for everyone: by keyboard, on a small screen, for assistive technology, with a token."""

import pytest
from gateway_process import TOKEN, running
from page_browser import PROTEIN, ask, opened, wait_for_all

from bionemo_ext.export import export
from bionemo_ext.serving import LocalServer

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.server


def test_with_the_keyboard_alone(site, browser, pictures):
    with opened(browser, site.url) as watched:
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


def test_on_a_narrow_screen(site, browser, pictures):
    narrow = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2}
    with opened(browser, site.url, **narrow) as watched:
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
def test_axe_finds_no_barrier(site, browser, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}

    def barriers(page):
        found = axe.run(page, options=rules)
        assert found.response["passes"]  # it did look
        return found.generate_report() if found.violations_count else ""

    refused = ["Failed to load resource"]
    with opened(browser, site.url, expect=refused, color_scheme=scheme) as watched:
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
