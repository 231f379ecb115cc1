"""What tests of all rooms share."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from fourreal.platform.grid import Grid, GridMeta
from tests.faulty_s3 import FaultyS3, serving

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("platform", "datagen", "training", "evaluation")

# Processes that tests start (Ray workers, Blender children, `python -m fourreal...`) find the rooms as the tests do.
os.environ["PYTHONPATH"] = os.pathsep.join([*(str(ROOT / room) for room in ROOMS), str(ROOT)])


# Tests share their cores with the processes they start: two torch threads on a busy core wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# So no test's time says anything.
hypothesis.settings.register_profile("shared-cores", deadline=None)
hypothesis.settings.load_profile("shared-cores")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests start Ray come first: they take longest, and what ends last should be short."""
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)


@pytest.fixture
def shared_data() -> Path:
    """Real assets and videos by others, which are not part of the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real assets and videos is not beside the repository")
    return folder


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Of length 1, float32."""
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def make_grid() -> Callable[..., Grid]:
    """A grid with smooth random frames and everything that a grid may carry."""

    def make(key: str = "grid", V: int = 2, T: int = 3, H: int = 16, W: int = 24, seed: int = 0) -> Grid:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:H, 0:W]
        phase = rng.uniform(0, 6, (V, T, 1, 1, 3))
        frames = 127 + 120 * np.sin(0.2 * x[None, None, :, :, None] + 0.3 * y[None, None, :, :, None] + phase)
        depth = rng.uniform(1, 5, (V, T, H, W)).astype(np.float32)
        depth[..., 0] = np.inf
        return Grid(
            frames=frames.astype(np.uint8),
            meta=GridMeta(key, caption='a "caption" </script>', fps=12.5, seed=seed, settings={"a": 1}),
            mask=rng.integers(0, 256, (V, T, H, W), dtype=np.uint8),
            depth=depth,
            normals=unit_vectors(rng.normal(size=(V, T, H, W, 3))),
            flow=rng.normal(size=(V, T, H, W, 2)).astype(np.float32),
            intrinsics=rng.normal(size=(V, 3, 3)),
            world_to_camera=rng.normal(size=(V, 4, 4)),
            homographies=rng.normal(size=(V, T, 3, 3)),
        )

    return make


@pytest.fixture(scope="module")
def ray_of_two_cores() -> Iterator[None]:
    """One Ray for a module's tests, whose jobs would each start and stop their own."""
    from fourreal.platform.runtime import ray_session

    with ray_session(2):
        yield


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_bucket(_s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of an empty bucket of an S3 server on loopback, which the environment points at."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": _s3_server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}"


@pytest.fixture
def s3_outage(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    """The server of `s3_bucket` behind faults: none, until a test sets some."""
    store = FaultyS3()
    with serving(store) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        yield store
