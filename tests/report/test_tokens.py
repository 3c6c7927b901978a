"""Heat maps on the report page: every token once, hostile text as text, shades that a legend explains."""

import re
from html.parser import HTMLParser

import pytest

from models_under_pressure.report.page import token_maps


class Tokens(HTMLParser):
    """The words of the first heat map, and what each shaded token says."""

    def __init__(self, source):
        super().__init__()
        self.words, self.titles, self.classes, self.inside = "", [], [], 0
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.inside += (tag == "div" and "words" in found.get("class", "").split()) or (
            self.inside > 0 and tag == "span"
        )
        if "title" in found:
            self.titles.append(found["title"])
            self.classes.append(found["class"].split())

    def handle_endtag(self, tag):
        self.inside -= self.inside > 0

    def handle_data(self, data):
        self.words += data if self.inside else ""


def test_the_text_of_a_record_reads_as_it_was_also_where_a_character_is_several_tokens(token_map):
    one = token_map()
    assert Tokens(token_maps([one])).words == "".join(one.texts)


def test_every_token_that_the_probe_sees_has_its_numbers(token_map):
    assert Tokens(token_maps([token_map()])).titles == [
        "alone +2.000, adds +0.5000",
        "alone -1.000, adds -0.1000",
        "alone +0.400, adds +0.1000",
        "alone +0.900, adds +0.3000",
        "alone -3.000, adds -0.1000",
    ]


def test_tokens_that_the_probe_does_not_see_are_grey_and_have_no_shade(token_map):
    source = token_maps([token_map()])
    assert '<div class="words unseen" dir="auto">&lt;|im_start|&gt;user' in source
    assert len(Tokens(token_maps([token_map(seen=("assistant",))])).titles) == 0


def test_shades_are_those_of_the_legend_and_have_two_sides(token_map):
    source = token_maps([token_map()])
    alone = [names[0] for names in Tokens(source).classes]
    assert alone == ["a-p4", "a-n2", "a-p1", "a-p2", "a-n4"]
    legend = source.split("legend of-alone")[1].split("</div>")[0]
    assert re.findall(r"swatch\">([^<]+)<", legend) == [
        "−2 or less", "−1.5", "−1", "−0.5", "0", "+0.5", "+1", "+1.5", "+2 or more"
    ]  # fmt: skip


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e4])
def test_the_scale_suits_any_size_of_numbers(token_map, factor):
    maps = [token_map(logits=tuple(factor * value for value in token_map().logits))]
    assert {names[0] for names in Tokens(token_maps(maps)).classes} >= {"a-p4", "a-n4"}


def test_a_record_of_zeros_has_no_shade(token_map):
    maps = [token_map(logits=(0.0,) * 7, contributions=(0.0,) * 7)]
    assert {name for names in Tokens(token_maps(maps)).classes for name in names} == {"a-z0", "c-z0"}


def test_the_tokens_that_add_most_stand_in_words(token_map):
    assert "Adds most: “" in token_maps([token_map()])
    assert "“🧑‍🚒” (user) +0.300" in token_maps([token_map()])


def test_nothing_of_a_record_is_markup(token_map, evil):
    source = token_maps([token_map(dataset=evil, choices=(evil,), label=evil, roles=(evil,) * 7)])
    tags = set(re.findall(r"<(\w+)", source))
    allowed = "b p div span ul li label legend fieldset input select option details summary"
    assert tags <= set(allowed.split())


def test_without_records_there_is_nothing():
    assert token_maps([]) == ""
