import html.parser
import itertools
import re
import subprocess
import sys
import time

import pytest

from components.run_report.facts import empty_facts
from components.run_report.first_screen import effective_bound, view_gauges, view_outcome, view_step
from components.run_report.page import SECTIONS, render_page
from components.run_report.shapes import Scale, histogram_path, share_scale, strip, zoomed_scale
from components.run_report.wording import (
    MOST_CONFIG_CHARACTERS,
    MOST_SENTENCE_CHARACTERS,
    NONE,
    clean,
    command,
    count,
    figure,
    isolated,
    seconds,
    size,
)

KINDS = ("make_facts", "refused_by_data", "refused_by_gate", "make_hostile", "make_big")
VOID = {"meta", "link", "br", "img", "hr", "input"}
SVG_PLOTS = 3  # of the reference problem: loss, accuracy, calibration


class Page(html.parser.HTMLParser):
    """What a browser would read, as far as a test asks."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open, self.unclosed = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if self.open.pop() != tag:
            self.unclosed.append(tag)

    def handle_data(self, data):
        if data.strip() and self.open[-1:] != ["style"]:
            self.texts.append((tuple(self.open), data.strip()))

    @property
    def text(self):
        return " ".join(" ".join(data.split()) for _, data in self.texts)

    def attributes(self, name):
        return [attributes[name] for _, attributes in self.elements if name in attributes]


@pytest.fixture(scope="module", params=KINDS)
def page(request, report_facts):
    text = render_page(getattr(report_facts, request.param)())
    return Page(text), text


def section_text(facts, name):
    text = render_page(facts)
    start = text.index(f'<section id="{name}"')
    return Page(text[start : text.index("</section>", start)])


def test_page_is_well_formed_and_runs_nothing(page):
    parsed, _ = page
    assert parsed.unclosed == []
    assert parsed.open == []
    tags = {tag for tag, _ in parsed.elements}
    assert not tags & {"script", "iframe", "object", "embed", "form", "img", "base", "audio", "video"}
    assert [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")] == []


def test_page_asks_nobody_for_anything(page):
    parsed, text = page
    links = [*parsed.attributes("href"), *parsed.attributes("src"), *parsed.attributes("xlink:href")]
    assert [link for link in links if not link.startswith("#") and link != "data:,"] == []
    assert [link for link in re.findall(r"url\(([^)]*)\)", text) if not link.startswith("#")] == []
    assert "@import" not in text
    assert "default-src 'none'" in parsed.attributes("content")[0]


def test_ids_are_unique_and_every_link_leads_somewhere(page):
    parsed, text = page
    ids = parsed.attributes("id")
    assert sorted(ids) == sorted(set(ids))
    wanted = {link[1:] for link in parsed.attributes("href") if link.startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]*)\)", text))
    wanted |= {each for value in parsed.attributes("aria-labelledby") for each in value.split()}
    assert wanted - set(ids) == set()


def test_headings_are_in_order(page):
    levels = [int(tag[1]) for tag, _ in page[0].elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert [pair for pair in itertools.pairwise(levels) if pair[1] > pair[0] + 1] == []


def test_every_section_is_there_and_says_something(page, report_facts):
    parsed, text = page
    for name in SECTIONS.keys() - {"problems"}:
        assert name in parsed.attributes("id")
    for section in re.findall(r"<section id=.*?</h2>(.*?)</section>", text, re.DOTALL):
        assert Page(section).text


def test_every_plot_says_what_there_is_to_see(page):
    parsed, _ = page
    drawings = [attributes for tag, attributes in parsed.elements if tag == "svg"]
    assert all(each.get("role") == "img" and each.get("aria-label", "").strip() for each in drawings)


def test_every_table_has_a_caption_and_scopes(page):
    parsed, _ = page
    tags = [tag for tag, _ in parsed.elements]
    assert tags.count("table") == tags.count("caption")
    assert [attributes for tag, attributes in parsed.elements if tag == "th" and "scope" not in attributes] == []


@pytest.mark.parametrize(
    ("missing", "section", "sentence"),
    [
        ("run", "run", "Who ran the components, and for how long, is not known here"),
        ("data", "data", "No rows were read."),
        ("row", "prediction", "No row was followed through the model."),
        ("training", "training", "The Trainer did not run."),
        ("evaluation", "evaluation", "The Evaluator did not run."),
        ("infra", "run", "InfraValidator has left no report."),
        ("card", "card", "The config says nothing of the model's use (model_card)."),
        ("lesson", "lesson", "Nothing is known of what compile was given."),
        ("model", "flow", "One row on its way"),
    ],
)
def test_what_a_run_lacks_is_said_in_a_sentence(report_facts, missing, section, sentence):
    assert sentence in section_text(report_facts.make_facts() | {missing: None}, section).text


@pytest.mark.parametrize(
    ("component", "missing", "section", "sentence"),
    [
        ("ExampleGen", "data", "data", "ExampleGen stopped the run; no rows were read."),
        ("Trainer", "training", "training", "Trainer failed; there are no epochs to show."),
        ("Evaluator", "evaluation", "evaluation", "Evaluator failed; the model was not judged."),
    ],
)
def test_a_component_that_failed_is_named_where_its_facts_would_be(report_facts, component, missing, section, sentence):
    facts = report_facts.make_facts() | {missing: None}
    next(each for each in facts["run"]["components"] if each["component"] == component)["state"] = "failed"
    assert sentence in section_text(facts, section).text


def test_a_run_of_which_nothing_is_known_has_a_page():
    text = Page(render_page(empty_facts("reference"))).text
    assert "Not judged" in text
    assert "No stage of the data flow has left an artifact." in text
    assert "No model was compiled." in text


def test_what_could_not_be_read_is_told():
    page = Page(render_page(empty_facts("reference") | {"problems": ["row: OSError: no such file"]}))
    assert "row: OSError: no such file" in page.text
    assert "Problems (1)" in page.text


def test_figures_on_the_page_are_those_of_the_facts(report_facts):
    facts = report_facts.make_facts()
    text = Page(render_page(facts)).text
    for epoch in facts["training"]["epochs"]:
        assert (
            " ".join(f"{epoch['figures'][name]:.4f}" for name in ("loss", "val_loss", "accuracy", "val_accuracy"))
            in text
        )
        assert epoch["observation"] in text
    for each in facts["evaluation"]["metrics"]:
        assert f"{each['name']} {each['candidate']:.4f}" in text
    for name, cells in zip(facts["evaluation"]["classes"], facts["evaluation"]["confusion"], strict=True):
        assert f"{name} {' '.join(str(int(each)) for each in cells)}" in text
    for each in facts["evaluation"]["slices"]:
        low, high = each["interval"]
        assert (
            f"{each['slice']} {each['rows']} {each['accuracy']:.4f} {low:.4f} to {high:.4f} {each['loss']:.4f}" in text
        )
    assert f"Expected error {facts['evaluation']['calibration_error']:.4f}" in text


def test_the_row_s_numbers_are_those_of_the_facts(report_facts):
    facts = report_facts.make_facts()
    row, text = facts["row"], Page(render_page(facts)).text
    for name, logit, probability in zip(row["classes"], row["logits"], row["probabilities"], strict=True):
        assert f"{name} {logit:.4f} {probability:.4f}" in text
    for layer in row["layers"]:
        assert " ".join(figure(each) for each in layer["numbers"]) in text
    for raw, transformed in zip(row["raw"], row["transformed"], strict=False):
        assert f"{raw['name']} {raw['text']} {transformed['text']}" in text
    assert "labelled open : right" in text
    assert "labelled hold : wrong" in Page(render_page(facts | {"row": row | {"label": "hold"}})).text
    assert "the row has no label" in Page(render_page(facts | {"row": row | {"label": ""}})).text


def test_a_wide_layer_is_told_by_its_largest_numbers(report_facts):
    facts = report_facts.make_facts(layer_size=1024)
    numbers = facts["row"]["layers"][1]["numbers"]
    page = Page(render_page(facts))
    assert f"1024 numbers from 0.0000 to {max(numbers):.4f}" in page.text
    assert "each bar is the farthest from zero of 16" in page.text
    assert str(numbers.index(max(numbers)) + 1) in page.attributes("value")


def test_columns_show_their_statistics(report_facts):
    facts = report_facts.make_facts()
    text = Page(render_page(facts)).text
    for each in facts["data"]["features"][:-1]:
        figures = (each["minimum"], each["mean"], each["maximum"], each["std_dev"])
        assert f"{each['name']} numeric {' '.join(f'{number:.4g}' for number in figures)} {each['rows']}" in text
    assert "3 values: close (230), hold (229), open (228)" in text


def test_hostile_text_stays_text(report_facts):
    text = render_page(report_facts.make_hostile())
    page = Page(text)
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert text.encode("utf-8")
    assert re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", text) == []


def test_long_text_is_cut_and_stands_whole_nowhere(report_facts):
    text = render_page(report_facts.make_hostile())
    longest = max(len(each) for each in re.findall("W+", text))
    assert longest <= MOST_SENTENCE_CHARACTERS + 1 or longest == 10_000  # a config is shown whole
    config = re.search(r'aria-label="Config">(.*?)</pre>', text, re.DOTALL)
    rest = text.replace(config[0], "")
    assert max(len(each) for each in re.findall("W+", rest)) <= MOST_SENTENCE_CHARACTERS
    labels = [*Page(rest).attributes("aria-label"), *Page(rest).attributes("style")]
    assert max(map(len, labels)) < 1000


def test_text_of_others_is_isolated(report_facts):
    text = render_page(report_facts.make_hostile())
    outside = re.sub(r"<bdi .*?</bdi>|<[^>]*>", "", text, flags=re.DOTALL)
    body = outside[outside.index("Skip to the report") :]
    assert "\u202e" not in body
    assert "alert" not in body


def test_page_of_a_big_run_is_small_and_quick(report_facts):
    facts = report_facts.make_big()
    render_page(report_facts.make_facts())  # what is loaded once
    started = time.perf_counter()
    num_bytes = len(render_page(facts).encode())
    print(f"\n200 columns, 50 slices, 12 classes, 300 epochs: {time.perf_counter() - started:.2f} s, {num_bytes} bytes")
    assert num_bytes < 3_000_000


def test_long_tables_are_folded(report_facts):
    text = Page(render_page(report_facts.make_big())).text
    for summary in ("All 300 epochs", "The other 181 columns", "The other 30 slices", "The other 188 columns"):
        assert summary in text
    assert "sensor_199" in text


def test_many_classes_are_told_by_their_confusions(report_facts):
    facts = report_facts.make_facts(num_classes=40)
    facts["evaluation"]["confusion"][3][5] = 77.0
    assert "class_03 class_05 77" in Page(render_page(facts)).text


def test_same_facts_give_the_same_page(report_facts):
    assert render_page(report_facts.make_facts()) == render_page(report_facts.make_facts())


def test_plots_take_their_colours_from_the_page(report_facts):
    text = render_page(report_facts.make_facts())
    plots = re.findall(r'<svg class="plot".*?</svg>', text, re.DOTALL)
    assert len(plots) == SVG_PLOTS
    assert [each for plot in plots for each in re.findall(r"#[0-9a-f]{6}\b", plot)] == []
    assert all("var(--series-1)" in plot and "var(--ink)" in plot for plot in plots)
    assert (
        "loss over 5 epochs: train 0.8854 to 0.1221, lowest 0.1221 in epoch 5; validation 0.6446 to 0.1465" in plots[0]
    )


def test_epoch_that_is_kept_is_marked(report_facts):
    facts = report_facts.make_facts()
    assert "epoch 4 is kept" in section_text(facts, "training").text
    assert "the weights of epoch 4 are kept" in section_text(facts, "training").attributes("aria-label")[0]
    for epoch in facts["training"]["epochs"]:
        epoch["kept"] = None
    assert "is kept" not in section_text(facts, "training").text


def test_a_figure_that_is_missing_leaves_a_gap(report_facts):
    facts = report_facts.make_facts()
    facts["training"]["epochs"][1]["figures"] = {"loss": None}
    assert f"2 {NONE} {NONE} {NONE} {NONE} 0.06" in Page(render_page(facts)).text


@pytest.mark.parametrize(
    ("outcome", "word", "tone"),
    [
        ("pushed", "Pushed", "good"),
        ("nothing to do", "Nothing to do", "good"),
        ("model refused", "Model refused", "bad"),
        ("data refused", "Data refused", "bad"),
        ("infra refused", "Infra refused", "bad"),
        ("failed", "Failed", "bad"),
        ("interrupted", "Interrupted", "warn"),
    ],
)
def test_outcome_is_a_word_and_a_tone(report_facts, outcome, word, tone):
    facts = report_facts.make_facts()
    facts["run"] |= {"outcome": outcome, "verdict": "what the terminal said"}
    assert view_outcome(facts) == (word, tone, "what the terminal said")
    assert f'<div class="verdict {tone}">\n<p class="word">{word}</p>' in render_page(facts)


def test_outcome_inside_a_container_is_the_evaluator_s(report_facts):
    facts = report_facts.make_facts() | {"run": None}
    assert view_outcome(facts)[:2] == ("Blessed", "good")
    facts["evaluation"]["blessed"] = False
    assert view_outcome(facts)[:2] == ("Not blessed", "bad")


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        ("pushed", None),
        ("nothing to do", None),
        ("model refused", "sluice compare served 20261123T085840.523430 --config 'my config.yaml'"),
        ("data refused", "sluice run 'my config.yaml'"),
        ("infra refused", "sluice run 'my config.yaml'"),
        ("interrupted", "sluice run 'my config.yaml'"),
        ("failed", "less output/logs/reference/20261123T085840.523430.log"),
    ],
)
def test_what_to_do_next_is_a_command(report_facts, outcome, line):
    facts = report_facts.make_facts()
    facts["run"] |= {"outcome": outcome, "config_file": "my config.yaml"}
    step = view_step(facts)
    assert (step and step.command) == line
    assert ("What to do next" in render_page(facts)) is (line is not None)


def test_command_names_a_root_that_is_not_the_default(report_facts):
    facts = report_facts.make_facts()
    facts["run"] |= {"outcome": "interrupted", "config_file": "c.yaml", "log_file": "/data/out/logs/p/1.log"}
    assert view_step(facts).command == "sluice run c.yaml --root /data/out"


def test_data_that_are_refused_are_corrected_where_it_is_said(report_facts):
    facts = report_facts.refused_by_data()
    assert "as the findings under Data say" in view_step(facts).sentence
    assert "as the verdict says" in view_step(facts | {"data": None}).sentence


def test_compile_is_told_by_the_optimizer_s_numbers(report_facts):
    text = section_text(report_facts.make_facts(), "flow").text
    assert "Compiled with Adam , learning_rate 0.01, beta_1 0.9; loss SparseCategoricalCrossentropy" in text


def test_infra_figures_are_on_the_page(report_facts):
    text = section_text(report_facts.make_facts(), "run").text
    assert "serving_default 1.2e-07" in text
    assert "serving_default x1 p50 0.25, p99 0.4" in text


def test_a_command_that_cannot_be_shown_whole_is_not_shown():
    assert command("less", "x" * 500) == ""
    assert command("less", "a\x07b") == ""


@pytest.mark.parametrize(
    ("bound", "baseline", "number"),
    [
        (">= 0.9", None, 0.9),
        ("<= 3.5e-05", None, 3.5e-05),
        ("change >= -0.02", 0.93, 0.91),
        ("change <= +10%", 0.2, 0.22),
        ("change >= -0.02", None, None),
        ("words", None, None),
    ],
)
def test_bound_of_a_rule_is_a_number_on_its_value_s_scale(bound, baseline, number):
    rule = {"bound": bound, "baseline": baseline, "value": 0.95}
    assert effective_bound(rule) == pytest.approx(number)
    assert effective_bound(rule | {"value": None}) is None


def test_gauge_shows_value_interval_and_bound(report_facts):
    gauge = next(view_gauges(report_facts.make_facts()))
    assert gauge.scale.low < 0.9 < gauge.scale.high <= 1
    assert gauge.alt == "accuracy: 0.9410, bound >= 0.9, interval 0.9100 to 0.9620, held"


def test_changes_since_the_served_version_are_on_the_first_screen(report_facts):
    facts = report_facts.make_facts()
    text = Page(render_page(facts)).text
    assert "Against version 1795424338 : data a1b2c3d4e5f6 → 0f0f0f0f0f0f" in text.replace(
        "1795424338:", "1795424338 :"
    )
    assert "accuracy 0.9348 0.9410 +0.0062" in text
    assert (
        "Nothing: data, schema and code are those of version 1795424338."
        in Page(render_page(facts | {"changes": []})).text
    )
    refused = Page(render_page(report_facts.refused_by_data())).text
    assert "This run came to no model to compare; version 1795424399 is still served." in refused


def test_drift_over_its_threshold_is_said_and_comes_first(report_facts):
    text = Page(render_page(report_facts.refused_by_data())).text
    assert "The line marks the threshold. ph 0.1420 over 0.1" in text


def test_histogram_is_as_high_as_its_counts():
    assert histogram_path([1, 0, 2]) == "M0 24v-12h29.3v12zM66.67 24v-24h29.3v24z"
    assert histogram_path([]) == histogram_path([0, 0]) == ""
    assert histogram_path([1] * 400).count("M") == 40


def test_strip_puts_numbers_above_and_below_zero():
    drawn = strip([1.0, -1.0, 0.0])
    assert drawn.positive == "M1 12v-12h8V12z"
    assert drawn.negative == "M11 12v12h8V12z"
    assert (drawn.width, drawn.grouped) == (30, 1)
    assert strip([0.0, -3.0, 1.0] * 400).grouped == 19


def test_scale_places_numbers_and_keeps_them_on_it():
    assert [Scale(0.5, 1.0).place(number) for number in (0.5, 0.75, 1.2, None)] == ["0", "50", "100", "0"]
    assert share_scale([0.87, None, 0.99]) == Scale(0.8, 1.0)
    assert zoomed_scale([0.95, 0.99], is_share=True).high == 1


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (count(9999), "9999"),
        (count(1_234_567), "1\u202f234\u202f567"),
        (count(12.5), "12.5"),
        (figure(0.94104), "0.9410"),
        (figure(0.0000123), "1.23e-05"),
        (figure(None), "\N{EN DASH}"),
        (seconds(0.05), "0.05\u202fs"),
        (seconds(17.1), "17.1\u202fs"),
        (seconds(125), "2\u202fmin 5\u202fs"),
        (seconds(7300), "2\u202fh 1\u202fmin"),
        (size(61_440), "60.0 KiB"),
        (size(5 * 1024**2), "5.0 MiB"),
        (clean("a\x00b\ud800"), "a\ufffdb\ufffd"),
        (clean("x" * 200, 3), "xxx… (200 characters)"),
        (isolated("<b>"), '<bdi dir="auto">&lt;b&gt;</bdi>'),
    ],
)
def test_numbers_and_text_are_written_one_way(made, text):
    assert made == text


def test_config_is_shown_whole_up_to_its_limit(report_facts):
    facts = report_facts.make_facts()
    facts["run"]["config"] = "key: value\n" * 4000
    assert render_page(facts).count("key: value") == 4000
    facts["run"]["config"] = "k" * (MOST_CONFIG_CHARACTERS + 1)
    assert "(60\u202f001 characters)" in render_page(facts)


def test_page_needs_neither_tensorflow_nor_tfx():
    code = (
        "import sys, components.run_report.page; print({'tensorflow', 'tfx', 'keras', 'apache_beam'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_every_reason_of_a_refusal_is_told(report_facts):
    facts = report_facts.refused_by_data()
    text = render_page(facts)
    assert all(reason.split(":")[0] in text for reason in facts["run"]["reasons"])
    assert "rows.csv line 12: has 3 cells; the header line has 11." in text
    facts["run"]["reasons"] = [f"line {number} is bad" for number in range(50)]
    assert "And 30 more, in facts.json." in render_page(facts)
