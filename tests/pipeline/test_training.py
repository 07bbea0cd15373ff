"""The main job from folder to report, on a drawn sample; then everything one does with a model."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import flawmap
from commands import run_here
from flawmap.errors import DatasetError, OptionError
from flawmap.stages.audit import AuditOptions
from flawmap.stages.embed import EmbedOptions
from flawmap.stages.rank import RankOptions
from flawmap.stages.sample import SampleOptions, draw_sample
from flawmap.stages.train.options import TrainOptions

pytest.importorskip("torch")
SIDE = 128


def quick_options(cache: Path, weights: tuple[str, ...] = ()) -> flawmap.RunOptions:
    return flawmap.RunOptions(
        backbones="efficientnet_lite0",
        weights=weights,
        embed=EmbedOptions(cache=cache, runtime="torch"),  # how others are chosen is the embedding's to test
        rank=RankOptions(max_depth=2),
        train=TrainOptions(head_epochs=2, head_views=1, epochs=1, refit_share=1.0),
    )


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    draw_sample(folder, SampleOptions(n_photos=10, tiles_per_photo=4, tile_px=SIDE, seed=3, overwrite=True))
    (folder / "photos" / "Negative" / "broken.jpg").write_bytes(b"no photo at all")
    return folder / "photos"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(sample: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory):
    """With weights of the user's own beside the bundled ones, which fit no network."""
    out = tmp_path_factory.mktemp("runs") / "first"
    (cache / "mine.pth").write_bytes(b"no weights")
    options = quick_options(cache, (f"test_resnet@{cache / 'mine.pth'}",))
    return flawmap.train(sample, out, options, command="flawmap train photos --out first")


def test_a_run_leaves_all_its_files(trained) -> None:
    names = {path.name for path in trained.run.iterdir()}
    assert {"model", "report.html", "metrics.json", "ranking.csv", "splits.csv", "ranking.svg"} <= names
    assert "work" not in names
    assert list((trained.run / "logs").rglob("events.out.tfevents.*"))
    assert {path.name for path in (trained.run / "model").iterdir()} == {
        "model.onnx",
        "flawmap.json",
        "weights.safetensors",
        "reference.safetensors",
        "held_back.safetensors",
        "README.md",
    }
    assert trained.bundle.reference is not None and trained.bundle.spec.findings.most_distance > 0
    assert "reference.safetensors" in (trained.run / "model" / "README.md").read_text(encoding="utf-8")
    assert [item.path for item in trained.left_out] == ["Negative/broken.jpg"]


def test_weights_that_could_not_be_had_are_told(trained) -> None:
    (told,) = [line for line in trained.lines if line.startswith("skipped test_resnet@mine: ")]
    assert "Wanted a state dict" in told and told.count("test_resnet@mine") == 1


def test_what_is_said_of_held_back_photos_travels_with_the_model(trained) -> None:
    kept, counts = trained.bundle.held_back, trained.bundle.spec.held_back
    assert counts.n_flawed + counts.n_good == trained.metrics["test"]["n"]
    assert len(kept.flawed_scores) == counts.n_flawed and len(kept.good_features) == counts.n_good
    assert np.median(kept.flawed_scores) > np.median(kept.good_scores)
    assert 1 <= counts.n_good_sources <= counts.n_good


def test_metrics_hold_what_was_promised(trained) -> None:
    stored = json.loads((trained.run / "metrics.json").read_text(encoding="utf-8"))
    for part in ("test", "validation", "before_training"):
        for key in ("n", "accuracy", "precision", "recall", "specificity", "f1", "macro_f1", "loss", "auroc"):
            assert stored[part][key] is not None, (part, key)
        assert 0 <= stored[part]["f1"] <= 1 and "trivial" in stored[part] and "interval95" in stored[part]
    assert stored["test"]["n_seen_in_training"] == stored["test"]["n_source_seen_in_training"] == 0
    assert set(stored["training"]["contenders"]) == {"untrained", "probe", "head", "fine-tuned"}
    best = max(figures["f1"] for figures in stored["training"]["contenders"].values())
    assert stored["training"]["contenders"][stored["training"]["winner"]]["f1"] == best


def test_what_ships_has_learnt_the_validation_photos_after_they_decided_all(trained, sample: Path) -> None:
    stored, spec = trained.metrics, trained.bundle.spec
    assert stored["training"]["refit"] in ("for 1 epoch at half the rates", "for 2 epochs at half the rates")
    told = (trained.run / "report.html").read_text("utf-8")
    assert f"these photos were learnt too, {stored['training']['refit']}" in told
    with (trained.run / "splits.csv").open(newline="", encoding="utf-8") as file:
        own = [row["path"] for row in csv.DictReader(file) if row["split"] == "validation"]
    scores = [one.flaw_score for one in flawmap.predict(trained.run, [sample / path for path in own]).rows]
    is_flawed = np.array([path.startswith("Positive") for path in own])
    probabilities = np.where(is_flawed, scores, 1 - np.array(scores))
    assert -np.log(probabilities).mean() < stored["validation"]["loss"]
    assert stored["model"]["thresholds"]["threshold"] == spec.thresholds.threshold


def test_no_source_stands_on_two_sides(trained) -> None:
    with (trained.run / "splits.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["split"] for row in rows} == {"train", "validation", "test"}
    parts_of: dict[str, set[str]] = {}
    for row in rows:
        parts_of.setdefault(row["group"], set()).add(row["split"])
    assert all(len(parts) == 1 for parts in parts_of.values())


def test_the_shipped_file_gives_the_stored_figures(trained, sample: Path, tmp_path: Path) -> None:
    with (trained.run / "splits.csv").open(newline="", encoding="utf-8") as file:
        test_rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    manifest = sample / "held_back.csv"
    manifest.write_text(
        "path,label\n" + "".join(f"{r['path']},{r['label']}\n" for r in test_rows),
        encoding="utf-8",
    )
    try:
        evaluated = flawmap.evaluate(
            trained.run, manifest, json_file=tmp_path / "figures.json", table=tmp_path / "photos.csv"
        )
    finally:
        manifest.unlink()
    found = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    stored = trained.metrics["test"]
    assert found["n_seen_in_training"] == 0
    for key in ("n", "f1", "accuracy", "auroc", "loss"):
        assert found[key] == pytest.approx(stored[key], abs=1e-9)
    assert found["interval95"] == stored["interval95"] and found["n_groups"] == stored["n_groups"]
    assert evaluated.lines
    with (tmp_path / "photos.csv").open(newline="", encoding="utf-8") as file:
        outcomes = list(csv.DictReader(file))
    assert [(row["path"], row["label"]) for row in outcomes] == [(r["path"], r["label"]) for r in test_rows]
    assert {row["group"] for row in outcomes} == {row["group"] for row in test_rows}
    is_right = [row["is_right"] == "true" for row in outcomes]
    assert is_right == [row["label"] == row["predicted"] for row in outcomes]
    assert np.mean(is_right) == pytest.approx(stored["accuracy"])


def test_a_table_of_photos_that_cannot_be_written_is_refused_before_any_work(
    trained, sample: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=r"Name it \.csv"):
        flawmap.evaluate(trained.run, sample, table=tmp_path / "photos.txt")
    (tmp_path / "mine.csv").write_text("path,label\na.png,good\n", encoding="utf-8")
    with pytest.raises(OptionError, match="not what this command writes"):
        flawmap.evaluate(trained.run, sample, table=tmp_path / "mine.csv")


def test_seen_photos_are_counted(trained, sample: Path) -> None:
    evaluated = flawmap.evaluate(trained.run / "model", sample)
    n_development = sum(trained.metrics["split"][part]["n"] for part in ("train", "validation"))
    assert evaluated.evaluation.metrics["n_seen_in_training"] == n_development


def test_predict_and_explain(trained, sample: Path, tmp_path: Path) -> None:
    outcome = flawmap.predict(trained.run, [sample], out=tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == trained.metrics["dataset"]["n_photos"] + 1
    assert [row["path"] for row in rows if row["error"]] == [f"{sample}/Negative/broken.jpg"]
    assert len(outcome.left_out) == 1
    photo = next((sample / "Positive").iterdir())
    flawmap.explain(trained.run, photo, tmp_path / "heat.png")
    assert flawmap.read_image(tmp_path / "heat.png").shape[1] > SIDE
    answer = flawmap.load(trained.run).predict([flawmap.read_image(photo)])
    row = next(r for r in rows if r["path"] == str(photo))
    assert answer.texts[0] == row["label"]
    assert answer.flaw_scores[0] == pytest.approx(float(row["flaw_score"]), abs=1e-6)


def test_a_finished_run_is_kept(trained, sample: Path, cache: Path) -> None:
    before = (trained.run / "metrics.json").read_bytes()
    with pytest.raises(OptionError, match="--overwrite"):
        flawmap.train(sample, trained.run, quick_options(cache))
    with pytest.raises(OptionError, match="finished"):
        flawmap.train(sample, trained.run, quick_options(cache), resume=True)
    assert (trained.run / "metrics.json").read_bytes() == before


def test_a_resumed_run_that_asks_for_something_else_is_told_what(tmp_path: Path) -> None:
    from flawmap.pipeline.runfolder import check_run, start_run

    asked = {"dataset": "a", "options": {"seed": 1, "train": {"epochs": 2}}}
    start_run(check_run(tmp_path, asked, overwrite=False, resume=False), asked, resume=False)
    with pytest.raises(OptionError, match=r"differently: train\.epochs \(2, now 0\); ask"):
        other = {"dataset": "a", "options": {"seed": 1, "train": {"epochs": 0}}}
        check_run(tmp_path, other, overwrite=False, resume=True)
    with pytest.raises(OptionError, match="differently: another dataset; ask"):
        check_run(tmp_path, asked | {"dataset": "b"}, overwrite=False, resume=True)


def test_going_on_and_beginning_anew_are_not_asked_for_at_once(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="give one of them"):
        flawmap.train(tmp_path / "photos", tmp_path / "run", overwrite=True, resume=True)
    assert not (tmp_path / "run").exists()


def test_foreign_files_are_never_touched(sample: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OptionError, match="not a flawmap run"):
        flawmap.train(sample, tmp_path, quick_options(cache), overwrite=True)
    assert (tmp_path / "letter.txt").read_text(encoding="utf-8") == "mine"


def test_a_refused_run_leaves_nothing(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(flawmap.FlawmapError):
        flawmap.train(tmp_path / "photos", tmp_path / "run", quick_options(cache))
    assert not (tmp_path / "run").exists()


def test_a_sample_is_drawn_by_name(tmp_path: Path) -> None:
    told = flawmap.draw_sample(tmp_path, n_photos=1, seed=4)
    assert told[0].startswith("8 tiles of 1 photo ") and told[0].endswith(f"{tmp_path / 'photos'}")
    assert len(list((tmp_path / "photos").rglob("*.jpg"))) == 8


def test_similar_finds_the_photo_itself_first(sample: Path, cache: Path) -> None:
    photo = sorted((sample / "Positive").iterdir())[0]
    outcome = flawmap.similar(photo, sample, quick_options(cache), count=3)
    assert outcome.lines[1].endswith(f"Positive/{photo.name}")
    assert len(outcome.lines) == 4
    plain = flawmap.similar(photo, photo.parent, quick_options(cache), count=3)
    assert plain.names[0] == photo.name and plain.lines[0] == "likeness  photo"
    assert plain.lines[1] == f"{plain.likenesses[0]:8.4f}  {photo.name}"


def test_similar_asks_for_photos_not_for_labels(tmp_path: Path, sample: Path) -> None:
    photo = next((sample / "Positive").iterdir())
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DatasetError, match="photo"):
        flawmap.similar(photo, tmp_path)
    (tmp_path / "a.jpg").write_text("notes")
    with pytest.raises(DatasetError, match=r"none of 1 photo could be read.*: a.jpg: not a photo: text"):
        flawmap.similar(photo, tmp_path)


@pytest.mark.slow
def test_a_second_rank_embeds_nothing(trained, sample: Path, cache: Path) -> None:
    code = (
        "import sys, flawmap\nfrom pathlib import Path\n"
        "from flawmap.stages.embed import EmbedOptions\nfrom flawmap.stages.rank import RankOptions\n"
        "options = flawmap.RunOptions(max_parameters_millions=3.4, licences=('Apache-2.0',),\n"
        "    embed=EmbedOptions(cache=Path(sys.argv[2])), rank=RankOptions(max_depth=2))\n"
        "flawmap.rank(Path(sys.argv[1]), options)\n"
        "print(sorted({'torch', 'timm', 'sklearn'} & set(sys.modules)))"
    )
    words = [sys.executable, "-c", code, str(sample), str(cache)]
    subprocess.run(words, check=True, capture_output=True, text=True, timeout=300)
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]"


def test_a_stored_audit_is_the_audit(sample: Path, cache: Path) -> None:
    options = quick_options(cache)
    first = flawmap.audit(sample, options)
    stored = sorted((cache / "audits").iterdir())
    again = flawmap.audit(sample, options)
    assert again.audit == first.audit and again.lines == first.lines
    assert sorted((cache / "audits").iterdir()) == stored
    flawmap.audit(sample, replace(options, dataset=replace(options.dataset, good=("Positive",))))
    assert len(list((cache / "audits").iterdir())) == len(stored) + 1


def test_training_photos_that_a_given_part_repeats_are_listed(cache: Path, tmp_path: Path) -> None:
    rows = ["path,label,split"]
    for i in range(12):
        pixels = np.random.default_rng(i % 11).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png,{'good' if i % 11 % 2 else 'crack'},{('train', 'val', 'test')[i % 3]}")
    (tmp_path / "list.csv").write_text("\n".join(rows), encoding="utf-8")
    audited = flawmap.audit(tmp_path / "list.csv", quick_options(cache))
    assert [(one.path, one.reason) for one in audited.left_out] == [
        ("0.png", "left out of training: the same photo as 11.png, of the test part")
    ]
    assert any("1 left out of training" in line for line in audited.lines)
    assert any("width × height: 64 × 64 (12 photos)" in line for line in audited.lines)
    ended = run_here("audit", tmp_path / "list.csv", "--cache", cache, "-q")
    assert ended.returncode == 1 and "  0.png: left out of training" in ended.stderr


def test_an_audit_is_told_where_no_honest_split_can_be_made(cache: Path, tmp_path: Path) -> None:
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        place = tmp_path / "few" / ("crack" if i == 0 else "good") / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place)
    (tmp_path / "few" / "good" / "broken.png").write_bytes(b"no photo")
    audited = flawmap.audit(tmp_path / "few", quick_options(cache))
    assert audited.split is None and len(audited.left_out) == 1
    assert any("no split: the photos labelled 'crack' come from 1 source" in line for line in audited.lines)
    with pytest.raises(DatasetError, match="honest split"):
        flawmap.audit(tmp_path / "few", quick_options(cache), splits_file=tmp_path / "splits.csv")
    assert not (tmp_path / "splits.csv").exists()


@pytest.mark.slow
def test_same_seed_same_bits(trained, sample: Path, cache: Path, tmp_path: Path) -> None:
    again = flawmap.train(sample, tmp_path / "again", quick_options(cache))
    for name in ("model.onnx", "weights.safetensors"):
        assert (again.run / "model" / name).read_bytes() == (trained.run / "model" / name).read_bytes()
    assert (again.run / "splits.csv").read_bytes() == (trained.run / "splits.csv").read_bytes()
    for part in ("test", "validation", "before_training"):
        assert again.metrics[part] == trained.metrics[part]


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_model(trained, sample: Path, cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    code = (
        "import sys, flawmap\nfrom pathlib import Path\n"
        "sys.path.insert(0, sys.argv[3])\nfrom test_training import quick_options\n"
        "flawmap.train(sys.argv[1], sys.argv[4], quick_options(Path(sys.argv[2])))"
    )
    words = [sys.executable, "-c", code, str(sample), str(cache), str(Path(__file__).parent), str(out)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while (
        not list(out.glob("work/checkpoints/*/*")) and time.monotonic() < deadline and process.poll() is None
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "metrics.json").exists()
    resumed = flawmap.train(sample, out, quick_options(cache), resume=True)
    assert (resumed.run / "model" / "model.onnx").read_bytes() == (
        trained.run / "model" / "model.onnx"
    ).read_bytes()


@pytest.mark.slow
def test_several_classes_without_a_good_one(cache: Path, tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for k, label in enumerate(("lines", "dots", "waves")):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for _ in range(15):
            image = rng.normal(128, 12, (96, 96, 3))
            y, x = np.mgrid[:96, :96]
            pattern = (x // 8 % 2, ((x % 16 < 5) & (y % 16 < 5)) * 1.0, np.sin(y / 6))[k]
            image += 50 * pattern[..., None] + rng.normal(0, 15)
            pixels = image.clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{rng.integers(1 << 40):x}.png")
    each_alone = AuditOptions(group_by=r"(\w+)\.png")  # by content, one pattern is one surface
    options = replace(quick_options(cache), rank=RankOptions(max_depth=1), audit=each_alone)
    trained = flawmap.train(tmp_path / "photos", tmp_path / "run", options)
    assert trained.metrics["test"]["f1"] is None
    assert trained.metrics["test"]["macro_f1"] > 0.9
    assert trained.bundle.spec.good_labels == ()
