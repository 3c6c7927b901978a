"""A probe goes to the Hugging Face Hub and comes back, through its own client and a server on the loopback."""

import os
import subprocess
from pathlib import Path

import pytest
from hub_server import TOKEN, Hub

SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture(scope="module")
def hub():
    found = Hub()
    yield found
    found.server.shutdown()


@pytest.fixture
def mup(hub, tmp_path, warm_path):
    """Run a command as a user of that hub."""

    def run(*arguments, token=TOKEN, **more):
        own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0", "HF_TOKEN": token}
        own |= {"PATH": warm_path, "PYTHONPATH": str(SOURCE)}
        return subprocess.run(
            ["python", "-m", "models_under_pressure", *map(str, arguments)],
            env=os.environ | own | more,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.slow
def test_a_probe_is_pushed_pinned_and_used_from_the_hub(mup, hub, probe_folder, tmp_path):
    pushed = mup("probes", "push", probe_folder, "owner/first")
    assert pushed.returncode == 0, pushed.stderr
    address = pushed.stdout.strip()
    assert address == f"hf://owner/first@{hub.commits['owner/first'][-1][0]}"
    assert set(hub.commits["owner/first"][-1][1]) == {"README.md", "probe.json", "weights.safetensors"}

    hub.commit("owner/first", {"probe.json": b"{}", "evil.py": b"raise SystemExit"})
    pulled = mup("probes", "pull", address, tmp_path / "pulled")
    assert pulled.returncode == 0, pulled.stderr
    for name in ("probe.json", "weights.safetensors"):
        assert (tmp_path / "pulled" / name).read_bytes() == (probe_folder / name).read_bytes()
    assert not list((tmp_path / "hf").rglob("evil.py"))

    (tmp_path / "texts.jsonl").write_text('{"inputs": "fire"}\n')
    by_folder, by_address = (mup("score", "--probe", name, "texts.jsonl") for name in (probe_folder, address))
    assert by_folder.stdout == by_address.stdout != ""

    newest = mup("probes", "pull", "hf://owner/first", tmp_path / "newest")
    assert newest.returncode == 1
    assert "probe.json" in newest.stderr
    assert "Traceback" not in newest.stderr


@pytest.mark.parametrize(
    ("address", "more", "message"),
    [
        ("hf://owner/none", {}, "there is no such probe"),
        ("hf://owner/first@v9", {}, "there is no revision v9"),
        ("hf://owner/empty", {}, "has no probe.json"),
        ("hf://owner/secret", {"token": ""}, "or it is private and HF_TOKEN is not set"),
        ("hf://owner", {}, "not an address on the hub"),
        ("hf://owner/../first", {}, "not an address on the hub"),
        ("hf://owner/first", {"HF_HUB_OFFLINE": "1"}, "the hub cannot be asked"),
        ("hf://owner/first", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "the hub cannot be asked"),
    ],
)
def test_what_cannot_be_pulled_is_said_in_one_line(mup, hub, tmp_path, address, more, message):
    hub.commits.setdefault("owner/first", [])
    hub.commits |= {"owner/empty": [("1" * 40, {"README.md": b"x"})], "owner/secret": [("2" * 40, {})]}
    hub.private.add("owner/secret")
    found = mup("probes", "pull", address, tmp_path / "pulled", **more)
    assert found.returncode == 1
    line = found.stderr.strip().splitlines()[-1]
    assert "Traceback" not in found.stderr
    assert message in line
    assert address in line
    assert TOKEN not in line
    assert not (tmp_path / "pulled").exists()


def test_a_token_without_the_right_to_write_is_named(mup, probe_folder):
    found = mup("probes", "push", probe_folder, "owner/other", token="hf_reads-only")
    line = found.stderr.strip().splitlines()[-1]
    assert "Traceback" not in found.stderr
    assert "no right" in line
    assert "hf_reads-only" not in found.stdout + found.stderr
