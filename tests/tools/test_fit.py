"""`mup fit`: from a table to a measured probe, outside any project."""

import csv
import importlib.util
import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from models_under_pressure.activations.config import ModelConfig
from models_under_pressure.core.errors import UserError
from models_under_pressure.datasets.columns import Asked
from models_under_pressure.evaluation.metrics import auroc
from models_under_pressure.probes.weights import spoken_weights
from models_under_pressure.tools import fit

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("pipeline_conftest", ROOT / "tests/pipeline/conftest.py")
pipeline_conftest = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(pipeline_conftest)


@pytest.fixture
def mup_fit(warm_path, tmp_path):
    """`mup fit` in a process of its own."""
    environment = os.environ | {"PATH": warm_path, "PYTHONPATH": str(ROOT / "src")}

    def run(*arguments):
        command = ["python", "-m", "models_under_pressure", "fit", *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "model"
    pipeline_conftest.save_tiny_model(path)
    return path


def write_table(path, *, rows, seed, noise=0.0):
    """Half of the texts are of other letters; `noise` is the share of labels drawn by lot."""
    drawn = np.random.default_rng(seed)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["comment", "harmful"])
        for number in range(rows):
            harmful = number % 2 == 0
            letters = list("vwxyz" if harmful else "abcde")
            words = ["".join(drawn.choice(letters, 5)) for _ in range(6)]
            label = bool(drawn.integers(2)) if drawn.random() < noise else harmful
            writer.writerow([" ".join(words), "yes" if label else "no"])
    return path


@pytest.mark.slow
def test_a_table_becomes_a_saved_probe_and_a_table_of_metrics_outside_any_project(model, mup_fit, tmp_path):
    write_table(tmp_path / "train.csv", rows=60, seed=0)
    write_table(tmp_path / "test.csv", rows=40, seed=1)
    done = mup_fit("train.csv", "test.csv", "--model", model, "--probes", "mean_logistic,difference_of_means")
    assert "train.csv: text = comment, label = harmful, id = the row's number; negative 30, positive 30" in done.stderr
    assert "fitted on 48 records, 12 held out" in done.stdout
    assert re.search(r"cross-validated AUROC of each layer: 1: [01]\.\d+, 2: [01]\.\d+, 3: [01]\.\d+\n", done.stdout)
    rows = {line.split()[3]: line.split() for line in done.stdout.splitlines() if line.startswith("test ")}
    assert list(rows) == [
        *("mean_logistic", "difference_of_means", "length", "tfidf_svm", "tfidf_logistic", "shuffled_labels"),
    ]
    value, low, high = (float(cell.strip("[],")) for cell in rows["mean_logistic"][4:7])
    assert value > 0.9
    assert low <= value <= high
    probe = json.loads((tmp_path / "fitted/mean_logistic/probe.json").read_text())
    assert probe["provenance"]["training_records"] == 48
    assert probe["thresholds"]
    assert {path.name for path in tmp_path.iterdir()} == {"train.csv", "test.csv", "fitted"}


def tables(tmp_path, *paths, **asked):
    folder = tmp_path / "tables"
    folder.mkdir()
    return fit.read_tables([str(path) for path in paths], Asked(**asked), folder, allow_refused=False)


def test_the_layer_is_the_best_of_the_training_records_and_nothing_of_the_others_has_a_say(model, tmp_path):
    train = write_table(tmp_path / "train.csv", rows=60, seed=0, noise=0.5)
    first, second = (write_table(tmp_path / f"{seed}.csv", rows=20, seed=seed, noise=1.0) for seed in (1, 2))
    read = tables(tmp_path, train, first, second)
    config = ModelConfig(name=str(model))
    chosen = [
        fit.run(read[0], [other], model=config, layers=None, probes=["mean_logistic"], seed=3) for other in read[1:]
    ]
    assert chosen[0].layers == chosen[1].layers
    assert set(chosen[0].layers) == {1, 2, 3}
    assert chosen[0].chosen == (max(chosen[0].layers, key=lambda layer: chosen[0].layers[layer]),)
    weights = [found.probes["mean_logistic"].weights["projection"] for found in chosen]
    assert np.array_equal(*weights)


def test_labels_by_lot_give_an_auroc_that_says_so(model, tmp_path):
    read = tables(
        tmp_path,
        write_table(tmp_path / "train.csv", rows=100, seed=0, noise=1.0),
        write_table(tmp_path / "test.csv", rows=200, seed=1, noise=1.0),
    )
    found = fit.run(read[0], read[1:], model=ModelConfig(name=str(model)), layers=[1], probes=["mean_logistic"], seed=3)
    assert abs(auroc(found.scores[0].logits, found.scores[0].labels) - 0.5) < 0.15
    assert found.layers == {}


def test_rows_of_one_text_are_one_group_and_shared_rows_are_told(tmp_path, capsys):
    path = tmp_path / "train.csv"
    path.write_text("text,label\n" + "the very same words again,1\n" * 3 + "other words than these,0\n" * 3)
    read = tables(tmp_path, path, path)
    assert [table.name for table in read] == ["train", "train_1"]
    assert len({one.group for one in read[0].records}) == 2
    assert "warning: train_1 shares" in capsys.readouterr().err


def test_a_probe_of_several_layers_is_fitted_and_measured(model, tmp_path):
    write_table(tmp_path / "train.csv", rows=60, seed=0)
    write_table(tmp_path / "test.csv", rows=20, seed=1)
    read = tables(tmp_path, tmp_path / "train.csv", tmp_path / "test.csv")
    layers = fit.layers_named("2, 1")
    found = fit.run(read[0], read[1:], model=ModelConfig(name=str(model)), layers=layers, probes=["mean"], seed=3)
    assert found.probes["mean"].provenance["layers"] == [1, 2]
    assert found.probes["mean"].hidden == 32
    assert fit.to_text(found, 60, seed=3).startswith("layers 1, 2; fitted on 48 records")


def test_too_few_records_a_family_or_a_layer_that_does_not_exist_are_one_line(model, tmp_path):
    small = write_table(tmp_path / "small.csv", rows=4, seed=0)
    read = tables(tmp_path, small, write_table(tmp_path / "test.csv", rows=10, seed=1))
    config = ModelConfig(name=str(model))
    with pytest.raises(UserError, match="too few for cross-validation in 5 folds"):
        fit.run(read[0], read[1:], model=config, layers=None, probes=["mean_logistic"], seed=3)
    with pytest.raises(UserError, match="has no layer 7"):
        fit.run(read[1], read[:1], model=config, layers=[7], probes=["mean_logistic"], seed=3)
    with pytest.raises(UserError, match="no probe family 'deep'"):
        fit.families("deep")
    with pytest.raises(UserError, match="'last' is no layer"):
        fit.layers_named("last")
    for wrong in ("forum=2", "source:forum", "source:forum=none", "source:forum=0"):
        with pytest.raises(UserError, match="no weight|valid number|greater than 0"):
            spoken_weights([wrong], balance=False)


@pytest.mark.slow
def test_a_folder_of_tables_an_adapter_and_the_last_blocks_output_in_one_command(model, mup_fit, tmp_path):
    import peft  # here: it takes seconds

    (tmp_path / "tables").mkdir()
    for name, seed in (("forum", 0), ("mail", 2)):
        write_table(tmp_path / "tables" / f"{name}.csv", rows=40, seed=seed, noise=0.3)
    write_table(tmp_path / "test.csv", rows=40, seed=1)
    torch.manual_seed(0)
    lora = peft.LoraConfig(target_modules=["q_proj"], r=2, init_lora_weights=False, task_type="CAUSAL_LM")
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(model), lora).save_pretrained(tmp_path / "lora")
    weighted = ("--balance", "--weight", "source_dataset:forum=2")
    mup_fit("tables", "test.csv", "--model", model, "--adapter", "lora", "--layer", "-1", *weighted)
    found = json.loads((tmp_path / "fitted/mean_logistic/probe.json").read_text())["provenance"]
    assert (found["layer"], found["adapter"], found["model"]) == (3, "lora", str(model))
    (tmp_path / "again").mkdir()
    # the adapter alone, which names its model
    mup_fit("tables", "test.csv", "--model", "lora", "--layer", "3", "--out", "again", *weighted)
    weights = [(tmp_path / name / "mean_logistic/weights.safetensors").read_bytes() for name in ("fitted", "again")]
    assert weights[0] == weights[1]
    mup_fit("tables", "test.csv", "--model", "lora", "--layer", "3", "--out", "plain")
    assert (tmp_path / "plain/mean_logistic/weights.safetensors").read_bytes() != weights[0]


def test_rows_that_cannot_be_used_stop_the_fit(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("text,label\nsome words here,1\nother words here,0\nno label here,\n")
    with pytest.raises(UserError, match=r"1 of 3 rows cannot be used, first train.csv:3: it has no label"):
        tables(tmp_path, path)


def test_a_table_with_a_word_for_each_class_is_fitted_in_its_own_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "\n".join(f"what is {number} plus {number},{('honest', 'deceptive')[number % 2]}" for number in range(12))
    (tmp_path / "a.csv").write_text(f"text,label\n{rows}\n")
    (table,) = tables(tmp_path, tmp_path / "a.csv", positive=("deceptive",))
    assert (table.classes.positive, table.classes.negative) == ("deceptive", "honest")
    assert {record.label_word for record in table.records} == {"honest", "deceptive"}
