import os
import random
import subprocess
import sys

from models_under_pressure.core.records import Record
from models_under_pressure.datasets.files import divide

ROWS = [Record(str(n), f"text {n}", fields={"group": f"g{n // 2}"}) for n in range(200)]


def ids(splits):
    return [[record.id for record in part] for _, part in splits.items()]


def test_a_limited_draw_is_the_same_whatever_the_order_of_the_rows_and_the_state_of_random():
    random.seed(1)
    first = divide(ROWS, test_fraction=0.5, limit=30, seed=7)
    random.seed(2)
    shuffled = random.sample(ROWS, len(ROWS))
    assert ids(divide(shuffled, test_fraction=0.5, limit=30, seed=7)) == ids(first)
    assert [len(part) for part in ids(first)] == [30, 30]
    assert ids(divide(ROWS, test_fraction=0.5, limit=30, seed=8)) != ids(first)


def test_a_larger_draw_holds_the_smaller_one_so_that_no_paid_label_is_lost():
    few, more = (divide(ROWS, test_fraction=0.5, limit=limit, seed=7) for limit in (20, 40))
    assert all(set(small) <= set(large) for small, large in zip(ids(few), ids(more), strict=True))


def test_a_source_that_comes_divided_keeps_its_division():
    rows = [Record(str(n), "x", fields={"source_split": "test" if n % 3 else "dev"}) for n in range(30)]
    splits = divide(rows, test_fraction=0.5, limit=None, seed=1)
    assert {record.fields["source_split"] for record in splits.dev} == {"dev"}
    assert len(splits.test) == 20


SCRIPT = """
from models_under_pressure.datasets.recipe import balance
from models_under_pressure.datasets.overlap import OverlapConfig, find_overlaps
from models_under_pressure.datasets.files import divide
from models_under_pressure.core.records import Label, Record
texts = [f"the same few words {n % 40}" for n in range(90)]
rows = [Record(str(n), text, list(Label)[n % 2], fields={"group": f"g{n}"}) for n, text in enumerate(texts)]
splits = divide(rows, test_fraction=0.5, limit=40, seed=1)
drawn = balance(rows, seed=1)
found = find_overlaps(dict(splits.items()), OverlapConfig(jaccard=0.5, shingle_words=2, containment_words=3))
print([r.id for r in splits.test], [r.id for r in drawn], found)
"""


def test_splits_balanced_sets_and_overlaps_do_not_depend_on_pythons_hash_seed(capsys):
    exec(SCRIPT, {})
    here = capsys.readouterr().out
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    there = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert here == there != ""
