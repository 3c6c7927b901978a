"""The report page as text: complete, safe, accessible."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from models_under_pressure.core.records import Record
from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.report.content import Report, worst_errors
from models_under_pressure.report.page import render_page

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Elements with their attributes, and what is left open or closed wrongly."""

    def __init__(self, source):
        super().__init__()
        self.elements, self.stack, self.faults, self.words = [], [], [], []
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        if not self.stack or self.stack.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data):
        if self.stack and self.stack[-1] not in ("script", "style"):
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def source(report):
    return render_page(report)


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


def test_the_page_is_well_formed(page):
    assert page.stack == []
    assert page.faults == []
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))


def test_every_link_stays_on_the_page_and_has_a_target(page):
    identifiers = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = [attributes["href"] for attributes in page.all("a")]
    assert links
    assert all(link.startswith("#") and link[1:] in identifiers for link in links)


def test_nothing_is_loaded_from_anywhere(page, source):
    assert page.all("img") == []
    assert all("src" not in attributes for attributes in page.all("script"))
    assert [attributes["href"] for attributes in page.all("link")] == ["data:,"]
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    assert "@import" not in source
    assert "url(" not in source.split("<style>")[1].split("</style>")[0]


def test_hostile_text_is_shown_as_text_everywhere(page, report):
    # Only the page's own three scripts and one data block per figure.
    assert len(page.all("script")) == 3 + len(report.figures)
    assert "img" not in {tag for tag, _ in page.elements}
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    shown = "".join(page.words)
    assert shown.count("</script><script>document.title='owned'</script>") > 20


def test_chart_data_reads_back_and_cannot_close_its_element(source, report):
    blocks = re.findall(r'<script type="application/json" id="chart-(\w+)">(.*?)</script>', source, re.DOTALL)
    assert [name for name, _ in blocks] == [figure.name for figure in report.figures]
    for (_, block), figure in zip(blocks, report.figures, strict=True):
        assert json.loads(block) == figure.specification
        assert "<" not in block


def test_headings_descend_without_gaps(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_a_screen_reader_finds_language_landmarks_tables_and_figures(page, report):
    assert page.all("html") == [{"lang": "en"}]
    assert {"header", "main", "footer", "nav"} <= {tag for tag, _ in page.elements}
    assert page.all("a")[0]["class"] == "skip"
    assert len(page.all("caption")) == len(page.all("table"))
    assert all("scope" in attributes for attributes in page.all("th"))
    identifiers = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    charts = [attributes for attributes in page.all("div") if "data-chart" in attributes]
    assert len(charts) == len(report.figures)
    for chart in charts:
        assert chart["aria-label"]
        assert chart["aria-describedby"] in identifiers
    for _, attributes in page.elements:
        if "scroll" in attributes.get("class", ""):
            assert attributes["tabindex"] == "0"


def _luminance(colour):
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_is_legible_in_both_schemes(source):
    """WCAG 2.1 AA: contrast of at least 4.5 for text on the page and on cards."""
    schemes = re.findall(
        r"--page: (#\w{6}); --ink: (#\w{6}); --muted: (#\w{6}); --rule: #\w{6}; --card: (#\w{6}); --link: (#\w{6})",
        source,
    )
    assert len(schemes) == 2
    for background, ink, muted, card, link in schemes:
        for behind in (background, card):
            for front in (ink, muted, link):
                light, dark = sorted((_luminance(behind), _luminance(front)), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_results_stand_with_n_and_intervals(page, report):
    shown = " ".join("".join(page.words).split())
    found = report.metrics["mts_test"]["attention"]
    assert f"{found['auroc']:.3f} [{found['auroc_low']:.3f}, {found['auroc_high']:.3f}]" in shown
    assert "TPR at 1 % false positives by dataset" in shown
    mean = report.means["dev"]["mean"]
    assert f"{mean['auroc']:.3f} [{mean['auroc_low']:.3f}, {mean['auroc_high']:.3f}]" in shown


def test_every_worst_error_links_to_its_explanation(page, report):
    links = [a["href"] for a in page.all("a") if a["href"].startswith("#error-")]
    assert links == [f"#error-{number}" for number in range(1, len(report.errors) + 1)]
    articles = [a["id"] for a in page.all("article")]
    assert articles == [link[1:] for link in links]


def test_equal_reports_give_equal_pages(report, source):
    assert render_page(report) == source


def test_a_bare_report_leaves_out_what_it_lacks(report):
    bare = Page(render_page(Report(title="T", summary="S", facts={}, metrics=report.metrics)))
    sections = [attributes["id"] for attributes in bare.all("section")]
    assert sections == ["results"]
    assert bare.all("script") == []


def test_a_metric_that_is_not_defined_is_a_dash(report):
    metrics = report.metrics | {"one_class": {"mean": {"n": 3, "positives": 0, "brier": 0.1}}}
    assert "–" in Page(render_page(replace(report, metrics=metrics))).words


def test_the_page_stays_small_enough_to_mail(source):
    assert len(source.encode()) < 2_000_000


def test_worst_errors_are_the_farthest_wrong_and_none_that_is_right():
    scores = ScoreList(
        "mt",
        "mean",
        1,
        ("a", "b", "c", "d"),
        ("a", "b", "c", "d"),
        np.array([True, True, False, False]),
        np.zeros(4),
        np.array([0.4, 0.1, 0.99, 0.2]),
    )
    records = {"mt": {id_: Record(id_, f"text {id_}") for id_ in "abcd"}}
    found = worst_errors([scores], records, most=5)
    assert [(error.record.id, error.label) for error in found] == [
        ("c", "low-stakes"),
        ("b", "high-stakes"),
        ("a", "high-stakes"),
    ]
    assert len(worst_errors([scores], records, most=1)) == 1
    with pytest.raises(KeyError):
        worst_errors([scores], {"mt": {}})
