"""`mup drift` compares new traffic with a control set, and with the project's own."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from models_under_pressure.activations.config import ExtractConfig, ModelConfig
from models_under_pressure.activations.extract import extract_files
from models_under_pressure.cli import app
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.paths import Dataset, store_path
from models_under_pressure.core.records import Label, Record, write_records
from models_under_pressure.probes.data import with_labels
from models_under_pressure.probes.operating import with_control
from models_under_pressure.probes.probe import save_probe
from models_under_pressure.tools.drift import ALARM_STATUS, promises

WORDS = {"ordinary": ["cake", "poem", "garden", "song"], "other": ["bleeding", "overdose", "chest pain", "fire"]}


def conversations(kind, size, seed):
    generator = np.random.default_rng(seed)
    return [
        Record(f"{kind}{seed}_{number}", " ".join(generator.choice(WORDS[kind], 6)), Label.LOW)
        for number in range(size)
    ]


def files(tmp_path):
    made = {"control": ("ordinary", 60, 1), "alike": ("ordinary", 50, 2), "other": ("other", 50, 3)}
    for name, (kind, size, seed) in made.items():
        write_records(tmp_path / f"{name}.jsonl", conversations(kind, size, seed))


def drift(*arguments):
    return CliRunner().invoke(app, ["drift", *map(str, arguments), "--device", "cpu"])


def test_other_traffic_than_the_control_set_ends_with_the_status_of_an_alarm(probe_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files(tmp_path)
    options = ["--probe", probe_folder, "--control", "control.jsonl", "--format", "json"]
    alike, other = (drift(f"{name}.jsonl", *options) for name in ("alike", "other"))
    assert alike.exit_code == 0, alike.output
    assert other.exit_code == ALARM_STATUS, other.output
    found = json.loads(other.stdout)
    assert found["alarm"] is True
    assert found["sizes"] == {"new": 50, "control": 60}
    assert {"scores", "activations"} <= {check["name"] for check in found["checks"] if check["alarm"]}


def test_in_a_project_the_control_set_and_the_training_prompts_are_its_own(
    probe, model_folder, tmp_path, monkeypatch, store_of
):
    monkeypatch.chdir(tmp_path)
    files(tmp_path)
    ordinary = conversations("ordinary", 320, 5)
    labelled = [*conversations("other", 20, 6), *conversations("ordinary", 20, 7)]
    control, train = Dataset("ours", "control"), Dataset("train", "train")
    params = f"models: {{toy: {model_folder}}}\nmodel: {{name: toy}}\nprobe: {{layer: 2}}\n"
    (tmp_path / "params.yaml").write_text(params)
    model, config = ModelConfig(name=str(model_folder), dtype="float32"), ExtractConfig(stored="float32")
    for one, records in ((control, ordinary), (train, labelled)):
        write_records(one.path, records)
        list(extract_files([(one.path, {2: store_path("toy", one, 2)})], model=model, config=config))
    highs = [Record(one.id, one.input, Label.HIGH) for one in conversations("other", 9, 8)]
    judged = with_control(probe, [with_labels(store_of(ordinary), ordinary)], with_labels(store_of(highs), highs))
    assert [row.budget for row in judged.thresholds if row.refused] == [0.0005, 0.001]
    assert [promise.budget for promise in promises(judged)] == [0.01, 0.05, 0.1]
    save_probe(judged, tmp_path / "judged")
    told = drift("alike.jsonl", "--probe", "judged")
    assert told.exit_code == 0, told.output
    assert "training" in told.stdout
    assert "flags at 1 %" in told.stdout
    assert "at most 0.00" in told.stdout
    assert told.stdout.endswith("no alarm: the new traffic is like the control set\n")
    control.path.unlink()
    with pytest.raises(UserError, match="no control set.*--control"):
        CliRunner().invoke(app, ["drift", "alike.jsonl", "--probe", "judged"], catch_exceptions=False)


def test_a_control_set_with_high_stakes_records_is_refused(probe, store_of):
    records = [Record("a", "fire", Label.HIGH), Record("b", "cake", Label.LOW)]
    data = with_labels(store_of(records), records)
    with pytest.raises(UserError, match="1 control records are not low-stakes"):
        with_control(probe, [data], data)


def test_an_empty_file_is_told(probe_folder, tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(UserError, match="there is no conversation"):
        CliRunner().invoke(
            app, ["drift", str(tmp_path / "empty.jsonl"), "--probe", str(probe_folder)], catch_exceptions=False
        )
