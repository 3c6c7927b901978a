"""The Ray engine, on a real cluster of two nodes on this machine."""

import os
import signal
import sys
from pathlib import Path

import pytest

from models_under_pressure.activations import engine as window_module
from models_under_pressure.activations import ray_engine
from models_under_pressure.activations import writer as writing
from models_under_pressure.activations.config import ExtractConfig
from models_under_pressure.activations.extract import extract
from models_under_pressure.activations.ray_engine import Worker
from models_under_pressure.activations.store import open_store, partial_path
from models_under_pressure.core.errors import UserError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(warm_path):
    """Two nodes with one core each, whose workers have torch and Transformers behind them."""
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"  # as the engine does, before Ray is imported
    import ray
    from ray.cluster_utils import Cluster

    quiet = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=quiet)
    made.add_node(num_cpus=1, object_store_memory=100_000_000)
    python = str(Path(warm_path.split(os.pathsep)[0], "python"))
    ray.init(address=made.address, log_to_driver=False, runtime_env={"py_executable": python})
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(writing, "_SHARD_BYTES", 64 * 2 * 32)
    monkeypatch.setattr(window_module, "_WINDOW_ROWS", 128)


def run(tiny, chats, path, **config):
    paths = {layer: path / f"layer_{layer}.zarr" for layer in (1, 3)}
    extract(chats, model=tiny, config=ExtractConfig(**config), paths=paths)
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_two_nodes_of_which_one_loses_its_worker_write_the_bytes_of_the_local_engine(
    cluster, tiny, chats, tmp_path, monkeypatch
):
    nodes, killed = tmp_path / "nodes", tmp_path / "killed"
    nodes.mkdir()

    class Mortal(Worker):
        def run(self, job):
            import ray

            (nodes / ray.get_runtime_context().get_node_id()).touch()
            if job.window.first_row and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().run(job)

    monkeypatch.setattr(ray_engine, "Worker", Mortal)
    assert run(tiny, chats, tmp_path / "ray", engine="ray") == run(tiny, chats, tmp_path / "local")
    assert len(list(nodes.iterdir())) == 2
    assert killed.exists()


def test_a_window_that_kills_every_worker_is_named_and_what_was_finished_is_kept(
    cluster, tiny, chats, tmp_path, monkeypatch
):
    """Any engine goes on from there."""

    class Doomed(Worker):
        def run(self, job):
            if job.window.first_row:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().run(job)

    monkeypatch.setattr(ray_engine, "Worker", Doomed)
    monkeypatch.setattr(ray_engine, "_LOSSES", 2)
    with pytest.raises(UserError, match="rows 128 to 256 died 2 times"):
        run(tiny, chats, tmp_path / "ray", engine="ray", workers=1)
    journal = partial_path(tmp_path / "ray/layer_1.zarr") / "journal.jsonl"
    assert len(journal.read_text().splitlines()) == 2
    assert run(tiny, chats, tmp_path / "ray") == run(tiny, chats, tmp_path / "local")


def test_an_error_of_a_worker_is_the_users_error(cluster, tiny, chats, tmp_path, monkeypatch):
    class Careful(Worker):
        def run(self, job):
            raise UserError("not finite", where="record 'r01'", remedy="use float32.")

    monkeypatch.setattr(ray_engine, "Worker", Careful)
    with pytest.raises(UserError, match=r"record 'r01': not finite Remedy: use float32"):
        run(tiny, chats, tmp_path / "ray", engine="ray", workers=1)


def test_a_machine_without_ray_says_how_to_get_it(tiny, chats, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"Ray is not installed.*\[ray\]"):
        run(tiny, chats, tmp_path / "ray", engine="ray")
    assert not any(open_store(path) for path in Path(tmp_path).rglob("manifest.json"))
