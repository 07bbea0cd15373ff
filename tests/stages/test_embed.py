"""Embedding: right values in the right rows, computed once, through any kill; no torch once all is there."""

import hashlib
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flawmap.errors import FlawmapError, OptionError, PhotoError
from flawmap.records import Photo
from flawmap.stages.embed import EmbedOptions, embed
from flawmap.stages.embed.plan import find_plan
from flawmap.tools.photos import read_photo
from flawmap.tools.preprocess import fit_image
from flawmap.tools.zoo import BackboneEntry, bundled_entries

SIDE = 160


def draw_photos(folder: Path, n_photos: int, first: int = 0) -> list[Photo]:
    """Photos of which no two are alike."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = []
    for i in range(first, first + n_photos):
        rng = np.random.default_rng(i)
        coarse = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        path = folder / f"{i:04d}.png"
        Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(path)
        photos.append(read_photo(path, path.name))
    return photos


@pytest.fixture(scope="session")
def small_backbone(tmp_path_factory: pytest.TempPathFactory) -> BackboneEntry:
    """A network of 0.1 million parameters with weights of its own, as a user's file."""
    import timm
    import torch
    from safetensors.torch import save_file

    from flawmap.tools.backbones import select

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    save_file(timm.create_model("test_efficientnet").state_dict(), folder / "small.safetensors")
    kept, _ = select("test_vit", [f"test_efficientnet@{folder / 'small.safetensors'}"], folder=folder)
    return kept[-1]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory, small_backbone: BackboneEntry) -> Path:
    """A cache in which the small backbone is exported, for ONNX Runtime."""
    folder = tmp_path_factory.mktemp("cache")
    photos = draw_photos(folder / "photos", 3, first=1000)
    embed(photos, small_backbone, EmbedOptions(cache=folder, runtime="onnxruntime"))
    return folder


@pytest.fixture
def options(cache: Path) -> EmbedOptions:
    return EmbedOptions(cache=cache, runtime="onnxruntime", n_threads=2)


def test_the_values_are_those_of_the_network(
    small_backbone: BackboneEntry, options: EmbedOptions, tmp_path: Path
) -> None:
    import torch

    from flawmap.tools.backbones import load_backbone

    photos = draw_photos(tmp_path, 5)
    found = embed(photos, small_backbone, options)
    images = [fit_image(np.asarray(Image.open(p.path)), small_backbone.preprocessing) for p in photos]
    batch = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).astype(np.float32))
    network = load_backbone(small_backbone)
    with torch.inference_mode():
        maps = [m.numpy() for m in network(batch, range(network.last + 1))]
    assert found.depths == tuple(range(len(maps))) == tuple(found.costs)
    assert found.runtime == "onnxruntime" and found.n_computed == 5
    for depth, m in enumerate(maps):
        np.testing.assert_allclose(found.average[depth], m.mean((2, 3)), atol=1e-3)
        np.testing.assert_allclose(found.maximum[depth], m.max((2, 3)), atol=1e-3)
        assert found.average[depth].dtype == np.float32
        is_fine = m.shape[2] * 16 >= SIDE
        assert (depth in found.quadrants) == is_fine
        if is_fine:
            middle, centre = m.shape[2] // 2, m.shape[3] // 2
            top_right = m[:, :, :middle, centre:].mean((2, 3))
            np.testing.assert_allclose(found.quadrants[depth][:, 1], top_right, atol=1e-3)
    assert found.quadrants


def test_ten_new_photos_cost_ten_embeddings(
    small_backbone: BackboneEntry, options: EmbedOptions, tmp_path: Path
) -> None:
    old = draw_photos(tmp_path, 12, first=100)
    assert embed(old, small_backbone, options).n_computed == 12
    both = [*draw_photos(tmp_path, 10, first=200), *old]
    asked = []
    found = embed(both, small_backbone, options, lambda *step: asked.append(step))
    assert found.n_computed == 10
    assert asked[-1][1:] == (10, 10)
    again = embed(both[::-1], small_backbone, options)
    assert again.n_computed == 0
    assert again.digests == found.digests[::-1]
    for depth in found.depths:
        np.testing.assert_array_equal(again.average[depth], found.average[depth][::-1])


def test_the_same_bytes_are_computed_once_and_neighbours_do_not_matter(
    small_backbone: BackboneEntry, options: EmbedOptions, tmp_path: Path
) -> None:
    first = draw_photos(tmp_path / "a", 4, first=300)
    copies = draw_photos(tmp_path / "b", 2, first=300)
    found = embed([*first, *copies], small_backbone, options)
    assert found.n_computed == 4
    np.testing.assert_array_equal(found.maximum[1][4:], found.maximum[1][:2])


def test_when_all_is_there_torch_is_not_imported(
    small_backbone: BackboneEntry, cache: Path, tmp_path: Path
) -> None:
    program = """
import pickle, sys
from pathlib import Path
from flawmap.stages.embed import embed
arguments = pickle.loads(Path(sys.argv[1]).read_bytes())
found = embed(*arguments)
assert found.n_computed == int(sys.argv[2]), found.n_computed
assert found.costs[0].macs > 0
print([name for name in ("torch", "timm", "sklearn") if name in sys.modules])
"""
    import pickle

    photos = draw_photos(tmp_path / "photos", 3, first=400)
    file = tmp_path / "arguments"
    file.write_bytes(pickle.dumps((photos, small_backbone, EmbedOptions(cache=cache, runtime="onnxruntime"))))
    for n_computed in ("3", "0"):  # nor for new photos, once the graph is there
        command = [sys.executable, "-W", "ignore", "-c", program, str(file), n_computed]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout.strip() == "[]", done.stderr


def test_a_file_that_changed_meanwhile_is_not_kept_under_its_old_name(
    small_backbone: BackboneEntry, options: EmbedOptions, tmp_path: Path
) -> None:
    photo, gone = draw_photos(tmp_path, 2, first=500)
    Image.new("RGB", (SIDE, SIDE)).save(photo.path)
    with pytest.raises(PhotoError, match=r"0500\.png: the file has changed"):
        embed([photo], small_backbone, options)
    gone.path.unlink()
    with pytest.raises(PhotoError, match=r"0501\.png: it was here"):
        embed([gone], small_backbone, options)


def test_another_reading_of_the_same_bytes_is_another_row(
    small_backbone: BackboneEntry, options: EmbedOptions, tmp_path: Path
) -> None:
    (photo,) = draw_photos(tmp_path, 1, first=600)
    assert embed([photo], small_backbone, options).n_computed == 1
    assert embed([replace(photo, note="16-bit, scaled")], small_backbone, options).n_computed == 1


def test_no_photos(small_backbone: BackboneEntry, options: EmbedOptions) -> None:
    found = embed([], small_backbone, options)
    assert found.average[0].shape == (0, found.costs[0].n_channels)
    assert found.n_computed == 0


def test_a_plan_that_cannot_be_read_is_made_again(
    small_backbone: BackboneEntry, cache: Path, tmp_path: Path
) -> None:
    plan = find_plan(small_backbone, cache)
    assert plan is not None and plan.agreement["onnxruntime"] < 1e-3
    assert np.isfinite(plan.ms_per_photo)
    copy = tmp_path / "backbones" / plan.path.name
    copy.parent.mkdir()
    copy.write_text(plan.path.read_text()[:-40])
    assert find_plan(small_backbone, tmp_path) is None
    assert find_plan(replace(small_backbone, weights_digest="0" * 64), cache) is None


@pytest.mark.slow
def test_a_damaged_graph_is_made_again(small_backbone: BackboneEntry, cache: Path, tmp_path: Path) -> None:
    plan = find_plan(small_backbone, cache)
    assert plan is not None
    (tmp_path / "backbones").mkdir()
    (tmp_path / "backbones" / plan.path.name).write_bytes(plan.path.read_bytes())
    graph = tmp_path / "backbones" / plan.graph_path.name
    graph.write_bytes(plan.graph_path.read_bytes()[:1000])
    photos = draw_photos(tmp_path / "photos", 1, first=700)
    found = embed(photos, small_backbone, EmbedOptions(cache=tmp_path, runtime="onnxruntime"))
    assert found.n_computed == 1 and found.runtime == "onnxruntime"
    assert graph.stat().st_size > 1000


def test_options_say_what_they_want() -> None:
    with pytest.raises(OptionError, match=r"runtime: wanted 'auto', 'onnxruntime', .*; got"):
        EmbedOptions(runtime="tensorflow")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="n_threads is 0"):
        EmbedOptions(n_threads=0)


@pytest.mark.slow
def test_every_runtime_agrees_and_auto_keeps_its_choice(
    small_backbone: BackboneEntry, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    photos = draw_photos(tmp_path / "photos", 6)
    by_runtime = {
        runtime: embed(photos, small_backbone, EmbedOptions(cache=tmp_path, runtime=runtime))
        for runtime in ("torch", "onnxruntime", "openvino")
    }
    assert all(found.n_computed == 6 for found in by_runtime.values())
    for found in by_runtime.values():
        for depth, values in by_runtime["torch"].maximum.items():
            np.testing.assert_allclose(found.maximum[depth], values, atol=1e-3)
    chosen = embed(photos, small_backbone, EmbedOptions(cache=tmp_path))
    assert chosen.n_computed == 0
    assert embed(photos, small_backbone, EmbedOptions(cache=tmp_path)).runtime == chosen.runtime


@pytest.mark.slow
@pytest.mark.parametrize("entry", [e for e in bundled_entries() if e.is_available], ids=lambda e: e.id)
def test_every_bundled_backbone_can_be_exported_and_agrees(entry: BackboneEntry, tmp_path: Path) -> None:
    photos = draw_photos(tmp_path / "photos", 3)
    found = embed(photos, entry, EmbedOptions(cache=tmp_path, runtime="onnxruntime"))
    assert found.runtime == "onnxruntime"
    assert found.depths == tuple(range(entry.n_depths or 0))


KILLED = """
import pickle, sys
from pathlib import Path
from flawmap.stages import embed as stage
stage._APPEND_EVERY_S = 0.02
stage.embed(*pickle.loads(Path(sys.argv[1]).read_bytes()))
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(
    small_backbone: BackboneEntry, cache: Path, tmp_path: Path
) -> None:
    import pickle

    photos = draw_photos(tmp_path / "photos", 400, first=5000)
    options = EmbedOptions(cache=cache, runtime="onnxruntime", n_threads=1)
    file = tmp_path / "arguments"
    file.write_bytes(pickle.dumps((photos, small_backbone, options)))
    rng = np.random.default_rng(1)
    for _ in range(4):
        run = subprocess.Popen([sys.executable, "-W", "ignore", "-c", KILLED, str(file)])
        time.sleep(1.5 + 2 * rng.random())
        run.send_signal(signal.SIGKILL)
        run.wait()
    resumed = embed(photos, small_backbone, options)
    assert resumed.n_computed < len(photos)
    clean = embed(photos, small_backbone, replace(options, cache=_copy_plan(cache, tmp_path / "clean")))
    assert clean.n_computed == len(photos)
    for depth in clean.depths:
        np.testing.assert_array_equal(resumed.average[depth], clean.average[depth])
    assert embed(photos, small_backbone, options).n_computed == 0


def _copy_plan(cache: Path, folder: Path) -> Path:
    """The exported graph alone, without embeddings."""
    (folder / "backbones").mkdir(parents=True)
    for file in (cache / "backbones").iterdir():
        if file.is_file():
            (folder / "backbones" / file.name).write_bytes(file.read_bytes())
    return folder


def test_a_damaged_store_names_its_remedy(small_backbone: BackboneEntry, cache: Path, tmp_path: Path) -> None:
    folder = _copy_plan(cache, tmp_path / "cache")
    options = EmbedOptions(cache=folder, runtime="onnxruntime")
    photos = draw_photos(tmp_path / "photos", 2)
    embed(photos, small_backbone, options)
    for file in (folder / "embeddings").rglob("*.lance"):
        if file.is_file():
            file.write_bytes(hashlib.sha256(b"noise").digest())
    with pytest.raises(FlawmapError, match="Delete that folder; it is made again"):
        embed(photos, small_backbone, options)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
@pytest.mark.usefixtures("two_ray_workers")
def test_ray_computes_the_same_bits(small_backbone: BackboneEntry, tmp_path: Path, cache: Path) -> None:
    photos = draw_photos(tmp_path / "photos", 12)
    local = embed(photos, small_backbone, EmbedOptions(cache=tmp_path, runtime="onnxruntime"))
    options = EmbedOptions(cache=cache, runtime="onnxruntime", engine="ray", n_threads=2)
    spread = embed(photos, small_backbone, options)
    assert spread.n_computed == 12
    for depth, values in local.average.items():
        assert np.array_equal(values, spread.average[depth])


def test_photos_of_object_stores_are_read_where_they_lie(
    small_backbone: BackboneEntry, cache: Path, tmp_path: Path
) -> None:
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    photo = draw_photos(tmp_path, 1, first=2000)[0]
    far = replace(photo, path=Path("nowhere.png"), address="memory://wall/a.png")
    options = EmbedOptions(cache=cache, runtime="onnxruntime")
    try:
        with pytest.raises(PhotoError, match="here when the folder was read, and now cannot be fetched"):
            embed([far], small_backbone, options)
        files.pipe_file("/wall/a.png", photo.path.read_bytes())
        assert embed([far], small_backbone, options).n_computed == 1
        assert embed([photo], small_backbone, options).n_computed == 0
    finally:
        files.store.clear()
        files.pseudo_dirs[:] = [""]
