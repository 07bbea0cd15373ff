"""What is far from all tiles is foreign; what looks shrunk is remote; windows are those of the map."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from flawmap.errors import BundleError
from flawmap.records import FindingSpec
from flawmap.tools.bundle import REFERENCE, read_bundle, write_bundle, write_spec
from flawmap.tools.familiarity import Reference, WindowMeans, fit_reference


def draw(n: int = 300, k: int = 24, at: float = 0.0, seed: int = 0) -> np.ndarray:
    """(n, k): spread along four directions, with large and small channels; `at` moves along the first."""
    rng = np.random.default_rng(seed)
    basis = np.random.default_rng(9).normal(size=(4, k))
    along = rng.normal(size=(n, 4))
    along[:, 0] += at
    return (along @ basis + 0.05 * rng.normal(size=(n, k))) * np.geomspace(0.01, 100, k) + 5


@pytest.fixture(scope="module")
def reference() -> Reference:
    return fit_reference(draw(), draw(seed=1), draw(seed=2, at=2.0))


def test_what_is_like_the_tiles_is_near_and_the_rest_is_far(reference: Reference) -> None:
    like, foreign = reference.distances(draw(seed=3)), reference.distances(draw(seed=4, at=9.0))
    assert like.shape == (300,) and like.dtype == np.float32
    assert np.quantile(like, 0.97) < np.quantile(foreign, 0.03)


def test_the_fifth_nearest_tile_counts() -> None:
    reference = Reference(
        np.zeros(1, np.float32),
        np.ones((1, 1), np.float32),
        np.array([[0], [1], [2], [3], [7], [50]], np.float32),
        np.zeros(1, np.float32),
    )
    assert reference.distances(np.zeros((1, 1)))[0] == 7
    few = Reference(reference.mean, reference.directions, reference.tiles[:2], reference.far)
    assert few.distances(np.zeros((1, 1)))[0] == 1


def test_what_looks_shrunk_is_remote(reference: Reference) -> None:
    near, far = reference.remoteness(draw(seed=5)), reference.remoteness(draw(seed=6, at=2.0))
    assert np.quantile(near, 0.75) < np.quantile(far, 0.25)


def test_many_windows_give_what_each_alone_gives(reference: Reference) -> None:
    features = draw(n=400, seed=7)
    alone = np.array([reference.distances(one[None])[0] for one in features])
    assert reference.distances(features).tobytes() == alone.tobytes()


def test_constant_channels_and_a_single_tile_do_no_harm() -> None:
    features = draw(50)
    features[:, 3] = 1.0
    found = fit_reference(features, features[:10], features[10:20])
    assert np.isfinite(found.distances(features)).all() and np.isfinite(found.far).all()
    one = fit_reference(features[:1], features[:1], features[:1])
    assert np.isfinite(one.distances(features)).all()
    with pytest.raises(ValueError, match="a tile or more"):
        fit_reference(features[:0], features[:1], features[:1])
    with pytest.raises(ValueError, match="wanted mean"):
        Reference(found.mean[:4], found.directions, found.tiles, found.far)


@pytest.mark.parametrize("band", [1, 3, 7, 40])
def test_windows_are_averaged_whatever_the_bands(reference: Reference, band: int) -> None:
    features = np.random.default_rng(0).normal(size=(24, 40, 33)).astype(np.float32)
    means = WindowMeans((37, 30), (8, 8))
    passed = list(means.gather(features[:, top : top + band] for top in range(0, 40, band)))
    assert np.array_equal(np.concatenate(passed, axis=1), features)
    distances, remoteness = means.compare(reference)
    assert distances.shape == (37, 30)
    windows = [features[:, y : y + 8, x : x + 8] for y in range(0, 29, 4) for x in range(0, 21, 4)]
    wanted = np.array([one.mean(axis=(1, 2)) for one in windows])
    assert distances[0, 0] == pytest.approx(reference.distances(wanted[:1])[0], rel=1e-4)
    each = reference.distances(wanted)
    assert all(np.isclose(one, each, rtol=1e-3).any() for one in np.unique(distances))
    assert remoteness == pytest.approx(float(np.median(reference.remoteness(wanted))), rel=1e-3)


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 20), (8, 8), (9, 4)])
def test_small_maps_are_one_window(reference: Reference, size_hw: tuple[int, int]) -> None:
    means = WindowMeans(size_hw, (8, 8))
    list(means.gather([np.ones((24, 16, 24), np.float32)]))
    distances, _ = means.compare(reference)
    assert distances.shape == size_hw
    assert np.allclose(distances, reference.distances(np.ones((1, 24)))[0], rtol=1e-4)


def test_a_model_folder_keeps_its_reference(tiny: SimpleNamespace, tmp_path: Path) -> None:
    head = tiny.make_head()
    bundle = write_bundle(tmp_path / "model", tiny.make_spec(), tiny.make_onnx(head), head)
    assert bundle.reference is None
    rng = np.random.default_rng(0)
    found = fit_reference(rng.random((20, 2)), rng.random((20, 2)), rng.random((20, 2)))
    findings = FindingSpec(0.9, 10, "by hand", most_distance=1.0, most_remoteness=1.0)
    write_spec(bundle, tiny.make_spec(findings=findings), found)
    again = read_bundle(bundle.folder)
    assert again.reference is not None
    assert again.reference.tiles.tobytes() == found.tiles.tobytes()
    assert read_bundle(write_spec(again, again.spec).folder).reference is not None
    (bundle.folder / REFERENCE).write_bytes(b"other")
    with pytest.raises(BundleError, match="altered"):
        read_bundle(bundle.folder)
