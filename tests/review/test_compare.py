"""Reviews of snapshots made in memory."""

import json
import re
from dataclasses import replace

import numpy as np
from snapshots import known, rows, scores

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.records import Label, Record
from models_under_pressure.evaluation.comparison import Verdict
from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.review.changes import Cost, Row, rows_of
from models_under_pressure.review.compare import review
from models_under_pressure.review.render import LIMIT, MARKER, code, table, text, to_json, to_markdown


def test_two_equal_snapshots_have_nothing_to_say(base):
    found = review(base, replace(base, name="workspace", commit=None))
    assert not any([found.params, found.datasets, found.overlap, found.costs, found.warnings, found.worse])
    assert [row.verdict for row in found.rows] == [Verdict.UNCHANGED]
    drawn = to_markdown(found)
    assert "**1 unchanged** of 1 results. 0 parameters and 0 dataset files changed." in drawn
    assert "###" not in drawn


def test_a_change_of_the_layer_that_helps_is_better_with_its_parameter(base):
    found = review(base, replace(base, params={"probe.layer": 16, "seed": 42}, scores=[scores(signal=2.5)]))
    assert [(change.key, change.before, change.after) for change in found.params] == [("probe.layer", 11, 16)]
    assert [row.verdict for row in found.rows] == [Verdict.BETTER]
    assert found.means == []  # of one dataset
    assert not found.worse
    assert "| `probe.layer` | `11` | `16` |" in to_markdown(found)
    assert "🔺 better" in to_markdown(found)


def test_noise_is_called_noise_and_fails_no_gate(base):
    found = review(base, replace(base, scores=[scores(noise=1)]))
    assert [row.verdict for row in found.rows] == [Verdict.NOISE]
    assert not found.worse


def test_a_loss_fails_the_gate(base):
    found = review(base, replace(base, scores=[scores(signal=0.5)]))
    assert found.worse
    assert to_json(found)["verdicts"]["worse"] == 1


def test_a_looser_fit_on_the_training_records_is_no_verdict(base):
    purposes = {**base.purposes, "train": "train"}
    before = replace(base, purposes=purposes, scores=[*base.scores, scores("train", signal=3.0)])
    after = replace(base, purposes=purposes, scores=[*base.scores, scores("train", signal=1.0)])
    found = review(before, after)
    assert not found.worse
    assert "train" not in {row.dataset for row in found.rows}


def test_a_loss_that_only_the_mean_shows_fails_the_gate(base):
    names = [f"d{number}" for number in range(12)]
    before = [replace(scores(signal=1.6, noise=n, size=120), dataset=name) for n, name in enumerate(names)]
    after = [replace(scores(signal=1.35, noise=50 + n, size=120), dataset=name) for n, name in enumerate(names)]
    purposes = dict.fromkeys(names, "dev")
    found = review(replace(base, scores=before, purposes=purposes), replace(base, scores=after, purposes=purposes))
    assert Verdict.WORSE in [row.verdict for row in found.means]
    assert found.worse


def test_a_dataset_version_shows_its_rows_and_labels(base):
    path = "data/evals/dev/mt.jsonl"
    changed = rows(198) | {"0000": Row("low-stakes", "t0"), "0001": Row("low-stakes", "other"), "new": Row(None, "n")}
    found = review(
        replace(base, rows={path: rows()}), replace(base, files={path: "h2"}, rows={path: changed}, scores=[scores()])
    )
    (change,) = found.datasets
    assert change.before == {"high-stakes": 100, "low-stakes": 100}
    assert change.after == {"high-stakes": 98, "low-stakes": 100, "none": 1}
    assert (change.added, change.removed, change.edited, change.relabelled) == (1, 2, 1, 1)
    assert "| `data/evals/dev/mt.jsonl` | 200 rows (100 high-stakes, 100 low-stakes) | 199 rows" in to_markdown(found)


def test_edited_texts_under_the_same_ids_are_not_comparable(base):
    path = "data/evals/dev/mt.jsonl"
    found = review(
        replace(base, rows={path: rows()}),
        replace(base, files={path: "h2"}, rows={path: rows(text="e")}, scores=[scores(signal=3.0)]),
    )
    assert [(row.verdict, row.reason) for row in found.rows] == [(Verdict.NOT_COMPARABLE, "200 texts edited")]
    assert not found.worse


def test_a_file_of_which_only_other_columns_changed_stays_comparable(base):
    path = "data/evals/dev/mt.jsonl"
    found = review(replace(base, rows={path: rows()}), replace(base, files={path: "h2"}, rows={path: rows()}))
    assert [row.verdict for row in found.rows] == [Verdict.UNCHANGED]


def test_a_changed_file_that_nobody_can_read_is_not_comparable(base):
    found = review(base, replace(base, files={"data/evals/dev/mt.jsonl": "h2"}, missing=["mt.jsonl: gone"]))
    assert [row.reason for row in found.rows] == ["its file changed and is out of reach"]
    assert found.datasets[0].before is None
    assert "### Not read\n\n- mt.jsonl: gone" in to_markdown(found)


def test_without_scores_the_committed_metrics_are_listed_but_not_judged(base):
    after = replace(base, scores=[], metrics={"mt_dev": {"mean": {"auroc": 0.9, "n": 200}}})
    (row,) = review(base, after).rows
    assert (row.verdict, row.before, row.after) == (Verdict.NOT_COMPARABLE, 0.8, 0.9)
    assert row.reason == "scores per record are out of reach"


def test_without_scores_equal_metrics_of_equal_files_are_unchanged(base):
    silent = replace(base, scores=[])
    assert [row.verdict for row in review(silent, silent).rows] == [Verdict.UNCHANGED]


def test_probes_that_came_or_went_are_named(base):
    after = replace(base, scores=[scores(probe="attention")], metrics={"mt_dev": {"attention": {"auroc": 0.9, "n": 9}}})
    assert sorted((row.probe, row.reason) for row in review(base, after).rows) == [
        ("attention", "new"),
        ("mean", "removed"),
    ]


def test_overlap_is_told_also_when_it_did_not_change(base):
    assert "**Overlap between splits**: 0 pairs in 1 dataset versions, as before." in to_markdown(review(base, base))
    found = review(base, replace(base, overlap={"mt_apr_30": 3, "aya_mar_25": 0}))
    assert [(row.key, row.before, row.after) for row in found.overlap] == [
        ("aya_mar_25", None, 0),
        ("mt_apr_30", 0, 3),
    ]
    assert "### Overlap between splits: 3 pairs" in to_markdown(found)


def test_only_replies_that_the_change_added_are_charged(base):
    old = {"relabel_mt": {"k1": Cost(1, 100, 10, 0.5), "k2": Cost(1, 100, 10, 0.5)}}
    new = {"relabel_mt": {"k2": Cost(1, 100, 10, 0.5), "k3": Cost(1, 7, 3, 0.25), "k4": Cost(1, 3, 2, 0.25)}}
    found = review(replace(base, costs=old), replace(base, costs=new))
    assert found.costs == {"relabel_mt": Cost(2, 10, 5, 0.5)}
    assert "| `relabel_mt` | 2 | 10 | 5 | $0.50 |" in to_markdown(found)
    unknown = review(base, replace(base, costs={"relabel_mt": {"k": Cost(1, 7, 3, None)}}))
    assert unknown.costs["relabel_mt"].usd is None


def test_the_json_holds_no_infinity_and_no_scores(base):
    tiny = ScoreList(
        "mt_dev",
        "mean",
        1,
        ("a", "b", "c"),
        ("a", "b", "c"),
        np.array([True, False, False]),
        np.arange(3.0),
        np.zeros(3),
    )
    other = replace(tiny, logits=np.array([2.0, 1.0, 0.0]))
    found = to_json(review(replace(base, scores=[tiny]), replace(base, scores=[other])))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["results"][0]["difference"]["error"] is None
    assert "logits" not in json.dumps(found)


def test_the_comment_can_be_found_again_and_fits(base):
    many = {f"p.{number}": number for number in range(5000)}
    drawn = to_markdown(review(base, replace(base, params=many)))
    assert drawn.startswith(MARKER + "\n")
    assert len(drawn) < LIMIT
    assert re.search(r"… and 4,\d{3} more rows: `mup review --format json` has them\.", drawn)


def test_hostile_names_and_values_stay_text(base):
    evil = "</td><script>alert(1)</script> | @everyone `x` [l](http://e)\n# big"
    after = replace(base, params={"probe.layer": evil, "seed": 42}, missing=[evil])
    drawn = to_markdown(review(base, after))
    (line,) = [line for line in drawn.splitlines() if "probe.layer" in line]
    assert len(re.findall(r"(?<!\\)\|", line)) == 4
    assert line.count("`") == 6
    (listed,) = [line for line in drawn.splitlines() if line.startswith("- ")]
    assert "<script" not in listed
    assert "@everyone" not in listed
    assert "\\[l\\]" in listed


def test_markdown_primitives():
    assert code("") == ""
    assert code("a|b`c\nd") == "`a\\|b'c d`"
    assert code("x" * 200) == "`" + "x" * 99 + "…`"
    assert text("a_b*<i>") == "a\\_b\\*&lt;i&gt;"
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_rows_of_records_see_texts_and_labels_but_not_other_columns():
    record = Record("1", (Message("user", "hi"),), Label.HIGH, fields={"topic": "x"})
    same = replace(record, scale_label_explanation="because", fields={})
    assert rows_of([record]) == rows_of([same])
    assert rows_of([record]) != rows_of([replace(record, label=Label.LOW)])
    assert rows_of([record]) != rows_of([replace(record, input="hi")])


def test_what_is_out_of_reach_is_one_line_a_kind(silent):
    after = replace(silent, name="main", commit="b" * 40, unread={"scores": 3, "replies": 1})
    before = replace(silent, name="workspace", commit=None, unread={"scores": 1})
    changed = replace(after, metrics={"mt_dev": {"mean": known(0.82)}})
    assert review(before, changed).warnings == [
        "scores of workspace are not in the workspace (1 file), of main are in no cache and on no remote (3 files): "
        "intervals are unpaired; `dvc pull` or `dvc fetch --all-commits` brings them",
        "replies of main are in no cache and on no remote (1 file): their cost is left out; `dvc pull` or "
        "`dvc fetch --all-commits` brings them",
    ]


def test_a_closed_folder_hides_the_files_of_the_other_side(base):
    before = replace(
        base, files={"data/evals/mt/a.jsonl": "h1", "data/evals/mt/b.jsonl": "h2", "data/evals/x": "1.dir"}
    )
    after = replace(base, files={"data/evals/mt": "h.dir", "data/evals/y": "2.dir"})
    changes = review(before, after).datasets
    assert [(change.path, change.status) for change in changes] == [
        ("data/evals/mt", "changed"),
        ("data/evals/x", "removed"),
        ("data/evals/y", "new"),
    ]


def test_the_comment_stays_short_whatever_changed(base):
    """Every table full, with names as long and as hostile as they come."""
    long = "_very_long_name_of_something|`&<@*" * 8
    names = [f"{number}{long}" for number in range(300)]
    side = replace(
        base,
        name=long,
        params={f"p.{name}": long for name in names},
        files={f"data/evals/{name}.jsonl": "h" for name in names},
        datasets={},
        purposes={name: f"purpose {number % 40} {long}" for number, name in enumerate(names)},
        scores=[],
        metrics={name: {method: known(0.8) for method in (long, "b", "c")} for name in names},
        overlap=dict.fromkeys(names, 1),
        missing=[f"{name} is missing" for name in names],
        unread={"scores": 10**9, "dataset files": 10**9, "replies": 10**9},
    )
    other = replace(
        side,
        params={f"p.{name}": f"new {long}" for name in names},
        files={f"data/evals/{name}.jsonl": "other" for name in names},
        metrics={name: {method: known(0.6) for method in (long, "b", "c")} for name in names},
        overlap=dict.fromkeys(names, 2),
        costs={name: {"k": Cost(1, 10**12, 10**12, 1e9)} for name in names},
    )
    found = review(side, other)
    drawn = to_markdown(found)
    assert len(drawn) < LIMIT
    assert drawn.count("`mup review --format json` has them") == 6, "every table says what it leaves out"
    assert len(to_json(found)["results"]) == 900, "and nothing is left out there"
    short = replace(side, params={f"p{number}": number for number in range(900)}, name="main", missing=[], unread={})
    moved = replace(short, params={f"p{number}": number + 1 for number in range(900)}, metrics=other.metrics)
    drawn = to_markdown(review(short, moved))
    assert len(drawn) < LIMIT
    assert drawn.count("<details>") == drawn.count("</details>") >= 1
