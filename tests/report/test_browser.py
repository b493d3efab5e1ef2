"""The page in a real browser: it sorts, filters, shows tooltips, prints, logs no error, and axe-core finds no fault."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import store
from harness.report import content, html
from tests import reporting

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
AXE = "axe-core@4.14.1"

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no chromium or chromedriver (apt install chromium chromium-driver)"
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = reporting.write(tmp_path_factory.mktemp("browser") / "run", list(reporting.records(batches=(1, 8))))
    file = folder / "report.html"
    file.write_text(
        html.page([content.Reported(store.read_run(folder), store.read_records(folder))], [folder]), "utf-8"
    )
    return file


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium without a network: whatever the page would fetch is an error in its log."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, file: Path) -> Iterator[Any]:
    """The page, drawn; afterwards its log must be clean."""
    from selenium.webdriver.support.ui import WebDriverWait

    _emulate(browser, 1280, "light")
    browser.get_log("browser")
    browser.get(file.as_uri())
    WebDriverWait(browser, 120).until(lambda b: b.execute_script("return document.documentElement.dataset.ready"))
    yield browser
    assert browser.get_log("browser") == []


def _emulate(browser: Any, width: int, scheme: str) -> None:
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def _column(page: Any, title: str) -> list[str]:
    script = """
      const titles = [...document.querySelectorAll('#listing thead th')].map((th) => th.innerText.trim());
      const at = titles.indexOf(arguments[0]);
      return [...document.querySelectorAll('#listing tbody tr')].map((row) => row.children[at].innerText.trim());
    """
    found: list[str] = page.execute_script(script, title)
    return found


def _header(page: Any, title: str) -> Any:
    return page.find_element("xpath", f"//table[@id='listing']//thead//th[contains(., '{title}')]")


def test_all_charts_are_drawn(page: Any) -> None:
    assert page.find_element("id", "trouble").get_attribute("hidden")
    charts = page.find_elements("css selector", ".chart")
    drawn = page.find_elements("css selector", ".chart svg")
    assert len(charts) == len(drawn) > 5
    assert page.find_elements("css selector", ".chart svg path")


def test_a_click_on_a_header_sorts_by_the_number_not_by_its_letters(page: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    def times() -> list[float]:
        return [float(word) for word in _column(page, "latency ms") if word != "–"]

    assert len(times()) > 10
    for backwards in (False, True):  # a busy machine draws the table some moments after the click
        _header(page, "latency ms").click()
        WebDriverWait(page, 30).until(lambda _, order=backwards: times() == sorted(times(), reverse=order))


def test_the_keyboard_sorts_too(page: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    stop = page.find_element("css selector", "#listing thead th:nth-child(1) .dt-column-order")
    page.execute_script("arguments[0].focus()", stop)
    assert page.execute_script("return document.activeElement === arguments[0]", stop)
    stop.send_keys(Keys.ENTER)
    names = _column(page, "backbone")
    assert _header(page, "backbone").get_attribute("aria-sort") == "ascending"
    assert len(set(names)) > 1


def test_a_filter_leaves_the_cells_it_names(page: Any) -> None:
    from selenium.webdriver.support.ui import Select

    verdict = page.find_element("xpath", "//form//label[contains(., 'verdict')]//select")
    Select(verdict).select_by_visible_text("crashed")
    assert set(_column(page, "verdict")) == {"crashed"}
    assert all(_column(page, "why"))
    page.find_element("css selector", ".filters button").click()
    assert set(_column(page, "verdict")) > {"crashed"}


def test_the_search_finds_any_name(page: Any) -> None:
    box = page.find_element("css selector", "input[type=search]")
    for name in ("画像認識_小", "Fußgänger", "</script>"):
        box.clear()
        box.send_keys(name)
        found = _column(page, "backbone")
        assert found and all(name in word for word in found)
    box.clear()
    box.send_keys("no such cell")
    assert "No cell fits" in page.find_element("id", "listing").text


def test_a_tooltip_tells_the_interval(page: Any) -> None:
    from selenium.webdriver import ActionChains

    chart = page.find_element("css selector", "#speedup .chart")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
    mark = chart.find_elements("css selector", "g.mark-symbol.role-mark path")[-1]
    ActionChains(page).move_to_element(mark).perform()
    tooltip = page.find_element("id", "vg-tooltip-element")
    assert "visible" in tooltip.get_attribute("class")
    assert "speed-up" in tooltip.text and "[" in tooltip.text


def test_the_roofline_tells_of_a_cell_how_much_of_it_is_reached(page: Any) -> None:
    from selenium.webdriver import ActionChains

    chart = page.find_element("css selector", "#roofline .chart")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
    ActionChains(page).move_to_element(chart.find_element("css selector", "g.mark-symbol path")).perform()
    assert "of roofline" in page.find_element("id", "vg-tooltip-element").text
    shares = page.find_elements("xpath", "//section[@id='roofline']//tbody/tr/td[contains(., '%')]")
    assert len(shares) > 10


@pytest.mark.parametrize("width", [1280, 390])
def test_the_names_of_ceilings_stay_inside_the_chart(page: Any, width: int) -> None:
    """A phone has no room beside the plot."""
    _emulate(page, width, "light")
    page.refresh()
    script = """
      const chart = document.querySelector('#roofline .chart').getBoundingClientRect();
      return [...document.querySelectorAll('#roofline g.mark-text.role-mark text')].map((text) => {
        const box = text.getBoundingClientRect();
        return [text.textContent, box.left >= chart.left && box.right <= chart.right + 1];
      });
    """
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(page, 120).until(lambda b: b.execute_script("return document.documentElement.dataset.ready"))
    named = dict(page.execute_script(script))
    assert len(named) >= 3 and all(named.values()), named


@pytest.mark.parametrize("width", [1280, 390])
def test_legends_are_as_narrow_as_their_charts(page: Any, width: int) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    _emulate(page, width, "light")
    page.refresh()
    WebDriverWait(page, 120).until(lambda b: b.execute_script("return document.documentElement.dataset.ready"))
    script = """
      return [...document.querySelectorAll('.chart')].flatMap((chart) => {
        const place = chart.getBoundingClientRect();
        return [...chart.querySelectorAll('g.role-legend text')].map((text) => {
          const box = text.getBoundingClientRect();
          return [text.textContent, box.left >= place.left && box.right <= place.right + 1 && box.top >= place.top - 1];
        });
      });
    """
    entries = page.execute_script(script)
    assert len({name for name, _ in entries}) >= 3 and all(inside for _, inside in entries), entries


def test_a_name_runs_nothing(page: Any) -> None:
    assert page.find_elements("xpath", "//b[contains(., 'x')]") == []
    assert "</script><b>x" in page.find_element("id", "listing").get_attribute("textContent")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_never_wider_than_the_screen(page: Any, width: int) -> None:
    _emulate(page, width, "light")
    page.refresh()
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


def test_it_prints_all_cells(page: Any, tmp_path: Path) -> None:
    if not shutil.which("pdftotext"):
        pytest.skip("no pdftotext (apt install poppler-utils)")
    printed = page.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    (tmp_path / "page.pdf").write_bytes(base64.b64decode(printed["data"]))
    told = subprocess.run(["pdftotext", "-layout", tmp_path / "page.pdf", "-"], capture_output=True, check=True)
    text = told.stdout.decode()
    assert "First choice" in text and "Origin" in text
    assert text.count("resnet50") >= 8
    assert "Search the cells" not in text


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, installed by npm into a temporary folder."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm, which installs axe-core (apt install npm)")
    folder = tmp_path_factory.mktemp("axe")
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), AXE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install {AXE}: {done.stderr.strip().splitlines()[-1:]}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_no_fault(page: Any, axe: str, scheme: str, width: int) -> None:
    _emulate(page, width, scheme)
    page.set_script_timeout(120)
    page.execute_script(axe)
    found = page.execute_async_script(
        "const done = arguments[0]; axe.run(document).then(done, (e) => done(String(e)));"
    )
    assert isinstance(found, dict), found
    said = [f"{v['impact']} {v['id']}: {v['nodes'][0]['html'][:200]}" for v in found["violations"]]
    assert said == [], "\n".join(said)
    assert len(found["passes"]) > 20
