"""What a table of versions may say, what it is refused for, and which datasets are in use."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.section import load_plain
from models_under_pressure.datasets.lineage import LINEAGE_PATH, Lineage, latest_versions

ROOT = Path(__file__).parents[2]


def plain():
    """data/versions.yaml as plain values, to be changed."""
    return load_plain(ROOT / LINEAGE_PATH)


def test_a_cycle_of_parents_and_an_unknown_source_are_refused():
    content = plain()
    content["versions"]["mt_apr_16"]["parent"] = "mt_apr_30"
    with pytest.raises(ValueError, match="its parents form a cycle"):
        Lineage.model_validate(content)
    content["versions"]["mt_apr_16"]["parent"] = "mt_mar_20"
    content["versions"]["mts2_mar_20"] = content["versions"].pop("mts_mar_20")
    with pytest.raises(ValueError, match="mts2_mar_20: its name must begin with a source and _"):
        Lineage.model_validate(content)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda content: content["versions"]["mt_apr_30"].update(parent="mt_may_1"),
            "its parent mt_may_1 does not exist",
        ),
        (lambda content: content["versions"]["mt_apr_30"].update(parent="aya_mar_25"), "must be a version of mt"),
        (lambda content: content["versions"].update({"mt-2": {}}), "'mt-2' is no word"),
        (lambda content: content["datasets"]["dev"].update(a="mt_may_1"), "dev.a: there is no version 'mt_may_1'"),
        (lambda content: content["datasets"]["dev"].update(a="aya_apr_22"), "aya_apr_22 has no dev split, but test"),
        (lambda content: content["datasets"]["dev"].update(a="/tmp/a.jsonl"), "the graph does not watch /tmp/a.jsonl"),
        (lambda content: content["datasets"]["dev"].update(a="data/own/../a.jsonl"), "the graph does not watch"),
        (lambda content: content["datasets"]["dev"].update({"a b": "mt_apr_30"}), "'a b' is no word"),
        (lambda content: content["datasets"]["dev"].update(a="mt_apr_30"), "'mt_dev' and 'a' are one file"),
        (lambda content: content["datasets"]["dev"].update(mt_test="mt_apr_16"), "is a dev and a test dataset"),
        (lambda content: content["datasets"]["train"].update(b="data/own/b.jsonl"), "exactly one dataset is needed"),
        (lambda content: content["datasets"].update(tests={}), "tests"),
    ],
)
def test_an_entry_that_cannot_be_used_is_refused_by_name(change, problem):
    content = plain()
    change(content)
    with pytest.raises(ValueError, match=problem):
        Lineage.model_validate(content)


def test_the_longest_source_that_a_name_begins_with_is_meant():
    content = plain()
    content["sources"]["mt_more"] = {"test_fraction": 0.5}
    content["versions"]["mt_more_apr_1"] = {"parent": "mt_more_source", "steps": []}
    version = Lineage.model_validate(content).version("mt_more_apr_1")
    assert (version.dataset, version.version, version.parent) == ("mt_more", "apr_1", "source")


def test_the_datasets_in_use_are_the_last_version_of_each_set():
    lineage = Lineage.model_validate(plain())
    found = {name: value for entries in lineage.datasets.values() for name, value in entries.items()}
    assert found == latest_versions(lineage)


def test_a_version_that_there_is_none_of_is_told_with_those_that_there_are():
    lineage = Lineage.model_validate(plain())
    with pytest.raises(UserError) as caught:
        lineage.version("mt_may_1")
    assert str(caught.value) == (
        f"data/versions.yaml: no version 'mt_may_1'. Remedy: use one of {', '.join(lineage.versions)}."
    )


def test_the_datasets_in_use_are_in_the_order_of_their_purposes_with_the_files_that_they_are():
    content = plain()
    content["datasets"]["dev"] = {"mt": "mt_apr_30", "table": "data/own/mine.csv", "lines": "data/evals/lines.jsonl"}
    content["datasets"]["test"] = {}
    train, validation, control, version, *files = Lineage.model_validate(content).in_use
    assert [one.purpose for one in (train, validation, control, version)] == ["train", "validation", "control", "dev"]
    assert version.model_dump(mode="json") == {
        "name": "mt",
        "purpose": "dev",
        "path": "data/evals/mt_apr_30/mt_balanced_apr_30.jsonl",
        "version": "mt_apr_30",
        "raw": "data/evals/mt_apr_30/mt_raw_apr_30.jsonl",
    }
    assert [one.model_dump(mode="json") for one in files] == [
        {"name": name, "purpose": "dev", "path": path, "version": None, "raw": None}
        for name, path in (("table", "data/own/mine.csv"), ("lines", "data/evals/lines.jsonl"))
    ]


REFUSED = {
    "versions: Value error, 'mt-2' is no word (letters, digits and _): rename it": ("versions", "mt-2", {}),
    "versions: Value error, xy_1: its name must begin with a source and _, such as anthropic_apr_30": (
        "versions", "xy_1", {},
    ),
    "versions: Value error, mt_b: its parent must be a version of mt, or mt_source": (
        "versions", "mt_b", {"parent": "aya_mar_25", "steps": []},
    ),
    "Value error, versions.mt_b: its parent mt_a does not exist": ("versions", "mt_b", {"parent": "mt_a", "steps": []}),
    "Value error, versions.mt_b: its parents form a cycle through mt_b": (
        "versions", "mt_b", {"parent": "mt_b", "steps": []},
    ),
    "Value error, datasets.dev: 'a b' is no word (letters, digits and _): rename it": ("dev", "a b", "mt_apr_30"),
    "Value error, datasets.dev.a: the graph does not watch /tmp/a.jsonl: move it into data/own": (
        "dev", "a", "/tmp/a.jsonl",
    ),
    "Value error, datasets.dev.a: the graph does not watch a.jsonl: move it into data/own": ("dev", "a", "a.jsonl"),
    "Value error, datasets.dev.a: aya_apr_22 has no dev split, but test": ("dev", "a", "aya_apr_22"),
    "Value error, datasets.train.a: mt_apr_30 has no train split, but dev and test": ("train", "a", "mt_apr_30"),
    "Value error, datasets: 'mt_dev' and 'a' are one file, data/evals/mt_apr_30/mt_balanced_apr_30.jsonl: "
    "remove one": ("dev", "a", "mt_apr_30"),
    "Value error, datasets: 'mt_dev' is a dev and a test dataset: rename one": ("test", "mt_dev", "mt_apr_16"),
    "Value error, datasets.validation: exactly one dataset is needed": ("validation", "a", "data/own/a.jsonl"),
}  # fmt: skip


@pytest.mark.parametrize("problem", REFUSED)
def test_what_is_refused_says_the_entry_and_what_to_do(problem):
    section, name, value = REFUSED[problem]
    content = plain()
    (content["versions"] if section == "versions" else content["datasets"][section])[name] = value
    with pytest.raises(ValidationError) as caught:
        Lineage.model_validate(content)
    (error,) = caught.value.errors()
    told = f"{'.'.join(map(str, error['loc']))}: {error['msg']}".removeprefix(": ")
    assert told == problem


def test_an_unknown_version_is_told_with_the_known_ones():
    content = plain()
    content["datasets"]["dev"]["a"] = "mt_may_1"
    with pytest.raises(ValidationError) as caught:
        Lineage.model_validate(content)
    known = ", ".join(content["versions"])
    assert caught.value.errors()[0]["msg"] == (
        f"Value error, datasets.dev.a: there is no version 'mt_may_1' (nor is it the path of a file); versions: {known}"
    )


def test_a_recipe_that_is_no_mapping_or_names_no_parent_is_refused_as_such():
    wrong = [(["steps"], "versions.mt_b"), (None, "versions.mt_b"), ({"steps": []}, "versions.mt_b.parent")]
    for entry, missing in wrong:
        content = plain()
        content["versions"]["mt_b"] = entry
        with pytest.raises(ValidationError) as caught:
            Lineage.model_validate(content)
        assert missing in {".".join(map(str, error["loc"])) for error in caught.value.errors()}
    with pytest.raises(ValidationError, match="versions"):
        Lineage.model_validate(plain() | {"versions": ["mt_b"]})


def test_without_sources_no_version_has_a_name_and_an_example_is_given_all_the_same():
    content = {"sources": {}, "versions": {"a_b": {}}, "datasets": {}}
    with pytest.raises(ValidationError, match="a_b: its name must begin with a source and _, such as mt_apr_30"):
        Lineage.model_validate(content)


def test_a_cycle_is_found_from_a_version_that_is_not_part_of_it():
    content = plain()
    content["versions"] = {
        "mt_a": {"parent": "mt_b", "steps": []},
        "mt_b": {"parent": "mt_c", "steps": []},
        "mt_c": {"parent": "mt_b", "steps": []},
    }
    with pytest.raises(ValidationError, match=r"versions\.mt_.*: its parents form a cycle through mt_b"):
        Lineage.model_validate(content)
