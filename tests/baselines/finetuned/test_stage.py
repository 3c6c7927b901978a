"""From labelled files to scores: what is saved can be loaded, and nothing else."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from models_under_pressure.baselines.data import read_labelled
from models_under_pressure.baselines.finetuned.reading import score
from models_under_pressure.baselines.finetuned.run import load_finetuned
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.paths import (
    EXPERIMENT_RESULTS,
    IN_USE,
    Dataset,
    finetuned_paths,
    scores_path,
    timing_path,
)
from models_under_pressure.core.records import write_records
from models_under_pressure.evaluation.scores import read_scores
from models_under_pressure.experiments import finetune_baseline, score_finetuned

TOY = Dataset("toy_dev", "dev")
SETS = (Dataset("train", "train"), Dataset("validation", "validation"), TOY)
PATHS = {one.name: one.path for one in SETS}
SCORES = scores_path("finetuned_toy", EXPERIMENT_RESULTS)


@pytest.fixture(scope="module")
def project(tmp_path_factory, making, settings):
    """A folder in which both stages have run, with two seeds."""
    folder = tmp_path_factory.mktemp("project")
    for name, (count, start) in {"train": (24, 0), "validation": (16, 500), "toy_dev": (20, 900)}.items():
        write_records(folder / PATHS[name], making.sentences(count, start=start).records)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MUP_CHECKPOINTS", str(folder / "checkpoints"))
        run_stages(folder, settings(epochs=2, seeds=2))
    return folder


def run_stages(folder, config):
    finetune_baseline.run(
        "toy", config=config, train=Dataset("train", "train"), validation=Dataset("validation", "validation"), seed=5
    )
    score_finetuned.run("toy", datasets=[TOY], seeds=2, seed=5)


def test_scores_have_the_form_of_a_probes(project):
    lists = read_scores(project / SCORES)
    data = read_labelled("toy_dev", project / TOY.path)
    assert [(one.probe, one.seed) for one in lists] == [("finetuned_toy", 5), ("finetuned_toy", 6)]
    for one in lists:
        assert one.ids == tuple(record.id for record in data.records)
        np.testing.assert_allclose(one.probabilities, 1 / (1 + np.exp(-one.logits)))
        assert (one.tokens > 10).all()
        assert (one.flops > one.tokens * 2 * 3 * (64 * 128 * 3 + 64 * 64 * 2 + 64 * 32 * 2)).all()
    assert not np.array_equal(lists[0].logits, lists[1].logits)


def test_times_and_costs_stand_in_files_of_their_own(project):
    timing = json.loads((project / timing_path("finetuned_toy")).read_text())
    assert timing["toy_dev"]["finetuned_toy"]["records"] == 20
    assert timing["toy_dev"]["finetuned_toy"]["seconds"] > 0
    training = json.loads((project / timing_path("finetune_baseline_toy")).read_text())
    assert set(training) == {"seed_5", "seed_6"}
    assert set(training["seed_5"]) == {"seconds", "tokens", "flops"}


def test_a_loaded_model_gives_the_scores_of_the_saved_one(project):
    lists = read_scores(project / SCORES)
    classifier, description = load_finetuned(project / finetuned_paths("toy", 5, 1)[0])
    assert description.training["records"] == {"train": 24, "validation": 16}
    data = read_labelled("toy_dev", project / TOY.path)
    from models_under_pressure.baselines.finetuned.reading import tokenised_split

    split = tokenised_split(data, classifier.loaded, description.config)
    np.testing.assert_array_equal(score(classifier, split.records, batch_tokens=64), lists[0].logits)


def test_only_what_was_trained_is_saved(project):
    with safe_open(project / finetuned_paths("toy", 5, 1)[0] / "weights.safetensors", framework="np") as file:
        names = set(file.keys())
    assert {"head.weight", "head.bias"} < names
    assert all("lora" in name for name in names - {"head.weight", "head.bias"})


def test_the_same_run_gives_the_same_bytes(project, settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUP_CHECKPOINTS", str(tmp_path / "checkpoints"))
    shutil.copytree(project / IN_USE, IN_USE)
    run_stages(project, settings(epochs=2, seeds=2))
    for path in (*finetuned_paths("toy", 5, 2), SCORES):
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            assert file.read_bytes() == (project / file).read_bytes(), file


def test_a_damaged_foreign_or_missing_model_is_refused(project, making, tmp_path):
    directory = tmp_path / "model"
    shutil.copytree(project / finetuned_paths("toy", 5, 1)[0], directory)
    description = json.loads((directory / "finetuned.json").read_text())
    making.save_model(tmp_path / "other", seed=1)
    other = description | {"config": description["config"] | {"model": str(tmp_path / "other")}}
    for content, expected in (
        (other, r"is not what was finetuned \(revision differ\)"),
        (description | {"format": 0}, "has the format 0"),
        (description | {"seed": "x"}, r"not a finetuned model \(`seed`"),
    ):
        (directory / "finetuned.json").write_text(json.dumps(content))
        with pytest.raises(UserError, match=expected):
            load_finetuned(directory)
    (directory / "finetuned.json").write_text(json.dumps(description))
    good = load_file(directory / "weights.safetensors")
    for weights, expected in (
        (b"", r"not weights as safetensors \("),
        (b"\xff" * 64, r"not weights as safetensors \("),
        (save(good | {"head.bias": torch.full((2,), torch.nan)}), r"not every number of head\.bias is finite"),
        (save(good | {"head.bias": torch.zeros(3)}), "its weights differ"),
    ):
        (directory / "weights.safetensors").write_bytes(weights)
        sha256 = {"weights_sha256": hashlib.sha256(weights).hexdigest()}
        (directory / "finetuned.json").write_text(json.dumps(description | sha256))
        with pytest.raises(UserError, match=expected):
            load_finetuned(directory)
    (directory / "finetuned.json").write_text(json.dumps(description))
    (directory / "weights.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="the weights are damaged"):
        load_finetuned(directory)
    (directory / "weights.safetensors").unlink()
    with pytest.raises(UserError, match=r"weights\.safetensors: file not found"):
        load_finetuned(directory)
