import json
from pathlib import Path

import pytest

from models_under_pressure.datasets.distribution import chart_rows, distribution, to_markdown, to_table
from models_under_pressure.params.dataset_files import dataset_files
from models_under_pressure.params.lineage import load_lineage
from models_under_pressure.records import Label, Message, Record, write_records
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


def test_every_version_is_described_on_dev_and_test_raw_and_balanced():
    files = dataset_files(load_lineage(ROOT / "data/versions.yaml"))
    assert list(files["mt_apr_30"]) == ["dev_raw", "dev_balanced", "test_raw", "test_balanced"]
    assert files["mt_apr_30"]["test_balanced"].as_posix() == "data/evals/test/mt_test_balanced_apr_30.jsonl"
    assert list(files["aya_apr_22"]) == ["test_raw", "test_balanced"]
    assert list(files["training"]) == ["train", "test"]
    assert set(files["deployment"]) == {"medical", "software", "chatbot"}


def test_the_stage_writes_metrics_and_a_figure_of_all_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_records(tmp_path / "a.jsonl", ROWS)
    describe.run({"mt_apr_30": {"dev_raw": tmp_path / "a.jsonl", "dev_balanced": tmp_path / "a.jsonl"}})
    metrics = json.loads((tmp_path / "metrics/distribution.json").read_text())
    assert metrics["mt_apr_30"]["dev_raw"] == distribution(ROWS)
    figure = (tmp_path / "plots/label_counts.json").read_text()
    first = figure, (tmp_path / "metrics/distribution.json").read_bytes()
    describe.run({"mt_apr_30": {"dev_raw": tmp_path / "a.jsonl", "dev_balanced": tmp_path / "a.jsonl"}})
    assert first == (
        (tmp_path / "plots/label_counts.json").read_text(),
        (tmp_path / "metrics/distribution.json").read_bytes(),
    )
    assert '"dev_balanced"' in figure
    assert "https://vega.github.io" in figure


def test_tables_have_a_line_per_file_and_rows_for_the_figure_one_per_label():
    found = {"mt dev": distribution(ROWS)}
    assert len(to_table(found).splitlines()) == 2
    assert to_markdown(found).splitlines()[2].startswith("| mt dev | 3 | 1 | 2 | 0 |")
    rows = chart_rows("mt", found["mt dev"], part="dev_raw")
    assert {row["label"]: row["rows"] for row in rows} == {"high-stakes": 1, "low-stakes": 2, "ambiguous": 0}
