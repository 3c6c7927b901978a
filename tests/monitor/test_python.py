"""`import models_under_pressure` gives a researcher what docs/python.md says."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from two_kinds import IS_HIGH, TEXTS

import models_under_pressure as mup
from models_under_pressure.estimator import one_by_one

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def model(model_folder):
    return mup.load_model(str(model_folder), layer=2)


@pytest.fixture(scope="module")
def activations(model):
    return mup.extract(TEXTS, model, layer=2)


@pytest.mark.parametrize("page", ["python.md", "monitor.md"])
def test_the_page_runs_as_written(page, probe_folder, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), flags=re.DOTALL)
    names = {"folder": probe_folder, "new_folder": tmp_path / "new", "new_file": tmp_path / "new.jsonl"}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    assert page != "python.md" or mup.load_probe(tmp_path / "new").family == "mean"


def test_the_notebook_is_the_page_and_what_it_prints_names_no_machine():
    spec = importlib.util.spec_from_file_location("notebook", DOCS.parent / "scripts/notebook.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    found = json.loads(script.NOTEBOOK.read_text("utf-8"))["cells"]
    made = [(cell["cell_type"], "".join(cell["source"])) for cell in found]
    assert made == script.cells(script.PAGE.read_text("utf-8")), "run scripts/notebook.py"
    printed = [output for cell in found if cell["cell_type"] == "code" for output in cell["outputs"]]
    assert {output["output_type"] for output in printed} == {"stream"}
    assert not re.search(r"/(home|root|tmp|work|Users)\b|[A-Z]:\\\\", json.dumps(printed))


def test_importing_the_package_loads_nothing_and_names_everything():
    code = (
        "import sys, models_under_pressure as mup; assert not {'torch', 'numpy', 'sklearn'} & set(sys.modules);"
        "assert all(getattr(mup, name) is not None for name in dir(mup))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="nothing"):
        mup.nothing  # noqa: B018


def test_every_public_name_is_on_the_page_or_in_its_types():
    page = "".join((DOCS / name).read_text("utf-8") for name in ("python.md", "monitor.md"))
    unnamed = {name for name in dir(mup) if f"mup.{name}" not in page}
    assert unnamed == {"Activations", "Record", "open_store"}


def test_activations_are_in_the_order_given_whatever_the_ids(activations, model):
    assert list(activations.ids) == [str(number) for number in range(12)]
    (alone,) = [mup.extract([TEXTS[10]], model, layer=2)]
    own = activations.read(int(activations.offsets[10]), int(activations.offsets[11]))
    np.testing.assert_allclose(own, alone.read(0, len(own)), atol=1e-5)


def test_a_store_on_disk_gives_what_memory_gives(activations, model, tmp_path):
    stored = mup.extract(TEXTS, model, layer=2, path=tmp_path / "layer_2.zarr")
    total = int(activations.offsets[-1])
    np.testing.assert_array_equal(stored.read(0, total), activations.read(0, total))
    assert set(mup.open_store(tmp_path / "layer_2.zarr").ids) == set(stored.ids)


def test_a_fitted_probe_scores_conversations_as_it_scores_their_activations(activations, model):
    probe = mup.fit(activations, IS_HIGH, family="mean")
    found = [scored.logit for scored in mup.score(TEXTS, probe, model)]
    np.testing.assert_allclose(found, probe.decision_function(activations), atol=1e-4)


def test_labels_may_be_records_in_any_order(activations):
    records = [
        mup.Record(str(number), text, mup.Label.HIGH if high else mup.Label.LOW)
        for number, (text, high) in enumerate(zip(TEXTS, IS_HIGH, strict=True))
    ]
    by_records, by_labels = mup.fit(activations, reversed(records)), mup.fit(activations, IS_HIGH)
    np.testing.assert_array_equal(by_records.weights["projection"], by_labels.weights["projection"])


def test_a_validation_split_gives_thresholds(activations):
    assert not mup.fit(activations, IS_HIGH, family="mean").thresholds
    assert mup.fit(activations, IS_HIGH, family="mean", validation=(activations, IS_HIGH)).thresholds


def test_a_control_set_gives_thresholds_with_a_promise_or_the_reason_why_not(activations):
    probe = mup.fit(activations, IS_HIGH, validation=(activations, IS_HIGH), control=activations, family="mean")
    assert {row.refused for row in probe.thresholds if row.budget == 0.01} == {"needs 299 conversations, has 12"}
    with pytest.raises(mup.UserError, match="false positive rates only"):
        mup.fit(activations, IS_HIGH, control=activations)


def test_the_estimator_is_the_probe(activations):
    rows = one_by_one(activations)
    probe = mup.fit(activations, IS_HIGH, family="softmax", seed=3)
    estimator = mup.ProbeClassifier("softmax", seed=3).fit(rows, IS_HIGH)
    np.testing.assert_allclose(estimator.decision_function(rows), probe.decision_function(activations), atol=1e-6)
    np.testing.assert_allclose(estimator.predict_proba(rows).sum(axis=1), 1)


def test_weights_count_by_their_ratios_and_as_scikit_learn_has_them(activations):
    weights = [3.0, *[1.0] * 11]
    found = mup.fit(activations, IS_HIGH, family="mean", weights=weights)
    again = mup.fit(activations, IS_HIGH, family="mean", weights=[10 * weight for weight in weights])
    np.testing.assert_allclose(found.weights["projection"], again.weights["projection"])
    scaled = np.array(weights) / np.mean(weights)
    estimator = mup.ProbeClassifier("mean").fit(one_by_one(activations), IS_HIGH, sample_weight=scaled)
    np.testing.assert_allclose(estimator.probe_.weights["projection"], found.weights["projection"])
    plain = mup.fit(activations, IS_HIGH, family="mean")
    assert not np.allclose(found.weights["projection"], plain.weights["projection"], rtol=1e-3)


def test_the_last_layer_may_be_counted_from_the_end(model):
    found = mup.extract(TEXTS, model, layer=-1)
    assert found.attributes["layer"] == 3
    np.testing.assert_array_equal(found.read(0, 9), mup.extract(TEXTS, model, layer=3).read(0, 9))


@pytest.mark.parametrize("labels", [["a", "b"] * 6, [1, 0] * 6, ["low-stakes", "high-stakes"] * 6])
def test_classes_of_any_kind_come_back(activations, labels):
    rows = one_by_one(activations)
    estimator = clone(mup.ProbeClassifier("mean")).fit(rows, labels)
    assert list(estimator.classes_) == sorted(set(labels))
    assert (estimator.predict(rows) == np.asarray(labels)).mean() == 1.0


def test_a_pipeline_is_cross_validated_and_searched(model):
    pipeline = make_pipeline(mup.ActivationExtractor(model, layer=2), mup.ProbeClassifier("mean"))
    assert cross_val_score(pipeline, TEXTS, IS_HIGH, cv=3, scoring="roc_auc").mean() == 1.0
    search = GridSearchCV(pipeline, {"probeclassifier__family": ["mean", "last"]}, cv=2, scoring="roc_auc")
    assert search.fit(TEXTS, IS_HIGH).best_params_["probeclassifier__family"] in ("mean", "last")


def test_rows_are_read_in_place_and_not_copied(activations):
    assert all(row.read(0, 1).base is not None for row in one_by_one(activations))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda a, m: mup.fit(a, IS_HIGH, family="mlp2"), "no probe family 'mlp2'"),
        (lambda a, m: mup.fit(a, IS_HIGH, family="mean", temprature=3), "temprature"),
        (lambda a, m: mup.fit(a, IS_HIGH[:3]), "3 labels for 12 records"),
        (lambda a, m: mup.fit(a, [True] * 12), "one class"),
        (lambda a, m: mup.extract(TEXTS, m, layer=9), "layer"),
        (lambda a, m: mup.extract(TEXTS, m, layer=-5), "or 3 (or -1) for what leaves the last"),
        (lambda a, m: mup.fit(a, IS_HIGH, weights=[1.0] * 11), "the weights are no 12 numbers above 0"),
        (lambda a, m: mup.extract([3], m, layer=2), "conversation:1"),
        (lambda a, m: mup.extract(TEXTS, m, layer=2, keep="all"), "keep"),
        (lambda a, m: mup.load_model("no/such", dtype="int3"), "dtype"),
        (lambda a, m: mup.ProbeClassifier().fit([], ["a", "b", "c"]), "two classes"),
    ],
)
def test_what_a_user_has_to_mend_is_said_in_one_line(activations, model, act, message):
    with pytest.raises(mup.UserError) as caught:
        act(activations, model)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
