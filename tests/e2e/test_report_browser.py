"""The page of a run in a real browser, opened from disk: what it asks for, says, overflows, and whom it shuts out."""

import os
import re
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from components.run_report.page import SECTIONS, render_page
from pipeline.reports.compare import compare_facts
from pipeline.reports.compare_view import render_comparison

pytestmark = pytest.mark.e2e

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
MADE = ("make_facts", "refused_by_data", "make_hostile", "make_big")
REPORTS = (*MADE, "reference")
PAGES = (*REPORTS, "comparison")
SIZES = ((1280, 900), (360, 740))
SCHEMES = ("light", "dark")
OVERFLOWING = """() => [...document.querySelectorAll("body *")]
    .filter(each => each.getBoundingClientRect().right > innerWidth + 1 && !each.closest(".scroll, .toc, pre, .skip"))
    .map(each => each.tagName + "." + each.className)"""


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("There is no chromium. CI installs it with apt-get: see .ci/run.")
        pytest.skip("There is no chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(report_facts, reference, tmp_path_factory):
    """Files of pages, by the name of the function that makes their facts; `reference` is that of a real run."""
    folder = tmp_path_factory.mktemp("pages")
    texts = {kind: render_page(getattr(report_facts, kind)()) for kind in MADE}
    comparison = compare_facts(report_facts.make_facts(), report_facts.make_hostile())
    texts["comparison"] = render_comparison(comparison, {"a": folder, "b": folder})
    for kind, text in texts.items():
        (folder / f"{kind}.html").write_text(text, encoding="utf-8")
    return {kind: folder / f"{kind}.html" for kind in texts} | {"reference": reference.report_dir / "index.html"}


@pytest.fixture
def open_page(browser, pages):
    """Opens a page and yields it with all that it asked for and said."""
    contexts = []

    def open_(kind, size, scheme, bypass_csp=False):
        viewport = {"width": size[0], "height": size[1]}
        context = browser.new_context(viewport=viewport, color_scheme=scheme, bypass_csp=bypass_csp)
        contexts.append(context)
        page, requests, messages = context.new_page(), [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("dialog", lambda dialog: messages.append(dialog.message))
        page.goto(pages[kind].as_uri())
        return page, requests, messages

    yield open_
    for context in contexts:
        context.close()


@pytest.mark.parametrize("kind", PAGES)
def test_page_asks_for_nothing_and_says_nothing(open_page, pages, kind):
    page, requests, messages = open_page(kind, SIZES[0], "light")
    page.wait_for_timeout(200)
    assert [url for url in requests if not url.startswith("data:")] == [pages[kind].as_uri()]
    assert messages == []


@pytest.mark.parametrize("kind", REPORTS)
def test_sections_are_seen_and_the_contents_lead_there(open_page, kind):
    page, _, _ = open_page(kind, SIZES[0], "light")
    for name in SECTIONS.keys() - {"problems"}:
        assert page.locator(f"#{name}").is_visible()
    page.get_by_role("navigation").get_by_role("link", name="Evaluation").click()
    assert page.evaluate("document.querySelector('#evaluation').getBoundingClientRect().top < innerHeight")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", SIZES, ids=["wide", "narrow"])
@pytest.mark.parametrize("kind", PAGES)
def test_page_never_scrolls_sideways(open_page, kind, size, scheme):
    page, _, _ = open_page(kind, size, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    assert page.evaluate(OVERFLOWING) == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", PAGES)
def test_page_shuts_nobody_out(open_page, kind, scheme):
    page, _, _ = open_page(kind, SIZES[scheme == "dark"], scheme, bypass_csp=True)
    if kind != "make_big":  # its folded tables are as those that are shown, and thousands of cells more
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    violations = Axe().run(page).response["violations"]
    assert {
        each["id"]: [node["html"][:200] for node in each["nodes"][:3]]
        for each in violations
        if each["impact"] in ("serious", "critical")
    } == {}


def test_figures_of_a_real_run_are_those_of_its_facts(open_page, reference):
    page, _, _ = open_page("reference", SIZES[0], "light")
    facts = reference.facts

    def cells(section):
        return [row.locator("th, td").all_inner_texts() for row in page.locator(f"#{section} tbody tr").all()]

    assert reference.last_line.removeprefix("PUSHED: ") in page.locator("header").inner_text()
    epochs = cells("training")[: len(facts["training"]["epochs"])]
    for row, epoch in zip(epochs, facts["training"]["epochs"], strict=True):
        names = ("loss", "val_loss", "accuracy", "val_accuracy")
        assert row[:5] == [str(epoch["epoch"]), *(f"{epoch['figures'][name]:.4f}" for name in names)]
        assert row[-1] == epoch["observation"]
    evaluation = cells("evaluation")
    for name, counts in zip(facts["evaluation"]["classes"], facts["evaluation"]["confusion"], strict=True):
        assert [name, *(f"{count:.0f}" for count in counts)] in evaluation
    probabilities = {row[0]: row[2] for row in cells("prediction") if row[0] in facts["row"]["classes"]}
    for name, probability in zip(facts["row"]["classes"], facts["row"]["probabilities"], strict=True):
        assert float(probabilities[name]) == pytest.approx(probability, rel=1e-3, abs=5e-5)
    columns = {row[0]: row for row in cells("data")}
    for feature in facts["data"]["features"]:
        if feature["minimum"] is not None:
            assert float(columns[feature["name"]][4].replace(",", "")) == pytest.approx(feature["minimum"], rel=1e-3)


def test_keyboard_reaches_the_skip_link_first_and_wide_tables(open_page):
    page, _, _ = open_page("make_facts", SIZES[1], "light")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_a_question_unfolds_without_a_script(open_page):
    page, _, _ = open_page("make_facts", SIZES[0], "light")
    answer = page.get_by_text("It is ln 3: chance among 3 classes.")
    assert not answer.is_visible()
    page.get_by_text("Why does the first epoch start near 1.0986?").click()
    assert answer.is_visible()


def test_dark_is_dark_and_paper_is_white(open_page):
    page, _, _ = open_page("make_facts", SIZES[0], "dark")

    def brightness():
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3

    assert brightness() < 60
    page.emulate_media(media="print")
    assert brightness() == 255


def test_print_unfolds_what_is_folded(open_page):
    page, _, _ = open_page("make_facts", SIZES[0], "light")
    config = page.get_by_text("learning_rate: 0.01")
    assert not config.is_visible()
    page.emulate_media(media="print")
    assert config.is_visible()
