import json
from pathlib import Path

import pytest
from stakes import STAKES

from models_under_pressure.core.concept import PAPER
from models_under_pressure.core.conversation import Message
from models_under_pressure.core.files import write_json
from models_under_pressure.core.paths import CONFOUNDERS
from models_under_pressure.core.records import Label, Record, write_records
from models_under_pressure.datasets.deployment import dataset_files
from models_under_pressure.datasets.distribution import chart_rows, distribution, stakes_rows, to_table
from models_under_pressure.datasets.files import manifest_path, split_path
from models_under_pressure.datasets.lineage import load_lineage
from models_under_pressure.stages import describe

ROOT = Path(__file__).parents[2]
ROWS = [
    Record("1", "four", Label.HIGH),
    Record("2", (Message("system", "ab"), Message("user", "cdef")), Label.LOW),
    Record("3", "x" * 11, Label.LOW),
]


def test_lengths_count_characters_of_messages_without_role_names():
    found = distribution(ROWS)
    assert (found["rows"], found["high-stakes"], found["low-stakes"], found["ambiguous"]) == (3, 1, 2, 0)
    assert (found["characters_mean"], found["characters_min"], found["characters_max"]) == (7.0, 4, 11)
    assert (found["turns_mean"], found["turns_max"]) == (1.3, 2)


def test_an_empty_dataset_is_refused():
    with pytest.raises(ValueError, match="empty"):
        distribution([])


def test_every_version_is_described_on_dev_and_test_raw_and_balanced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for dataset, version, splits in (("mt", "apr_30", ("dev", "test")), ("aya", "apr_22", ("test",))):
        write_json(manifest_path(dataset, version), {"dataset": dataset, "version": version, "parent": "apr_16"})
        for split in splits:
            write_records(split_path(dataset, version, split), [])
    write_json(manifest_path("mt", "source"), {"dataset": "mt", "version": "source"})
    files = dataset_files(STAKES.deployment)
    assert set(files) == {"mt_apr_30", "aya_apr_22", "training", "deployment"}
    assert list(files["mt_apr_30"]) == ["dev_raw", "dev_balanced", "test_raw", "test_balanced"]
    assert files["mt_apr_30"]["test_balanced"].as_posix() == "data/evals/mt_apr_30/mt_test_balanced_apr_30.jsonl"
    assert list(files["aya_apr_22"]) == ["test_raw", "test_balanced"]
    assert list(files["training"]) == ["train", "test"]
    assert set(files["deployment"]) == {"medical", "software", "chatbot"}


def confounded():
    figures = {"auroc": 0.6, "auroc_low": 0.5, "auroc_high": 0.7}
    shared = dict.fromkeys(("auroc", "auroc_low", "auroc_high"), 0.5)
    state = {"size": {"rows": 3, "pairs": 1, "groups": 1}, "text_length": figures, "tone": shared}
    return {"summary": {"after": state, "before": state}}


def test_the_stage_writes_metrics_and_a_figure_of_all_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.jsonl"
    write_records(path, ROWS)
    write_json(CONFOUNDERS, confounded())

    def run():
        files = {"mt_apr_30": {"dev_raw": path, "dev_balanced": path}}
        describe.run(files, in_use={"train": (ROWS, []), "mt_dev": (ROWS, ROWS)}, train="train", words=PAPER)

    run()
    counts = json.loads((tmp_path / "data/results/distribution.json").read_text())
    assert counts["mt_apr_30"]["dev_raw"] == distribution(ROWS)
    metrics = json.loads((tmp_path / "metrics/distribution.json").read_text())
    assert metrics["mt_dev"] == {"high-stakes": 1, "low-stakes": 2, "characters_mean": 7.0}
    assert json.loads((tmp_path / "metrics/confounders.json").read_text()) == {"pairs": 1, "text_length": 0.6}
    figure = (tmp_path / "plots/label_counts.json").read_text()

    def written():
        files = ("plots/label_counts.json", "metrics/distribution.json", "data/results/distribution.json")
        return [(tmp_path / name).read_bytes() for name in files]

    first = written()
    run()
    assert first == written()
    assert '"dev_balanced"' in figure
    assert "https://vega.github.io" in figure
    for name in ("label_distribution", "telling_words", "confounders"):
        assert json.loads((describe.DRAWN / f"{name}.json").read_text())["description"]


def test_stakes_tell_what_is_in_use_and_why_the_rest_is_not():
    raw = [
        Record("1", "a", Label.HIGH, 9),
        Record("2", "b", Label.HIGH, 9),
        Record("3", "c", Label.LOW, 1),
        Record("4", "d", Label.AMBIGUOUS, 5),
        Record("5", "e", Label.LOW),
    ]
    rows = stakes_rows("mt", [raw[0], raw[2], raw[4]], raw)
    assert {(row["stakes"], row["kind"]): row["rows"] for row in rows} == {
        (0, "low-stakes"): 1,
        (1, "low-stakes"): 1,
        (5, "ambiguous"): 1,
        (9, "balanced"): 1,
        (9, "high-stakes"): 1,
    }
    assert sum(row["rows"] for row in rows) == len(raw)


def test_the_raw_file_of_a_balanced_one_is_found_and_of_others_there_is_none():
    raw = {one.path.as_posix(): one.raw for one in load_lineage(ROOT / "data/versions.yaml").in_use}
    balanced = "data/evals/mt_apr_30/mt_test_balanced_apr_30.jsonl"
    assert raw[balanced] == Path("data/evals/mt_apr_30/mt_test_raw_apr_30.jsonl")
    assert raw["data/training/prompts_4x/train.jsonl"] is None


def test_tables_have_a_line_per_file_and_rows_for_the_figure_one_per_label():
    found = {"mt dev": distribution(ROWS)}
    assert to_table(found, STAKES.classes).splitlines()[1].split()[:6] == ["mt", "dev", "3", "1", "2", "0"]
    rows = chart_rows("mt", found["mt dev"], part="dev_raw")
    assert {row["label"]: row["rows"] for row in rows} == {"high-stakes": 1, "low-stakes": 2, "ambiguous": 0}
