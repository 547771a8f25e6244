"""The explorer's page in a browser: how long a move of a slider takes until the next frame, and how large the file is.

    python -m jobs.bench explorer

20,000 and 100,000 made-up pages with twenty signals of several shapes and six rules; a hundred moves in Debian's Chromium,
headless. The time runs from the event to the frame that shows its count, so a wait for the screen of up to 17 ms is in it.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from eval.explorer.page import html
from eval.explorer.sampled import ChoiceColumn, Excerpt, NumberColumn, Sampled, Stratum

GOALS = {20_000: 50.0, 100_000: 100.0}
"""Pages -> milliseconds that 95 of 100 moves may take."""
MOVES, SIGNALS, RULES = 100, 20, 6
LANGUAGES = ("eng", "deu", "fra", "tha")
MOST_EXCERPTS, SENTENCE = 20_000, "some words of a page "
TIMED = """async () => {
  const slider = document.querySelector('input[type=range]'), taken = [];
  for (let move = 0; move < MOVES; move++) {
    slider.value = 100 + 5 * (move % 80);
    const begun = performance.now();
    slider.dispatchEvent(new Event('input', { bubbles: true }));
    await new Promise((done) => requestAnimationFrame(() => { taken.push(performance.now() - begun); setTimeout(done); }));
  }
  return taken;
}"""


def made_up(pages: int, seed: int = 0) -> Sampled:
    """A sample of so many pages: skewed, even and whole numbers, nulls among them, four languages."""
    draw = np.random.default_rng(seed)
    shapes = (draw.lognormal, draw.random, lambda size: np.floor(draw.exponential(200, size)))
    numbers = []
    for at in range(SIGNALS):
        values = np.asarray(shapes[at % 3](size=pages), np.float32)
        values[draw.random(pages) < 0.01] = np.nan
        numbers.append(NumberColumn(f"signal_{at}", "made_up", "", at % 3 == 2, values))
    languages = draw.choice(4, pages, p=[0.7, 0.2, 0.07, 0.03]).astype(np.uint16)
    counts = np.bincount(languages, minlength=4).tolist()
    return Sampled(
        name="made up",
        strata=[
            Stratum(name, 100 * int(counts[at]), int(counts[at])) for at, name in enumerate(("eng", "deu", "fra", "tha"))
        ],
        strata_of=languages,
        weights={"bytes": draw.integers(100, 50_000, pages).astype(np.float32)},
        numbers=numbers,
        choices=[ChoiceColumn("language", "language", "", "text", (*LANGUAGES, "(null)"), languages)],
        bounds={f"signal_{at}": {"min": float(np.nanquantile(numbers[at].values, 0.1))} for at in range(RULES)},
        switches=[],
        excerpts=[
            Excerpt(row, f"https://site.example/{row}", "some words of a page " * 11) for row in range(min(pages, 20_000))
        ],
        left_out=[],
    )


def moves(page: Path) -> list[float]:
    """Milliseconds of each move."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(page.as_uri())
        tab.wait_for_selector("#of[data-kept]")
        taken: list[float] = tab.evaluate(TIMED.replace("MOVES", str(MOVES)))
        browser.close()
    return taken


def rows() -> list[dict[str, Any]]:
    """A row for each size of the sample."""
    found = []
    for pages, goal in GOALS.items():
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder) / "explore.html"
            page.write_text(html(made_up(pages)), encoding="utf-8")
            taken, size = moves(page), page.stat().st_size
        slow = float(np.quantile(taken, 0.95))
        about = {"pages": pages, "median": round(float(np.median(taken)), 1), "file_bytes": size}
        ours = {"bench": "explore.slider", "what": f"{pages:,} pages", "ours": round(slow, 1), "unit": "ms, 95th percentile"}
        found.append(
            {**ours, "against": "the time allowed", "theirs": goal, "ratio": round(goal / slow, 1), "goal": 1, **about}
        )
    return found
