"""A segmenter learns drawn squares, with the same bits each time and after an interruption."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flawmap.errors import BackboneError, DatasetError, OptionError
from flawmap.records import Dataset, Photo, PhotoMask, Split, TrainedSegmenter
from flawmap.stages.train.augment import AugmentOptions
from flawmap.stages.train.options import MaskTrainOptions
from flawmap.stages.train.segmenter import refit_segmenter, train_segmenter
from flawmap.tools.masks import to_photo_mask
from flawmap.tools.zoo import bundled_entries

HW = (72, 96)
QUICK = MaskTrainOptions(depth=2, crop_px=64, epochs=2, batch_size=4, precision="float32", accelerator="cpu")
ENTRIES = {entry.id: entry for entry in bundled_entries()}


def draw_square(rng: np.random.Generator, label: int | None) -> tuple[np.ndarray, np.ndarray]:
    """A grey photo with noise; a bright square is the first label, a dark one the second."""
    image, mask = rng.normal(120, 12, (*HW, 3)), np.zeros((2, *HW), bool)
    if label is not None:
        side = int(rng.integers(14, 26))
        top, left = (int(rng.integers(0, full - side)) for full in HW)
        mask[label, top : top + side, left : left + side] = True
        image[mask[label]] += (100, -90)[label]
    return image.clip(0, 255).astype(np.uint8), mask


def draw_dataset(folder: Path, n: int = 12) -> tuple[Dataset, Split]:
    """Photos in the order bright, dark, plain, bright, …; the last third is for validation."""
    rng = np.random.default_rng(3)
    folder.mkdir(parents=True, exist_ok=True)
    photos, masks = [], []
    for i in range(n):
        image, mask = draw_square(rng, (0, 1, None)[i % 3])
        file = folder / f"{i:03}.png"
        Image.fromarray(image).save(file)
        digest = hashlib.blake2b(file.read_bytes(), digest_size=32).hexdigest()
        photos.append(Photo(file, file.name, digest, HW))
        masks.append(to_photo_mask(mask))
    rows = np.arange(n)
    third = n // 3
    split = Split(rows[:-third], rows[-third:], rows[:0], tuple(map(str, rows)), 0, "in order")
    return make_dataset(folder, photos, masks), split


def make_dataset(folder: Path, photos: list[Photo], masks: list[PhotoMask]) -> Dataset:
    targets = np.array([[len(runs) > 0 for runs in mask.runs] for mask in masks], np.uint8)
    return Dataset(folder, tuple(photos), ("bright", "dark"), targets, is_multilabel=True, masks=tuple(masks))


def run(folder: Path, options: MaskTrainOptions = QUICK, n: int = 12) -> TrainedSegmenter:
    dataset, split = draw_dataset(folder / "photos", n)
    return train_segmenter(dataset, split, backbone(), options, folder / "work")


def backbone():
    entry = ENTRIES["mobilenetv2"]
    if not entry.is_available:
        pytest.skip(f"the weights of {entry.id} are not installed")
    return entry


def state_of(model: TrainedSegmenter) -> dict[str, bytes]:
    """All that decides an answer; the count of batches that normalisation has seen does not."""
    state = model.network.state_dict().items()
    return {name: v.numpy().tobytes() for name, v in state if not name.endswith("num_batches_tracked")}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainedSegmenter]:
    folder = tmp_path_factory.mktemp("masks")
    return folder, run(folder)


def test_a_training_tells_what_it_did(trained: tuple[Path, TrainedSegmenter]) -> None:
    folder, model = trained
    assert (model.backbone_id, model.depth, model.decoder) == ("mobilenetv2", 2, "unet")
    assert model.crop_hw == (64, 64) and "16 crops of 64 × 64 pixels an epoch, in 32-true" in model.note
    assert [(e.phase, e.epoch) for e in model.history] == [("masks", 0), ("masks", 1)]
    assert all(np.isfinite([e.train_loss, e.validation_loss, e.validation_f1]).all() for e in model.history)
    assert model.validation_f1 == max(e.validation_f1 for e in model.history)
    assert not model.network.training and not any(p.requires_grad for p in model.network.parameters())
    assert model.n_parameters > 50_000 and model.macs_per_px > 100
    assert list((folder / "work" / "logs").rglob("events.out.tfevents.*"))


@pytest.mark.slow
def test_at_last_the_validation_photos_are_learnt_too(trained: tuple[Path, TrainedSegmenter]) -> None:
    folder, model = trained
    dataset, split = draw_dataset(folder / "photos")
    before = state_of(model)

    def refit(share: float) -> TrainedSegmenter:
        options = dataclasses.replace(QUICK, refit_share=share)
        return refit_segmenter(model, dataset, split, options, folder / f"refit-{share}")

    final = refit(3.0)
    assert final.refit == "for 6 epochs at half the rates"
    assert state_of(model) == before != state_of(final)
    assert final.history == model.history and final.validation_f1 == model.validation_f1
    assert not any(p.requires_grad for p in final.network.parameters())
    assert refit(0.0) is model


def test_what_is_new_learns_statistics_and_the_backbone_keeps_its_own(
    trained: tuple[Path, TrainedSegmenter],
) -> None:
    from flawmap.tools.backbones import SegmenterNetwork

    _, model = trained
    fresh = SegmenterNetwork(backbone(), 2, "unet", 2).state_dict()
    for name, value in model.network.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            assert (value != fresh[name]).any() == name.startswith("decoder."), name
        elif name.startswith("backbone.") and name.endswith("conv.weight"):
            assert (value != fresh[name]).any(), name


def test_the_kept_state_has_the_score_that_is_told(trained: tuple[Path, TrainedSegmenter]) -> None:
    """Whole photos through the network that ships, pooled by hand."""
    import torch

    from flawmap.tools.masks import to_pixels
    from flawmap.tools.segmenting import pad_image

    folder, model = trained
    dataset, split = draw_dataset(folder / "photos")
    truth = np.stack([to_pixels(dataset.masks[row]) for row in split.validation])
    images = [pad_image(np.asarray(Image.open(dataset.photos[row].path)), 32) for row in split.validation]
    with torch.inference_mode():
        logits = model.network(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float())
    probabilities = logits.sigmoid().numpy()[:, :, : HW[0], : HW[1]]
    best = []
    for label in range(2):
        p, t = probabilities[:, label], truth[:, label]
        best.append(max(2 * ((p >= k / 40) & t).sum() / ((p >= k / 40).sum() + t.sum()) for k in range(40)))
    assert model.validation_f1 == pytest.approx(np.mean(best), abs=1e-4)


def test_the_same_seed_gives_the_same_bits(trained: tuple[Path, TrainedSegmenter], tmp_path: Path) -> None:
    import torch

    _, model = trained
    torch.manual_seed(77)
    before = torch.get_rng_state()
    again = run(tmp_path, dataclasses.replace(QUICK, memory_gb=0.0))
    assert state_of(model) == state_of(again) and model.validation_f1 == again.validation_f1
    assert torch.equal(torch.get_rng_state(), before)


def test_a_finished_training_is_read_back(trained: tuple[Path, TrainedSegmenter]) -> None:
    folder, model = trained
    again = run(folder)
    assert state_of(model) == state_of(again) and again.history == model.history


def test_checkpoints_of_another_training_are_refused(trained: tuple[Path, TrainedSegmenter]) -> None:
    folder, _ = trained
    with pytest.raises(OptionError, match="the training options differed"):
        run(folder, dataclasses.replace(QUICK, loss="focal"))
    with pytest.raises(OptionError, match="the backbone differed"):
        dataset, split = draw_dataset(folder / "photos")
        train_segmenter(dataset, split, ENTRIES["efficientnet_lite0"], QUICK, folder / "work")
    masks = list(dataset.masks)
    first = masks[0].runs[0].copy()
    first[0, 1] -= 1
    masks[0] = PhotoMask(HW, (first, masks[0].runs[1]))
    changed = make_dataset(dataset.root, list(dataset.photos), masks)
    with pytest.raises(OptionError, match="the photos or their labels differed"):
        train_segmenter(changed, split, backbone(), QUICK, folder / "work")


def test_runs_that_move_to_the_next_label_are_other_masks(tmp_path: Path) -> None:
    from flawmap.stages.train.resuming import fingerprint

    dataset, split = draw_dataset(tmp_path)
    runs = np.array([[1, 2], [10, 2], [20, 2]], np.int64)

    def with_first(n: int) -> str:
        masks = [PhotoMask(HW, (runs[:n], runs[n:])), *dataset.masks[1:]]
        changed = make_dataset(tmp_path, list(dataset.photos), masks)
        return fingerprint(changed, split, QUICK)["the photos or their labels"]

    assert with_first(1) != with_first(2) == with_first(2)


@pytest.mark.parametrize("part", ["training", "validation"])
def test_a_part_without_a_flaw_is_refused(tmp_path: Path, part: str) -> None:
    dataset, split = draw_dataset(tmp_path / "photos")
    plain, flawed = np.flatnonzero(~dataset.targets.any(1)), np.flatnonzero(dataset.targets.any(1))
    parts = (plain, flawed) if part == "training" else (flawed, plain)
    split = dataclasses.replace(split, train=parts[0], validation=parts[1])
    with pytest.raises(DatasetError, match=f"no {part} photo carries a flaw pixel"):
        train_segmenter(dataset, split, backbone(), QUICK, tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_a_backbone_that_does_not_fit_leaves_the_folder_free(tmp_path: Path) -> None:
    dataset, split = draw_dataset(tmp_path / "photos")
    with pytest.raises(BackboneError, match="a decoder wants 3 or more"):
        train_segmenter(dataset, split, backbone(), dataclasses.replace(QUICK, depth=1), tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_importing_the_stage_loads_no_torch() -> None:
    code = "import sys, flawmap.stages.train.segmenter; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


@pytest.mark.slow
def test_squares_are_learnt(tmp_path: Path) -> None:
    model = run(tmp_path, dataclasses.replace(QUICK, depth=3, epochs=20), n=36)
    assert model.validation_f1 > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["deeplabv3", "pan", "upernet"])
def test_decoders_that_pool_learn_from_an_odd_number_of_crops(tmp_path: Path, decoder: str) -> None:
    dataset, split = draw_dataset(tmp_path / "photos", 9)
    split = dataclasses.replace(
        split, train=split.train[:3], validation=split.train[3:], left_out=np.arange(6, 9)
    )
    options = dataclasses.replace(
        QUICK, decoder=decoder, epochs=1, batch_size=2, crop_px=96, augment=AugmentOptions(turns=True)
    )
    model = train_segmenter(dataset, split, backbone(), options, tmp_path / "work")
    assert np.isfinite(model.history[0].train_loss)


_SCRIPT = """
import dataclasses, hashlib, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_train_segmenter as t
model = t.run(Path(sys.argv[1]), dataclasses.replace(t.QUICK, epochs=5), n=24)
digest = hashlib.sha256(b"".join(t.state_of(model).values())).hexdigest()
print(digest, model.validation_f1, [(e.epoch, e.train_loss, e.validation_loss) for e in model.history])
"""


def _start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _SCRIPT, str(folder), str(Path(__file__).parent)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


@pytest.mark.slow
def test_killed_and_resumed_ends_with_the_bits_of_an_unbroken_run(tmp_path: Path) -> None:
    unbroken = _finish(_start(tmp_path / "unbroken"))
    last = tmp_path / "broken" / "work" / "checkpoints" / "masks" / "last.ckpt"
    process = _start(tmp_path / "broken")
    deadline = time.monotonic() + 120
    while not last.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
    assert _finish(_start(tmp_path / "broken")) == unbroken


@pytest.mark.slow
def test_several_devices_share_the_work(tmp_path: Path) -> None:
    """Two processes of the processor stand in for two GPUs."""
    file = tmp_path / "script.py"
    file.write_text("""
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_train_segmenter as t
from flawmap.stages.train import loop
if __name__ == "__main__":
    loop._devices = lambda accelerator: {"devices": 2, "strategy": "ddp_spawn"}
    print(t.run(Path(sys.argv[1])).history)
""")
    command = [sys.executable, str(file), str(tmp_path / "run"), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Epoch(phase='masks'") == QUICK.epochs
