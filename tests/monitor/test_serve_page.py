"""The page of `mup serve` in a real browser, by keyboard: tokens, curve, threshold; hostile text stays text."""

import os
from dataclasses import replace

import pytest
from browser import BROWSER, browser
from pydantic import SecretStr
from serve_server import reciting, serving

from models_under_pressure.activations.chat import ChatTemplate
from models_under_pressure.activations.config import ModelConfig
from models_under_pressure.activations.model import load_language_model
from models_under_pressure.monitor.live import Monitor
from models_under_pressure.monitor.serving.page import page
from models_under_pressure.probes.calibration import Threshold

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BROWSER is None and not os.environ.get("MUP_REQUIRE_BROWSER"),
        reason="no Chromium or Chrome (MUP_REQUIRE_BROWSER=1 makes that an error)",
    ),
]
IMAGE, SCRIPT = "<img src=x onerror=\"document.title='owned'\">", "</script><script>alert(1)</script>"
EVIL = (IMAGE, " ab\u202edc", "\x07\x1b[2J", SCRIPT)


@pytest.fixture(scope="module")
def server(model_folder, probe, tmp_path_factory):
    folder = reciting(model_folder, tmp_path_factory.mktemp("hostile"), *EVIL)
    model = load_language_model(ModelConfig(name=str(folder), dtype="float32"))
    origin = {"model": model.name, "revision": model.revision}
    origin |= {"template_hash": ChatTemplate(model.tokenizer, model.name).hash}
    row = Threshold(budget=0.01, logit=0.0, fpr=0, fpr_low=0, fpr_high=1, tpr=1, negatives=1, positives=1)
    own = replace(probe, provenance={**probe.provenance, **origin}, thresholds=(row,))
    other = replace(own, thresholds=())
    with serving(Monitor({"attention": own, "<b>other</b>": other}, model), key=SecretStr("sesame")) as served:
        yield served


def test_a_talk_by_keyboard(server, tmp_path):
    with browser(tmp_path) as tab:
        tab.open(server.url)
        tab.wait("!document.getElementById('door').hidden && document.activeElement?.id === 'key'")
        tab.type("sesame")
        tab.press("Enter", 13)
        tab.wait("document.activeElement?.id === 'question'")
        tab.complaints.clear()  # that the key was asked for
        asked = "<i>Is</i> there \u202ea fire?\x07"
        tab.type(asked)
        tab.press("Enter", 13)
        tab.wait("document.querySelector('.verdict') && !document.getElementById('send').disabled")
        words = tab.value("[...document.querySelectorAll('.words')].map((element) => element.textContent)")
        assert words[0].replace("\\u0007", "") == "<i>Is</i> there \\u202ea fire?"
        assert words[1] == IMAGE + " ab\\u202edc" + "\\u0007\\u001b[2J" + SCRIPT
        assert tab.value("document.title") == "A model under watch"
        assert tab.value("document.querySelectorAll('#turns img, #turns script, #turns i').length") == 0
        assert tab.value("document.querySelectorAll('.words span[title]').length") == len(EVIL)
        assert tab.value("document.querySelector('svg .score').getAttribute('points').split(' ').length") == len(EVIL)
        assert tab.value("document.querySelectorAll('svg .threshold').length") == 1
        assert "it flags from" in tab.value("document.getElementById('told').textContent")

        tab.value("document.getElementById('probe').focus()")
        tab.press("ArrowDown", 40)
        tab.wait("document.getElementById('told').textContent.includes('<b>other</b>: after 4 tokens')")
        assert tab.value("document.querySelectorAll('svg .threshold').length") == 0
        tab.value("document.getElementById('question').focus()")
        tab.type("And now?")
        tab.press("Enter", 13)
        tab.wait("document.querySelectorAll('.verdict').length === 2")
        assert tab.complaints == []
        for name, settings in (("light", {}), ("dark", {"dark": True}), ("narrow", {"width": 390})):
            picture = tmp_path / f"page-{name}.png"
            tab.look(picture, **settings)
            assert picture.stat().st_size > 5_000
        assert tab.value("document.documentElement.scrollWidth <= 390")


def test_a_page_that_would_fail_is_noticed(server, tmp_path):
    """The checks above can fail: markup set as markup is refused by the policy, and the console says so."""
    with browser(tmp_path) as tab:
        tab.open(server.url)
        tab.wait("document.activeElement?.id === 'key'")
        tab.complaints.clear()
        tried = "try { document.body.innerHTML = '<b>x</b>'; 'done' } catch (error) { error.name }"
        assert tab.value(tried) == "TypeError"
        tab.value("document.body.append(Object.assign(document.createElement('style'), { textContent: 'b {}' }))")
        assert tab.complaints


def test_the_page_holds_no_address_but_its_own():
    shown = page()
    assert "http" not in shown.html.replace("http://www.w3.org/2000/svg", "")
    assert "connect-src 'self'" in shown.headers["Content-Security-Policy"]
    assert "unsafe" not in shown.headers["Content-Security-Policy"]
