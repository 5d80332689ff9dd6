"""The report in a real browser: every page of several models, hostile names, both themes, a narrow window.

Set SUITE_SCREENSHOTS to a folder to keep the screenshots.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.reports import synthetic as s
from tests.reports import synthetic_scenes as c
from tests.reports import synthetic_texts as t

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WAIT = 60_000

pytest.importorskip("streamlit", reason="the report needs the extra `report`")
sync_api = pytest.importorskip("playwright.sync_api", reason="the browser test needs playwright")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser at {CHROMIUM}")


@dataclass
class Seen:
    """Errors of a page, and its requests to other machines."""

    problems: list[str] = field(default_factory=list)

    def watch(self, page: Any, address: str) -> None:
        page.on("console", lambda message: message.type == "error" and self.problems.append(message.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: self._local(request.url, address))

    def _local(self, url: str, address: str) -> None:
        if not url.startswith((address, address.replace("http", "ws", 1), "data:", "blob:")):
            self.problems.append(f"request to another machine: {url}")


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.environ.get("SUITE_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("store")
    assert len(t.add(c.add(s.crowd(root, 12))).rows()) >= 1000
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "suite.cli", "report", "--store", str(root), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _healthy(f"http://localhost:{port}", server)
        yield f"http://localhost:{port}"
    finally:
        server.terminate()
        server.wait(10)


def _healthy(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert server.poll() is None, "the Streamlit server ended early"
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.2)
    raise AssertionError("the Streamlit server did not answer within 60 s")


@dataclass
class Windows:
    """Browser windows of one server; those of a theme share their cache."""

    address: str
    themes: dict[str, Any]

    def open(
        self, query: dict[str, str], *, theme: str = "light", width: int = 1400, height: int = 1000
    ) -> tuple[Any, Seen]:
        page = self.themes[theme].new_page()
        page.set_viewport_size({"width": width, "height": height})
        seen = Seen()
        seen.watch(page, self.address)
        page.goto(f"{self.address}/?{urlencode(query)}")
        wait_until_drawn(page)
        return page, seen


@pytest.fixture(scope="module")
def windows(address: str) -> Iterator[Windows]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield Windows(address, {theme: chromium.new_context(color_scheme=theme) for theme in ("light", "dark")})
        chromium.close()


def wait_until_drawn(page: Any) -> None:
    """Wait until the script has finished and the figures are drawn."""
    page.wait_for_selector("h2", timeout=WAIT)
    page.wait_for_function(
        "!document.querySelector('[data-testid=stApp][data-test-script-state=running]')"
        " && !document.querySelector('[data-testid=stStatusWidget]')"
        " && !document.querySelector('[data-testid=stSkeleton]')"
        " && [...document.querySelectorAll('[data-testid=stPlotlyChart]')].every(e => e.querySelector('.main-svg'))",
        timeout=WAIT,
    )
    page.wait_for_timeout(400)


def check(page: Any, seen: Seen) -> None:
    assert page.locator("[data-testid=stException]").count() == 0
    assert seen.problems == []


def go(page: Any, name: str) -> None:
    page.locator("[data-testid=stSidebar] label", has_text=name).last.click()
    page.wait_for_selector(f"h2:has-text('{name}')", timeout=WAIT)
    wait_until_drawn(page)


def test_board_of_1000_rows_opens(windows: Windows, shots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    took = {}
    for visit in ("first", "second"):
        start = time.perf_counter()
        page = windows.themes["light"].new_page()
        page.goto(f"{windows.address}/?task=crowd")
        page.wait_for_selector("[data-testid=stDataFrame]", timeout=WAIT)
        took[visit] = time.perf_counter() - start
        if visit == "second":
            wait_until_drawn(page)
            page.screenshot(path=shots / "board_crowd.png")
        page.close()
    with capsys.disabled():
        print(f"\nboard page on 1,000 rows, from address to table in the browser: {took} s (target 3 s)")


def test_every_page_of_several_models(windows: Windows, shots: Path) -> None:
    page, seen = windows.open({"task": s.TASK})
    page.screenshot(path=shots / "board_light.png")
    check(page, seen)
    for name in ("Gallery", "About the numbers", "Model"):
        go(page, name)
        page.screenshot(path=shots / f"{name.split()[0].lower()}_light.png")
        check(page, seen)
    for model in (s.WEAK, s.GOOD, s.BROKEN):
        page.locator("[data-testid=stSidebar] [data-testid=stSelectbox]").last.locator("input").click()
        page.locator("[role=option]", has_text=model).first.click()
        page.wait_for_selector(f"[data-testid=stMain] code:text-is('{model}')", timeout=WAIT)
        wait_until_drawn(page)
        check(page, seen)
        assert page.evaluate("new URLSearchParams(location.search).get('model')") == model
        assert (model == s.BROKEN) == ("TrainingError" in page.locator("[data-testid=stMain]").inner_text())
        page.screenshot(path=shots / f"model_light_{model.split('(')[0]}.png")
    page.close()


LOOKS = [
    ("Model", "light", 1400, 6300),
    ("Model", "dark", 900, 4000),
    ("Gallery", "dark", 900, 1500),
    ("Board", "dark", 900, 1000),
]


@pytest.mark.parametrize(("name", "theme", "width", "height"), LOOKS)
def test_page_fits_the_window(windows: Windows, shots: Path, name: str, theme: str, width: int, height: int) -> None:
    query = {"page": name, "task": s.TASK, "model": s.GOOD}
    page, seen = windows.open(query, theme=theme, width=width, height=height)
    page.screenshot(path=shots / f"{name.lower()}_{theme}_{width}.png")
    check(page, seen)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.close()


SCENES = [
    ("Model", c.BOXES, "light", 1400, 5600),
    ("Model", c.MASKS, "dark", 900, 4000),
    ("Gallery", c.BOXES, "dark", 900, 2000),
    ("Gallery", c.MASKS, "light", 1400, 2000),
    ("Board", c.BOXES, "light", 900, 1000),
]


@pytest.mark.parametrize(("name", "task", "theme", "width", "height"), SCENES)
def test_pages_of_scenes(
    windows: Windows, shots: Path, name: str, task: str, theme: str, width: int, height: int
) -> None:
    page, seen = windows.open({"page": name, "task": task}, theme=theme, width=width, height=height)
    page.screenshot(path=shots / f"{name.lower()}_{task.split('(')[0]}_{theme}_{width}.png")
    check(page, seen)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    if name == "Gallery" and task == c.MASKS:  # its captions name classes
        assert s.HOSTILE_CLASS in page.locator("[data-testid=stMain]").inner_text()
    _has_no_markup(page.locator("[data-testid=stMain]"))
    page.close()


@pytest.mark.parametrize("task", [c.BOXES, c.MASKS])
def test_galleries_of_damage(windows: Windows, shots: Path, task: str) -> None:
    page, seen = windows.open({"page": "Gallery", "task": task}, height=1500)
    for view in ("Corruptions", "Occlusion"):
        page.locator("[data-testid=stMain] label", has_text=view).click()
        page.wait_for_selector("img[src*=media]", timeout=WAIT)
        wait_until_drawn(page)
        page.screenshot(path=shots / f"gallery_{task.split('(')[0]}_{view.lower()}.png")
        check(page, seen)
    page.close()


TEXTS = [
    (t.REVIEWS, ["Attacks and explanations", "Feature attributions"], "light", 1400),
    (t.PLAYS, ["Feature attributions", "Samples"], "dark", 900),
    (t.FACES, ["Attacks and explanations", "Feature attributions", "Samples"], "light", 900),
    (t.CODES, ["Attacks and explanations", "Samples"], "dark", 1400),
]


@pytest.mark.parametrize(("task", "views", "theme", "width"), TEXTS)
def test_galleries_of_text_and_generative_models(
    windows: Windows, shots: Path, task: str, views: list[str], theme: str, width: int
) -> None:
    page, seen = windows.open({"page": "Gallery", "task": task}, theme=theme, width=width, height=1400)
    main = page.locator("[data-testid=stMain]")
    for view in views:
        main.locator("label", has_text=view).click()
        page.wait_for_timeout(300)
        wait_until_drawn(page)
        page.screenshot(path=shots / f"gallery_{task.replace(' ', '_')}_{view.split()[0].lower()}.png")
        check(page, seen)
        _has_no_markup(main)
        assert page.evaluate("window.hacked === undefined")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        if view == "Feature attributions":  # style and title survive Streamlit's sanitizing
            mark = main.locator("mark").first
            assert "underline" in mark.evaluate("mark => getComputedStyle(mark).textDecorationLine")
            assert main.locator("mark[title*='supports']").count() > 0
    if task in (t.REVIEWS, t.PLAYS):
        assert "<script>window.hacked=1</script>" in main.inner_text()
    page.close()


@pytest.mark.parametrize(("task", "theme"), [(t.PLAYS, "light"), (t.CODES, "dark")])
def test_model_pages_in_bits(windows: Windows, shots: Path, task: str, theme: str) -> None:
    page, seen = windows.open({"page": "Model", "task": task}, theme=theme, height=4200)
    page.screenshot(path=shots / f"model_{task.replace(' ', '_')}.png")
    check(page, seen)
    _has_no_markup(page.locator("[data-testid=stMain]"))
    page.close()


@pytest.mark.parametrize("name", ["Board", "Model", "Gallery"])
def test_hostile_names_stay_text(windows: Windows, shots: Path, name: str) -> None:
    query = {"page": name, "task": s.HOSTILE_TASK, "model": s.HOSTILE_MODEL}
    page, seen = windows.open(query, height=1600)
    page.screenshot(path=shots / f"hostile_{name.lower()}.png")
    check(page, seen)
    assert page.evaluate("window.hacked === undefined")
    main = page.locator("[data-testid=stMain]")
    assert s.HOSTILE_TASK in main.inner_text()
    assert (s.HOSTILE_MODEL in main.inner_text()) == (name != "Board")
    _has_no_markup(main)
    page.close()


def test_a_hostile_reason_stays_text(windows: Windows) -> None:
    page, seen = windows.open({"page": "Model", "task": s.HOSTILE_TASK, "model": s.HOSTILE_FAILED})
    main = page.locator("[data-testid=stMain]")
    assert s.HOSTILE_REASON in main.inner_text().replace("\N{WORD JOINER}", "")
    _has_no_markup(main)
    check(page, seen)
    page.close()


def test_unknown_names_in_the_address_give_a_warning(windows: Windows) -> None:
    page, seen = windows.open({"page": "Gallery", "task": s.TASK, "model": "![x](http://evil.invalid/q.png)"})
    assert "There is no model ![x](http://evil.invalid/q.png) here" in page.locator("[data-testid=stMain]").inner_text()
    _has_no_markup(page.locator("[data-testid=stMain]"))
    check(page, seen)
    page.close()


def _has_no_markup(main: Any) -> None:
    for harm in (
        "a[href*=evil]",
        "a[href^=javascript]",
        "img[src*=evil]",
        "script",
        ".katex",
        "svg a",
        "i:text('model')",
    ):
        assert main.locator(harm).count() == 0, harm
