"""Sources as they are published: verified, joined, converted, and never half there."""

import csv
import gzip
import hashlib
import io
import json
import re
from pathlib import Path

import pytest
from server import serving

from models_under_pressure.core.errors import UserError
from models_under_pressure.datasets import origins as download
from models_under_pressure.datasets.lineage import load_lineage
from models_under_pressure.datasets.origins import OriginFile
from models_under_pressure.datasets.sources import PARSERS
from models_under_pressure.stages import fetch

ROOT = Path(__file__).parents[2]
ROW = {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": "\n\nHuman: Hi\n\nAssistant: No"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def sha256(body):
    return hashlib.sha256(body).hexdigest()


def hub(source, files, bodies):
    """Fetch from a server with these bodies; `files` are (path, name that it becomes) or with a hash."""
    with serving(bodies) as base:
        origins = tuple(
            OriginFile(url=f"{base}{path}", to=to, sha256=pin[0] if pin else None) for path, to, *pin in files
        )
        fetch.run(source, origin="hub", files=origins)
    return PARSERS[source](fetch.RAW / source).records


def test_compressed_pieces_are_joined_in_the_order_given():
    bodies = {"a.jsonl.gz": gzip.compress(lines(ROW)), "b.jsonl.gz": gzip.compress(lines(ROW))}
    records = hub("anthropic", [("a.jsonl.gz", "train.jsonl"), ("b.jsonl.gz", "train.jsonl")], bodies)
    assert [record.id for record in records][::2] == ["train_0_chosen", "train_1_chosen"]


def test_a_parquet_table_becomes_the_csv_that_the_parser_reads():
    import pyarrow
    import pyarrow.parquet as parquet

    columns = ("description", "medical_specialty", "sample_name", "transcription", "keywords")
    rows = [{"Unnamed: 0": 7, **dict.fromkeys(columns, 'says "a,\nb"')}, {"Unnamed: 0": 9, **dict.fromkeys(columns)}]
    table = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    (record,) = hub("mt", [("0000.parquet", "mtsamples.csv")], {"0000.parquet": table.getvalue()})
    assert (record.id, record.input) == ("7", 'says "a,\nb"')


def test_files_of_several_languages_are_numbered_through():
    bodies = {
        f"aya_{name}.jsonl": lines({"prompt": name, "language": name, "harm_category": ["x", "y"]})
        for name in ("eng", "hin")
    }
    records = hub("aya", [(name, "aya_redteaming_dataset.csv") for name in bodies], bodies)
    assert [(record.id, record.input, record.fields["harm_category"]) for record in records] == [
        ("0", "eng", '["x", "y"]'),
        ("1", "hin", '["x", "y"]'),
    ]


def test_an_origin_that_has_changed_is_refused_and_what_was_there_stays():
    old = lines(ROW)
    hub("anthropic", [("a.jsonl", "train.jsonl", sha256(old))], {"a.jsonl": old})
    with pytest.raises(UserError, match="the origin has changed or the file was damaged"):
        hub("anthropic", [("a.jsonl", "train.jsonl", sha256(old))], {"a.jsonl": lines(ROW, ROW)})
    assert (fetch.RAW / "anthropic/train.jsonl").read_bytes() == old
    assert [path.name for path in fetch.RAW.iterdir()] == ["anthropic"]


def test_a_piece_that_is_missing_keeps_the_others_for_the_next_run_and_writes_nothing():
    bodies = {"a.jsonl": lines(ROW)}
    files = [("a.jsonl", "train.jsonl", sha256(bodies["a.jsonl"])), ("b.jsonl", "train.jsonl")]
    with pytest.raises(UserError, match="404"):
        hub("anthropic", files, bodies)
    assert not (fetch.RAW / "anthropic").exists()
    assert len(list(download.DOWNLOADS.iterdir())) == 1


def test_what_is_not_pinned_yet_is_told_with_its_hash(capsys):
    body = lines(ROW)
    hub("anthropic", [("a.jsonl", "train.jsonl")], {"a.jsonl": body})
    assert f"a.jsonl {sha256(body)}" in capsys.readouterr().err


def test_a_source_without_an_address_is_taken_from_a_folder_of_ones_own():
    with pytest.raises(UserError, match="data/own/mental_health"):
        fetch.run("mental_health", origin="hub", files=())
    own = Path("data/own/mental_health")
    own.mkdir(parents=True)
    with (own / "combined_data.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["id", "statement", "status"], ["1", "fine", "Normal"]])
    fetch.run("mental_health", origin="hub", files=())
    assert [record.id for record in PARSERS["mental_health"](fetch.RAW / "mental_health").records] == ["1"]


@pytest.mark.parametrize("origin", ["published", "nowhere"])
def test_a_source_that_is_no_folder_says_what_there_is(origin):
    with pytest.raises(UserError, match="no such folder.*mup datasets use published"):
        fetch.run("mt", origin=origin, files=())


def test_every_address_names_a_fixed_revision_or_a_hash_but_that_of_mt():
    lineage = load_lineage(ROOT / "data/versions.yaml")
    loose = {
        name
        for name, source in lineage.sources.items()
        for file in source.files
        if not (file.sha256 or re.search(r"/[0-9a-f]{40}/", file.url))
    }
    assert loose <= {"mt"}, "its table exists as a conversion only, which has no commit that we know"
