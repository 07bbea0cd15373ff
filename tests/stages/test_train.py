"""Training on small drawn photos: contenders, frozen stages, weights, same bits, several labels."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flawmap.errors import MissingExtraError, OptionError, PhotoError
from flawmap.records import (
    PHASE_OF_CONTENDER,
    Cut,
    Dataset,
    LinearHead,
    Photo,
    Split,
    TrainedModel,
    no_progress,
)
from flawmap.stages.train import AugmentOptions, TrainOptions, refit_classifier, train_classifier
from flawmap.tools.zoo import BackboneEntry, bundled_entries

SIDE = 64
CUT = Cut(2, "average+maximum")
N_CHANNELS = 80
QUICK = TrainOptions(head_epochs=3, head_views=1, epochs=2, batch_size=8, frozen_stages=2, learning_rate=1e-3)


def small_entry() -> BackboneEntry:
    entry = bundled_entries()[0]
    if not entry.is_available:
        pytest.skip(f"the weights of {entry.id} are not installed")
    return dataclasses.replace(
        entry, preprocessing=dataclasses.replace(entry.preprocessing, input_hw=(SIDE, SIDE))
    )


def draw_photo(rng: np.random.Generator, has_line: bool, has_spot: bool) -> np.ndarray:
    image = rng.normal(150, 12, (SIDE, SIDE, 3))
    if has_line:
        column = int(rng.integers(8, SIDE - 10))
        image[:, column : column + 2] -= 90
    if has_spot:
        row, column = rng.integers(8, SIDE - 16, 2)
        image[row : row + 8, column : column + 8, 0] += 90
    return image.clip(0, 255).astype(np.uint8)


def draw_dataset(folder: Path, n: int = 24, *, is_multilabel: bool = False) -> tuple[Dataset, Split]:
    """Photos in the order line, plain, line, plain, … (several labels: line and spot, independently)."""
    rng = np.random.default_rng(5)
    photos, targets = [], []
    for i in range(n):
        has_line, has_spot = i % 2 == 0, is_multilabel and i % 3 == 0
        file = folder / f"{i:03}.png"
        Image.fromarray(draw_photo(rng, has_line, has_spot)).save(file)
        digest = hashlib.blake2b(file.read_bytes(), digest_size=32).hexdigest()
        photos.append(Photo(file, file.name, digest, (SIDE, SIDE)))
        targets.append([has_line, has_spot] if is_multilabel else [has_line, not has_line])
    labels, good = (("line", "spot"), ()) if is_multilabel else (("line", "plain"), ("plain",))
    dataset = Dataset(
        folder, tuple(photos), labels, np.array(targets, np.uint8), good, is_multilabel=is_multilabel
    )
    rows = np.arange(n)
    third = n // 3
    split = Split(rows[:-third], rows[-third:], rows[:0], tuple(map(str, rows)), 0, "in order")
    return dataset, split


def zero_probe() -> LinearHead:
    return LinearHead(np.zeros((2, N_CHANNELS), np.float32), np.zeros(2, np.float32))


def run(
    folder: Path, options: TrainOptions = QUICK, *, is_multilabel: bool = False, n: int = 24
) -> TrainedModel:
    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    dataset, split = draw_dataset(photos, n, is_multilabel=is_multilabel)
    return train_classifier(dataset, split, small_entry(), CUT, zero_probe(), options, folder / "work")


def state_of(model: TrainedModel) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in model.network.state_dict().items()}


def same_bits(one: TrainedModel, other: TrainedModel) -> bool:
    a, b = state_of(one), state_of(other)
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainedModel]:
    folder = tmp_path_factory.mktemp("train")
    return folder, run(folder)


def test_every_contender_is_judged_and_the_best_ships(trained: tuple[Path, TrainedModel]) -> None:
    _, model = trained
    assert list(model.contenders) == ["untrained", "probe", "head", "fine-tuned"]
    best = max(score["f1"] for score in model.contenders.values())
    assert model.contenders[model.winner]["f1"] == best
    assert model.contenders["fine-tuned"]["loss"] < model.contenders["untrained"]["loss"]
    assert model.winner in model.note
    assert model.untrained_head.weight.shape == (2, N_CHANNELS)


def refit(
    folder: Path, model: TrainedModel, options: TrainOptions, out: str, *, is_multilabel: bool = False
) -> TrainedModel:
    dataset, split = draw_dataset(folder / "photos", is_multilabel=is_multilabel)
    return refit_classifier(model, dataset, split, small_entry(), CUT, options, folder / out)


def test_features_that_are_known_are_not_computed_again(trained: tuple[Path, TrainedModel]) -> None:
    from flawmap.stages.train import contest

    folder, model = trained
    dataset, split = draw_dataset(folder / "photos")
    parts = (dataset, split, small_entry(), CUT)
    looked = contest.Contest(*parts, QUICK, folder / "looked", no_progress)
    features = np.zeros((len(dataset), N_CHANNELS), np.float32)
    features[split.development] = looked.views[:, 0].numpy()
    told: list[int] = []

    def progress(what: str, n_done: int | None = None, n_total: int | None = None) -> None:
        if what == "training: looking at every photo" and n_total is not None:
            told.append(n_total)

    known = contest.Contest(*parts, QUICK, folder / "known", progress, features=features)
    assert set(told) == {QUICK.head_views * len(split.train)}
    assert known.views.numpy().tobytes() == looked.views.numpy().tobytes()
    again = train_classifier(*parts, zero_probe(), QUICK, folder / "again", features=features)
    assert same_bits(again, model)


@pytest.mark.parametrize("winner", ["head", pytest.param("fine-tuned", marks=pytest.mark.slow)])
def test_what_won_goes_on_with_the_validation_photos_too(tmp_path: Path, winner: str) -> None:
    n_epochs = 0 if winner == "head" else 2
    options = dataclasses.replace(QUICK, epochs=n_epochs, head_epochs=3, head_learning_rate=1e-2)
    model = run(tmp_path, options)
    assert model.winner == winner
    before = state_of(model)
    n_own = sum(epoch.phase == PHASE_OF_CONTENDER[winner] for epoch in model.history)
    longer = dataclasses.replace(options, refit_share=2.0)
    final = refit(tmp_path, model, longer, "refit")
    assert final.refit == f"for {2 * n_own} epochs at half the rates"
    assert (final.winner, final.history, final.contenders) == (winner, model.history, model.contenders)
    assert not final.network.training and not any(p.requires_grad for p in final.network.parameters())
    after, unchanged = state_of(final), state_of(model)
    assert all(before[name].tobytes() == unchanged[name].tobytes() for name in before)
    changed = {name for name in before if before[name].tobytes() != after[name].tobytes()}
    assert {"head.weight", "head.bias"} <= changed
    assert any(name.startswith("backbone.") for name in changed) == (winner == "fine-tuned")
    assert same_bits(final, refit(tmp_path, model, longer, "refit")), "goes on from its own checkpoints"


def test_training_that_diverges_ends_early_says_so_and_does_not_ship(tmp_path: Path) -> None:
    options = dataclasses.replace(QUICK, epochs=0, head_epochs=9, patience=1, head_learning_rate=1e20)
    model = run(tmp_path, options)
    assert model.winner != "head" and len(model.history) <= 4
    assert not math.isfinite(model.history[-1].train_loss)
    assert "the loss of head was no number from epoch" in model.note and "learning_rate" in model.note


def test_without_epochs_of_its_own_a_winner_stays_as_it_is(trained: tuple[Path, TrainedModel]) -> None:
    folder, model = trained
    assert refit(folder, model, dataclasses.replace(QUICK, refit_share=0.0), "none") is model
    probe = dataclasses.replace(model, winner="probe")
    assert refit(folder, probe, QUICK, "probe") is probe


@pytest.mark.slow
def test_learning_more_that_fits_worse_is_not_kept(trained: tuple[Path, TrainedModel]) -> None:
    folder, model = trained
    wild = dataclasses.replace(QUICK, learning_rate=5.0, head_learning_rate=5.0, refit_share=1.0)
    final = refit(folder, model, wild, "wild")
    assert same_bits(final, model) and "learning the validation photos too was no gain" in final.note


def test_the_network_that_ships_has_the_figures_of_the_winner(trained: tuple[Path, TrainedModel]) -> None:
    import torch

    from flawmap.tools.thresholds import best_f1

    folder, model = trained
    dataset, split = draw_dataset(folder / "photos")
    images = np.stack([np.asarray(Image.open(dataset.photos[i].path)) for i in split.validation])
    assert not model.network.training
    with torch.inference_mode():
        features, logits = model.network(torch.from_numpy(images).permute(0, 3, 1, 2).float())
    assert features.shape[:2] == (8, N_CHANNELS // 2)
    f1 = best_f1(logits.numpy(), dataset.targets[split.validation], np.array([True, False]), False)
    assert f1 == pytest.approx(model.contenders[model.winner]["f1"], abs=1e-6)


def test_the_curve_has_every_epoch_of_both_phases(trained: tuple[Path, TrainedModel]) -> None:
    _, model = trained
    assert [(e.phase, e.epoch) for e in model.history] == [("head", i) for i in range(3)] + [
        ("fine-tuning", i) for i in range(2)
    ]
    assert all(np.isfinite([e.train_loss, e.validation_loss, e.validation_f1]).all() for e in model.history)


def test_tensorboard_events_are_always_written(trained: tuple[Path, TrainedModel]) -> None:
    folder, _ = trained
    events = [p.parent.name for p in (folder / "work" / "logs").rglob("events.out.tfevents.*")]
    assert {"head", "fine-tuning"} <= set(events)


def test_only_the_later_stages_and_the_head_learn(trained: tuple[Path, TrainedModel]) -> None:
    from safetensors.numpy import load_file

    from flawmap.tools.backbones import ClassifierNetwork

    folder, _ = trained
    learnt = load_file(folder / "work" / "checkpoints" / "fine-tuning" / "best.safetensors")
    fresh = ClassifierNetwork(small_entry(), CUT, 2)
    last_stage = {id(p) for p in fresh.stages[2]}
    expected = {name for name, p in fresh.named_parameters() if id(p) in last_stage}
    assert set(learnt) == expected | {"head.linear.weight", "head.linear.bias"}


def test_frozen_stages_keep_their_bits_and_folding_changes_nothing() -> None:
    import torch

    from flawmap.stages.train.tuning import StandardHead, TunedNetwork, pool
    from flawmap.tools.backbones import ClassifierNetwork

    network = ClassifierNetwork(small_entry(), CUT, 2, 0.0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = 255 * torch.rand(8, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        head = StandardHead(pool(network(images)[0], CUT), 2, 0.0)
    head.set(network.get_head())
    tuned = TunedNetwork(network, head, 2).eval()
    torch.testing.assert_close(tuned(images), network(images)[1], rtol=1e-4, atol=1e-4)
    optimizer = torch.optim.SGD([p for p in tuned.parameters() if p.requires_grad], 1e-4)
    for _ in range(2):
        tuned(images).square().mean().backward()
        optimizer.step()
    tuned.write_to(network)
    torch.testing.assert_close(tuned(images), network(images)[1], rtol=1e-4, atol=1e-4)
    learning = {name for name, p in network.named_parameters() if p.requires_grad}
    n_frozen_parameters = sum(len(stage) for stage in network.stages[:2])
    assert len(list(network.parameters())) - len(learning) == n_frozen_parameters > 10
    for name, value in network.state_dict().items():
        if name in learning and value.ndim == 4:
            assert not torch.equal(value, before[name]), name
        elif name not in learning:
            assert torch.equal(value, before[name]), name


def test_a_head_is_the_same_map_before_and_after_standardising() -> None:
    import torch

    from flawmap.stages.train.tuning import StandardHead

    rng = np.random.default_rng(3)
    spread = rng.uniform(0.01, 30, 20)
    spread[4] = 0  # a feature that never varies
    features = (rng.normal(size=(50, 20)) * spread + 5).astype(np.float32)
    head = LinearHead(rng.normal(size=(3, 20)).astype(np.float32), rng.normal(size=3).astype(np.float32))
    standard = StandardHead(torch.from_numpy(features), 3, 0.5).eval()
    standard.set(head)
    with torch.no_grad():
        logits = standard(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(logits, features @ head.weight.T + head.bias, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(standard.get().weight, head.weight, rtol=1e-5)
    np.testing.assert_allclose(standard.get().bias, head.bias, rtol=1e-4, atol=1e-4)


def test_the_same_seed_gives_the_same_bits(trained: tuple[Path, TrainedModel], tmp_path: Path) -> None:
    _, model = trained
    again = run(tmp_path)
    assert same_bits(model, again)
    assert again.contenders == model.contenders


@pytest.mark.slow
def test_a_finished_training_is_read_back_with_the_same_bits(trained: tuple[Path, TrainedModel]) -> None:
    folder, model = trained
    assert same_bits(model, run(folder))


def test_checkpoints_of_another_training_are_refused(trained: tuple[Path, TrainedModel]) -> None:
    folder, _ = trained
    with pytest.raises(OptionError, match="the training options differed"):
        run(folder, dataclasses.replace(QUICK, learning_rate=2e-3))


@pytest.mark.slow
def test_several_labels_on_one_photo(tmp_path: Path) -> None:
    model = run(tmp_path, dataclasses.replace(QUICK, head_epochs=10), is_multilabel=True)
    assert set(model.contenders) == {"untrained", "probe", "head", "fine-tuned"}
    assert model.contenders["head"]["loss"] < model.contenders["probe"]["loss"] == pytest.approx(np.log(2))
    assert model.class_weights[1] > model.class_weights[0]


@pytest.mark.slow
def test_without_epochs_the_probe_competes_alone(tmp_path: Path) -> None:
    model = run(tmp_path, dataclasses.replace(QUICK, head_epochs=0, epochs=0))
    assert set(model.contenders) == {"untrained", "probe"} and model.history == ()
    if model.winner == "probe":
        assert not model.network.get_head().weight.any()


def test_a_photo_that_went_away_is_an_error(tmp_path: Path) -> None:
    dataset, split = draw_dataset(tmp_path)
    dataset.photos[3].path.write_bytes(b"")
    with pytest.raises(PhotoError):
        train_classifier(dataset, split, small_entry(), CUT, zero_probe(), QUICK, tmp_path / "work")


def test_ctrl_c_is_an_interrupt_and_no_success(tmp_path: Path) -> None:
    def interrupt(task: str, done: int, total: int | None) -> None:
        if task.startswith("training: head"):
            raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    dataset, split = draw_dataset(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train_classifier(
            dataset, split, small_entry(), CUT, zero_probe(), QUICK, tmp_path / "work", progress=interrupt
        )
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.slow
def test_large_sets_are_decoded_into_a_file_and_train_the_same(
    trained: tuple[Path, TrainedModel], tmp_path: Path
) -> None:
    _, model = trained
    mapped = run(tmp_path, dataclasses.replace(QUICK, memory_gb=0))
    assert same_bits(model, mapped)
    assert not (tmp_path / "work" / "checkpoints" / "photos.npy").exists()


def test_a_logger_that_is_not_installed_names_its_package(tmp_path: Path) -> None:
    import importlib.util

    if importlib.util.find_spec("wandb") is not None:
        pytest.skip("wandb is installed")
    with pytest.raises(MissingExtraError, match="wandb"):
        run(tmp_path, dataclasses.replace(QUICK, logger="wandb"))


def test_class_weights_balance_the_classes() -> None:
    from flawmap.stages.train.objective import class_weights

    targets = np.repeat(np.eye(3, dtype=np.uint8), [60, 30, 10], axis=0)
    none, full, half = (class_weights(targets, False, balance) for balance in (0, 1, 0.5))
    np.testing.assert_allclose(none, 1)
    np.testing.assert_allclose(full * [60, 30, 10], [100 / 3] * 3, rtol=1e-6)
    np.testing.assert_allclose(half[0] / half[2], np.sqrt(10 / 60), rtol=1e-6)
    for weights in (none, full, half):
        assert np.average(weights, weights=[60, 30, 10]) == pytest.approx(1)
    multilabel = class_weights(np.array([[1, 0], [1, 0], [0, 0], [1, 1]], np.uint8), True, 1.0)
    np.testing.assert_allclose(multilabel, [1 / 3, 3])


def test_an_even_batch_for_every_device_and_a_new_order_every_epoch() -> None:
    import torch

    from flawmap.stages.train.sources import Batches, Views

    rows = np.arange(33)
    source = Views(torch.arange(33.0).reshape(33, 1, 1))

    def order(seed: int | None, epoch: int, rank: int = 0, n_devices: int = 1) -> list[np.ndarray]:
        batches = Batches(source, rows, np.eye(33, 2), 8, seed).shared(rank, n_devices)
        batches.sampler.set_epoch(epoch)
        found = [batch[2].numpy() for batch in batches]
        assert len(found) == len(batches)
        return found

    def joined(seed: int | None, epoch: int) -> list[int]:
        return np.concatenate(order(seed, epoch)).tolist()

    assert joined(None, 0) == rows.tolist()
    assert joined(3, 1) == joined(3, 1) != joined(3, 2) != joined(4, 2)
    assert min(map(len, order(3, 1))) >= 6
    first, second = order(3, 1, 0, 2), order(3, 1, 1, 2)
    assert [len(b) for b in first] == [len(b) for b in second]
    assert {*np.concatenate(first + second).tolist()} == set(rows.tolist())


def test_epochs_follow_from_the_work_per_epoch() -> None:
    options = TrainOptions()
    assert options.n_epochs(100, 300_000_000) == 40
    assert options.n_epochs(100_000, 300_000_000) == 4
    assert options.n_epochs(2_000, 300_000_000) > options.n_epochs(2_000, 600_000_000)
    assert TrainOptions(epochs=7).n_epochs(1, 1) == 7
    assert [options.n_frozen(depth) for depth in (0, 1, 5)] == [0, 0, 4]
    assert TrainOptions(frozen_stages=9).n_frozen(5) == 6


@pytest.mark.parametrize(
    "wrong",
    [
        {"dropout": 1.0},
        {"batch_size": 0},
        {"epochs": -1},
        {"balance": 2.0},
        {"learning_rate": 0.0},
        {"patience": -1},
        {"logger": "carrier pigeon"},
        {"learning_rate": math.nan},
        {"teramacs": math.inf},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        TrainOptions(**wrong)  # type: ignore[arg-type]


def test_augment_options_out_of_range_are_refused() -> None:
    with pytest.raises(OptionError, match="hue"):
        AugmentOptions(hue=0.6)
    with pytest.raises(OptionError, match="contrast"):
        AugmentOptions(contrast=1.0)


def test_importing_the_stage_loads_no_torch() -> None:
    code = "import sys, flawmap.stages.train as t; t.TrainOptions(); print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


_SCRIPT = """
import sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[2])
import test_train as t
import dataclasses, hashlib
options = dataclasses.replace(t.QUICK, head_epochs=4, epochs=6)
model = t.run(Path(sys.argv[1]), options, n=120)
digest = hashlib.sha256(b"".join(v.tobytes() for v in t.state_of(model).values())).hexdigest()
print(digest, model.contenders, [(e.phase, e.epoch, e.train_loss, e.validation_loss) for e in model.history])
"""


def _start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, str(folder), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["head", "fine-tuning"])
def test_killed_and_resumed_ends_with_the_bits_of_an_unbroken_run(phase: str, tmp_path: Path) -> None:
    unbroken = _finish(_start(tmp_path / "unbroken"))
    last = tmp_path / "broken" / "work" / "checkpoints" / phase / "last.ckpt"
    process = _start(tmp_path / "broken")
    deadline = time.monotonic() + 120
    while not last.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
    fingerprint = json.loads((tmp_path / "broken" / "work" / "checkpoints" / "of.json").read_text())
    assert "the training options" in fingerprint
    assert _finish(_start(tmp_path / "broken")) == unbroken


@pytest.mark.slow
def test_several_devices_share_the_work(tmp_path: Path) -> None:
    """Two processes of the processor stand in for two GPUs, which were not at hand."""
    script = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_train as t
from flawmap.stages.train import loop
if __name__ == "__main__":
    loop._devices = lambda accelerator: {"devices": 2, "strategy": "ddp_spawn"}
    model = t.run(Path(sys.argv[1]), t.dataclasses.replace(t.QUICK, accelerator="cpu", head_epochs=0))
    print(model.contenders["fine-tuned"], model.history)
"""
    file = tmp_path / "script.py"
    file.write_text(script)
    command = [sys.executable, str(file), str(tmp_path / "run"), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Epoch(phase='fine-tuning'") == QUICK.epochs
