import sys
import uuid
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # also in the processes that tests start

from remote_projects import copy_project, make_project
from remote_servers import FaultProxy, Moto, Rclone, make_certificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="session")
def rclone(tmp_path_factory, certificate):
    server = Rclone(tmp_path_factory.mktemp("rclone"), certificate)
    yield server
    server.kill()


@pytest.fixture(scope="session")
def moto():
    server = Moto()
    yield server
    server.kill()


@pytest.fixture(params=["rclone", "moto"])
def server(request):
    """Each of the two servers."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def buckets():
    """Names of two buckets that no other test has."""
    name = uuid.uuid4().hex[:12]
    return f"datasets-{name}", f"activations-{name}"


@pytest.fixture
def proxy(tmp_path, certificate):
    """A server of this test's own, behind a proxy that fails as told."""
    server = Rclone(tmp_path / "rclone", certificate)
    proxy = FaultProxy(server)
    yield proxy
    proxy.close()
    server.kill()


@pytest.fixture
def moto_proxy(moto):
    """The other server, behind such a proxy."""
    proxy = FaultProxy(moto)
    yield proxy
    proxy.close()


@pytest.fixture(params=["proxy", "moto_proxy"])
def any_proxy(request):
    """Each of the two servers behind its proxy."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A small project after its first `dvc repro`; tests take copies."""
    return make_project(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def project(finished, tmp_path):
    return copy_project(finished, tmp_path)
