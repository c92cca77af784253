"""A real Chromium without a window, and the page in it."""

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

# Thioredoxin reductase of Mycoplasma mobile (UniProt Q6KIA6, CC BY 4.0), to 300 residues.
PROTEIN = (
    "MHNEKIYDVIIIGGGPAAMSAAIYASRANLSTVFIEKGAPGGKMVTTSRIENYPGFTTIGGPDLAIEMLNHAKAYKAEYKFGNVLKINNHGPFNKEVLLE"
    "RKNEIIKGKSIIIATGMVNRVPRDIEGIEEFNHKGVSYCAICDGPLFGKTPSAIIGGGNSAVEEAIYLASIASEVHVFVKDSKFNAEEKSVNDLKLLKNV"
    "KIHMNSSILKLKGSNKLEEADVLINGKKETIKLTSLFPYIGFIPSVDFAKHLGITNEQGFIQTNEKLETKLENIFAAGDIRVKDIRQVATAIGDGAIAGK"
)
# What a person waits for; five times that for a slow machine that does other things too.
PATIENCE_MS = 10_000
DONE = "#step-{}.done"


def chromium():
    """Where Chromium is, or None."""
    return next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )


@dataclass
class Watched:
    """A page, and what its console said that it should not have."""

    page: object
    complaints: list[str] = field(default_factory=list)

    def shot(self, folder, name):
        """Keep a picture of the whole page for a person."""
        self.page.screenshot(path=folder / f"{name}.png", full_page=True)


@contextmanager
def opened(browser, url, *, expect=(), **context):
    """Open the page; in the end its console must have said nothing but what ``expect`` begins."""
    words = {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"} | context
    surroundings = browser.new_context(**words)
    watched = Watched(surroundings.new_page())
    watched.page.on(
        "console",
        lambda m: watched.complaints.append(m.text) if m.type in ("error", "warning") else None,
    )
    watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    try:
        watched.page.goto(url)
        yield watched
        assert [c for c in watched.complaints if not c.startswith(tuple(expect) or ("\0",))] == []
    finally:
        surroundings.close()


def ask(page, text):
    page.get_by_label("Protein sequence or FASTA").fill(text)
    page.get_by_role("button", name="Analyse").click()


def wait_for_all(page):
    for part in ("tracks", "contacts", "scan"):
        page.wait_for_selector(DONE.format(part), timeout=PATIENCE_MS)
