"""The heat map of a conversation's tokens, as a page and as text; the conversation may be hostile."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from typer.testing import CliRunner

from models_under_pressure.activations.ragged import ASSISTANT, TEMPLATE, USER
from models_under_pressure.cli import app
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.paths import Dataset
from models_under_pressure.monitor.explain import printable, to_html, to_text
from models_under_pressure.monitor.score import Scored, TokenScores, token_texts

TEXTS = ("<|im_start|>user\n", "<script>alert('x')</script>", '" onmouseover="', "\x1b[2J\u202e", " 東京", " no")


@pytest.fixture
def scored(probe):
    tokens = TokenScores(
        texts=TEXTS,
        roles=np.array([TEMPLATE, USER, USER, USER, USER, ASSISTANT], dtype=np.int8),
        logits=np.array([0.0, 2.0, -1.0, 0.5, 0.1, -3.0]),
        contributions=np.array([0.0, 1.0, -0.25, 0.125, 0.0, -0.5]),
    )
    flagged = {row.budget: False for row in probe.thresholds}
    return Scored("<b>id</b>", 0.375, 0.6, flagged, tokens)


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_data(self, data):
        self.text += data


def test_the_page_shows_every_token_and_holds_no_markup_of_the_conversation(scored, probe):
    page = Page(to_html(scored, probe))
    assert set(page.tags) <= {
        *(
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "h1",
            "table",
            "tr",
            "th",
            "td",
            "p",
            "section",
            "b",
            "span",
        )
    }
    for text in ("<script>alert('x')</script>", '" onmouseover="', " 東京", "<b>id</b>"):
        assert text in page.text
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


def test_the_page_needs_nothing_from_elsewhere_and_forbids_scripts(scored, probe):
    page = to_html(scored, probe)
    assert not re.search(r"(src|href|url|@import)\s*[=(]", page.replace(TEXTS[1], ""))
    assert "default-src 'none'" in page


def test_shades_follow_what_a_token_adds(scored, probe):
    styles = [value for tag, name, value in Page(to_html(scored, probe)).attributes if (tag, name) == ("span", "style")]
    shades = [re.search(r"rgba\((\d+), \d+, \d+, ([\d.]+)\)", style).groups() for style in styles[2:]]
    assert [float(alpha) for _, alpha in shades] == [0.0, 1.0, 0.25, 0.12, 0.0, 0.5]
    orange, blue = shades[1][0], shades[2][0]
    assert orange != blue
    assert shades[5][0] == blue


def test_roles_that_the_probe_does_not_see_are_grey(scored, probe):
    page = to_html(scored, probe)
    assert '<section class="unseen"><b>template</b>' in page
    assert "<section><b>user</b>" in page


@pytest.mark.parametrize("colour", [False, True])
def test_the_text_sends_no_control_character_of_the_conversation_to_the_terminal(scored, probe, colour):
    text = to_text(scored, probe, colour=colour)
    ours = re.sub(r"\x1b\[(30;48;5;\d+|0)m", "", text)
    assert "\x1b" not in ours
    assert "\u202e" not in ours
    assert r"\x1b[2J\u202e" in ours
    assert ("\x1b[30;48;5;" in text) is colour


def test_the_text_lists_the_strongest_tokens_first(scored, probe):
    listed = to_text(scored, probe, colour=False).split("strongest tokens")[1].splitlines()[1:]
    assert [float(line.split()[0]) for line in listed] == [1.0, -0.5, -0.25, 0.125, 0.0, 0.0]


def test_joiners_of_ordinary_writing_are_left():
    assert printable("क्\u200dष a\u200b\x07") == "क्\u200dष a\\u200b\\x07"


def test_pieces_of_a_character_stand_at_its_last_token(model_folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    text = "the 東京 🚀 is"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    texts = token_texts(ids, tokenizer)
    assert "".join(texts) == text
    assert len(texts) == len(ids)
    assert "東" in texts
    assert token_texts(ids[: len(ids) // 2], tokenizer)  # a cut character does not fail


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "in.jsonl"
    rows = [{"ids": "x", "inputs": "fire in the garden"}, {"ids": "y", "inputs": "<img src=x onerror=alert(1)>"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def explain(*arguments):
    return CliRunner().invoke(app, ["explain", *map(str, arguments)])


def test_the_command_explains_one_conversation_of_a_file(probe_folder, file, tmp_path):
    done = explain("--probe", probe_folder, "--id", "y", file, "--html", tmp_path / "why.html")
    assert done.exit_code == 0, done.exception
    assert "img" not in Page((tmp_path / "why.html").read_text()).tags
    done = explain("--probe", probe_folder, "--id", "x", file)
    assert "fire in the garden" in done.output


def test_without_a_file_the_datasets_in_use_are_searched(probe_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("one", "a poem"), ("two", "a fire")):
        rows = [{"ids": name, "inputs": text}, {"ids": "both", "inputs": text}]
        path = Dataset(name, "dev").path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "a fire" in explain("--probe", probe_folder, "--id", "two").output
    assert "several conversations have the id 'both'" in str(explain("--probe", probe_folder, "--id", "both").exception)
    assert "no conversation has the id 'z'" in str(explain("--probe", probe_folder, "--id", "z").exception)


def test_an_id_that_is_not_there_is_refused_before_the_model_loads(probe_folder, file, monkeypatch):
    from models_under_pressure.monitor import score

    monkeypatch.setattr(score, "load_probe_model", lambda *_, **__: pytest.fail("the model was loaded"))
    done = explain("--probe", probe_folder, "--id", "z", file)
    assert isinstance(done.exception, UserError)
    assert "no conversation has the id 'z'" in str(done.exception)
