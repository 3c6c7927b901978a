"""The paper's published files in the place of the pipeline's own: no labeller, no synthesis."""

import http.server
import json
import threading
from functools import partial

import pytest

pytestmark = pytest.mark.slow

STEMS = {
    "train": "training/train.jsonl",
    "test": "training/test.jsonl",
    "mt_dev_balanced": "mt_balanced/validation.jsonl",
    "mt_dev_raw": "mt_raw/validation.jsonl",
}


def rows(prefix, count):
    """Rows as they are published: conversations as JSON strings, a row whose text is missing."""
    for number in range(count):
        high = number % 2
        turns = [
            {"role": "user", "content": f"{prefix} {number}: {'my chest hurts' if high else 'a colour for walls'}"}
        ]
        yield {
            "inputs": json.dumps(turns) if number > 1 else "nan",
            "ids": f"{prefix}_{number}",
            "labels": "high-stakes" if high else "low-stakes",
            "scale_labels": 9 if high else 2,
            "scale_label_confidence": 9,
            "pair_id": f"{prefix}_{number // 2}",
        }


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def origin(tmp_path):
    """A server with files like those on the hub."""
    for name, path in STEMS.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        prefix = name.removesuffix("_raw").removesuffix("_balanced")
        lines = "".join(json.dumps(row) + "\n" for row in rows(prefix, 62 if "train" in path else 42))
        (tmp_path / path).write_text(lines)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_published_files_take_the_place_of_the_pipelines_own(pipeline, origin):
    def local(content):
        content["bases"]["hub"] = origin
        for name in STEMS:
            content["files"][name]["hub"].pop("rows", None)

    pipeline.edit("published/catalog.yaml", local)
    table = pipeline.mup("datasets", "download", *STEMS, "--from", "hub", "--pin").stdout
    assert "mt_dev_balanced" in table
    assert "dropped 2" in table
    pinned = (pipeline.path / "published/catalog.yaml").read_text()
    assert pinned.count("sha256: ") >= len(STEMS)
    waiting = [line.rstrip(":") for line in pipeline.dvc("status").stdout.splitlines() if not line.startswith("\t")]
    assert waiting == ["check_overlap", "use_datasets"], "what lies there could be used; nothing else sees it"

    used = pipeline.mup("datasets", "use", "published").stdout
    assert "data/published/training/prompts_4x/train.jsonl" in used
    ran = pipeline.stages_run(pipeline.dvc("repro", "evaluate").stdout)
    assert {"extract", "train@mean", "evaluate"} <= ran
    assert not any(name.startswith(("relabel", "synthesise", "parse", "fetch", "label_deployment")) for name in ran)
    evaluated = json.loads((pipeline.path / "data/results/evaluate/mt_dev.json").read_text())
    assert evaluated["metrics"]["mean"]["n"] == 40

    again = pipeline.mup("datasets", "download", "mt_dev_balanced", "--from", "hub").stdout
    assert "mt_dev_balanced" in again
