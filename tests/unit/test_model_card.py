"""`MODEL_CARD.md` as Markdown reads it."""

import copy

import pytest
from markdown_it import MarkdownIt

from components.run_report.model_card import render_model_card

DATE = "2026-11-23"


@pytest.fixture
def facts(report_facts):
    return report_facts.make_facts()


def render(facts):
    return render_model_card(facts, date=DATE)


def tokens(text):
    """Returns every token of a Markdown text, tables and autolinks as GitHub has them."""
    parsed = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    return [*parsed, *(child for token in parsed for child in token.children or ())]


def tables(text):
    """Returns the rows of cells of each table."""
    found = []
    for token in MarkdownIt("gfm-like", {"linkify": False}).parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and found and found[-1] and token.level > 3:
            found[-1][-1].append("".join(child.content for child in token.children))
    return found


def test_card_tells_what_the_config_says_and_what_was_measured(facts):
    text = render(facts)
    card = facts["card"]
    for sentence in (card["description"], *card["intended_use"], *card["limitations"], *card["owners"]):
        assert sentence.rstrip(".") in text
    metrics, rules, splits, features = tables(text)
    told = [each for each in facts["evaluation"]["metrics"] if each["candidate"] is not None]
    assert [row[:2] for row in metrics[1:]] == [[each["name"], f"{each['candidate']:.4g}"] for each in told]
    assert len(rules) - 1 == len(facts["evaluation"]["rules"])
    assert [row[:2] for row in splits[1:]] == [[each["name"], str(each["rows"])] for each in facts["data"]["splits"]]
    assert [row[0] for row in features[1:]] == [each["name"] for each in facts["data"]["features"]]
    for digest in facts["digests"].values():
        assert digest in text


def test_card_without_words_says_which_keys_of_the_config_have_them(facts):
    facts["card"] = {"description": "", "intended_use": [], "limitations": [], "owners": [], "license": ""}
    text = render(facts)
    assert "`model_card.intended_use`" in text
    assert "`model_card.limitations`" in text


@pytest.mark.parametrize("part", ["card", "data", "evaluation", "infra"])
def test_card_leaves_out_what_there_is_not(facts, part):
    facts[part] = None
    assert render(facts).startswith("# Model card: ")


def test_hostile_names_are_text(report_facts):
    facts = report_facts.make_hostile()
    text = render(facts)
    kinds = {token.type for token in tokens(text)}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "fence", "code_block"}
    assert all(len({len(row) for row in table}) == 1 for table in tables(text))
    assert len(tables(text)[-1]) - 1 == len(facts["data"]["features"])
    text.encode()


@pytest.mark.parametrize(
    "name",
    [
        "# heading", "- item", "1. item", "> quote", "a | b", "[x](http://e.com)", "![x](y)", "`code`", "**bold**",
        "_it_", "<b>", "</td>", "&lt;", "~~gone~~", "a\nb", "a\\", "<!-- x", "--- ", "http://example.com", "$x$", "*",
        "+ x", "=",
    ],
)  # fmt: skip
def test_any_text_comes_out_as_it_is(facts, name):
    facts["card"] = {**facts["card"], "description": name, "owners": [name], "intended_use": [name]}
    facts["data"]["features"][0]["name"] = name
    text = render(facts)
    shown = " ".join(name.split())
    assert tables(text)[-1][1][0] == shown
    plain = "".join(token.content for token in tokens(text) if token.type == "text")
    assert plain.count(shown) >= 4
    assert not {token.type for token in tokens(text)} & {"html_block", "html_inline", "link_open", "image", "hr"}


def test_caveats_are_what_the_numbers_show(facts):
    calm = copy.deepcopy(facts)
    calm["data"]["warnings"], calm["evaluation"]["notes"], calm["evaluation"]["rows"] = [], [], 5000
    for feature in calm["data"]["features"]:
        feature["missing"] = 0
    assert "## Caveats" not in render(calm)

    calm["evaluation"]["rows"] = 322
    assert "measured on 322 rows" in render(calm)
    split = calm["data"]["splits"][0]
    assert split["name"] == "train"
    split |= {"rows": 100, "classes": {"a": 91, "b": 9}}
    assert "91% of the rows to train on are of one class" in render(calm)
    calm["data"]["features"][0] |= {"kind": "numeric", "rows": 70, "missing": 30}
    assert f"{calm['data']['features'][0]['name']} is missing in 30% of the rows" in render(calm)
