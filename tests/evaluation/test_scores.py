"""Scores on disk."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from models_under_pressure.core.errors import UserError
from models_under_pressure.evaluation.scores import ScoreList, ensemble, read_scores, write_scores


def score_list(probe="mean", seed=0):
    return ScoreList(
        dataset="mt",
        probe=probe,
        seed=seed,
        ids=("a", "c", "b"),
        groups=("g", "g", "ü"),
        labels=np.array([True, False, True]),
        logits=np.array([0.1, -2.5, 1 / 3]),
        probabilities=np.array([0.5, 0.1, 0.6]),
    )


def test_what_is_written_is_read_back_sorted_by_id(tmp_path):
    path = tmp_path / "scores" / "mt.parquet"
    write_scores(path, [score_list("mean", 1), score_list("mean", 0), score_list("attention")])
    found = read_scores(path)
    assert [(scores.probe, scores.seed) for scores in found] == [("attention", 0), ("mean", 0), ("mean", 1)]
    assert found[0].ids == ("a", "b", "c")
    assert found[0].groups == ("g", "ü", "g")
    assert found[0].labels.tolist() == [True, True, False]
    assert found[0].logits.tolist() == [0.1, 1 / 3, -2.5]
    assert found[0].probabilities.tolist() == [0.5, 0.6, 0.1]


def test_an_ensemble_is_the_mean_of_its_seeds_at_the_cost_of_all():
    costly = replace(score_list(), flops=np.array([10, 20, 30]))
    other = replace(costly, seed=1, logits=np.array([0.3, 0.5, 1.0]), probabilities=np.array([0.7, 0.3, 0.0]))
    found = ensemble([costly, other])
    np.testing.assert_allclose(found.logits, [0.2, -1.0, 2 / 3])
    np.testing.assert_allclose(found.probabilities, [0.6, 0.2, 0.3])
    assert found.flops.tolist() == [20, 40, 60]
    assert (found.seed, found.ids) == (0, costly.ids)
    assert ensemble([costly, replace(other, flops=None)]).flops is None


def test_equal_lists_in_any_order_give_equal_bytes(tmp_path):
    lists = [score_list("mean"), score_list("attention")]
    write_scores(tmp_path / "a.parquet", lists)
    write_scores(tmp_path / "b.parquet", lists[::-1])
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_the_columns_are_the_documented_ones(tmp_path):
    write_scores(tmp_path / "a.parquet", [score_list()])
    schema = parquet.read_schema(tmp_path / "a.parquet")
    identity = ["dataset", "probe", "seed", "id", "group", "label"]
    assert schema.names == [*identity, "logit", "probability", "tokens", "flops"]


def test_no_lists_make_an_empty_file(tmp_path):
    write_scores(tmp_path / "a.parquet", [])
    assert read_scores(tmp_path / "a.parquet") == []


def test_a_missing_broken_or_foreign_file_is_named_with_a_remedy(tmp_path):
    path = tmp_path / "a.parquet"
    with pytest.raises(UserError, match=r"a\.parquet: file not found.*dvc pull"):
        read_scores(path)
    path.write_bytes(b"not parquet at all")
    with pytest.raises(UserError, match="not Parquet"):
        read_scores(path)
    parquet.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(UserError, match="column dataset, probe"):
        read_scores(path)


def test_columns_of_different_length_are_refused():
    with pytest.raises(ValueError, match="different lengths"):
        replace(score_list(), ids=("a",))


def test_scores_written_before_costs_were_kept_are_still_read(tmp_path):
    write_scores(tmp_path / "a.parquet", [score_list()])
    table = parquet.read_table(tmp_path / "a.parquet")
    parquet.write_table(table.drop_columns(["tokens", "flops"]), tmp_path / "old.parquet")
    assert read_scores(tmp_path / "old.parquet")[0].tokens is None
