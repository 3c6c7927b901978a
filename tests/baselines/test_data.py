"""Every baseline takes labelled conversations and gives scores with their costs, in the form of a probe's."""

import numpy as np
import pytest

from models_under_pressure.baselines.data import LabelledRecords, read_labelled, to_scores
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, Record, write_records
from models_under_pressure.evaluation.scores import read_scores, write_scores


def test_scores_and_costs_come_back_as_they_were_written(tmp_path):
    labels = [Label.HIGH, Label.LOW]
    data = LabelledRecords("mt_dev", tuple(Record(f"r{row}", "text", labels[row % 2]) for row in range(4)))
    logits = np.array([2.0, -1.0, 0.5, -3.0])
    costs = {"known": ([1, 2, 3, 4], [10, 20, 30, 40]), "unknown": (None, None)}
    for name, (tokens, flops) in costs.items():
        scores = to_scores(
            data, name, seed=1, logits=logits, probabilities=1 / (1 + np.exp(-logits)), tokens=tokens, flops=flops
        )
        write_scores(tmp_path / "a.parquet", [scores])
        (read,) = read_scores(tmp_path / "a.parquet")
        assert (read.dataset, read.probe, read.seed, read.ids) == ("mt_dev", name, 1, ("r0", "r1", "r2", "r3"))
        assert read.labels.tolist() == [True, False, True, False]
        assert (read.tokens is None, read.flops is None) == (tokens is None, flops is None)
        if tokens:
            assert (read.tokens.tolist(), read.flops.tolist()) == (tokens, flops)


def test_an_ambiguous_record_is_refused_by_name(tmp_path):
    path = tmp_path / "raw.jsonl"
    write_records(path, [Record("a", "text", Label.HIGH), Record("b", "text", Label.AMBIGUOUS)])
    with pytest.raises(UserError, match=r"1 records are ambiguous or not labelled, first 'b'.*balanced"):
        read_labelled("raw", path)
    path.write_text("")
    with pytest.raises(UserError, match="no records"):
        read_labelled("raw", path)
