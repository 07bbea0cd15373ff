"""Seconds for one large photo: the dense pass against crops.

    python benchmarks/inspect_speed.py MODEL [--photo FILE]

One run, same photo of 4000 × 3000 pixels, same threads, pixels in memory. MODEL is a classifier's run or
model folder, also one that `flawmap export` made; torch computes in float32. The ways:

- torch, crops: windows of a training tile's size that overlap by half, each resized as in training, one a
  batch, inference mode, in the default memory layout and in channels-last; the backbone of the model with
  weights as they come, which take the same time as trained ones.
- same file, if it is ONNX, crops in batches of 16, as SAHI slices, overlapping by half.
- flawmap: what `inspect_photo` runs, with windows at every cell (step printed).

Crops are timed on a part of the photo (--share) and scaled up, since every crop takes the same time. Rounds
alternate, medians are compared. The processors' seconds are printed beside those of the clock: where other
work runs on the machine, the clock's say little, and the processors' still compare the ways.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    """Print seconds a photo of each way, and how many times longer than flawmap each takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--photo", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.05, help="of the crops that are timed")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(asked.threads)

    from flawmap.tools.bundle import read_bundle
    from flawmap.tools.classifier_maps import DenseClassifier
    from flawmap.tools.preprocess import fit_image, to_batch
    from flawmap.tools.runtime import RuntimeOptions
    from flawmap.tools.tiles import lay_tiles

    bundle = read_bundle(asked.model)
    spec = bundle.spec
    image = read_photo(asked.photo)
    tile = max(spec.tile_hw)
    boxes = lay_tiles(image.shape[:2], tile, tile // 2)
    some = boxes[:: max(1, round(1 / asked.share))]
    crops = [image[top:bottom, left:right] for top, left, bottom, right in some]

    def prepare(start: int, n: int) -> Any:
        return to_batch([fit_image(crop, spec.preprocessing) for crop in crops[start : start + n]])

    dense = DenseClassifier(bundle, RuntimeOptions(n_threads=asked.threads))
    ways: dict[str, tuple[Callable[[], object], float]] = {"flawmap": (lambda: dense.score_image(image), 1.0)}
    scale = len(boxes) / len(some)
    for name, run in torch_ways(spec, asked.threads).items():
        ways[name] = (lambda run=run: [run(prepare(i, 1)) for i in range(len(crops))], scale)
    if spec.form.kind == "onnx":
        sliced = open_sliced(bundle.model_path, asked.threads)
        ways["same file, crops in batches"] = (
            lambda: [sliced(prepare(i, 16)) for i in range(0, len(crops), 16)],
            scale,
        )
    dense.score_image(image)  # OpenVINO makes its code for each size of piece when it first sees it
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(asked.rounds):
        for name, (work, factor) in ways.items():
            start, start_of_all = time.perf_counter(), time.process_time()
            work()
            elapsed = (time.perf_counter() - start, time.process_time() - start_of_all)
            seconds[name].append((elapsed[0] * factor, elapsed[1] * factor))
    size = f"{image.shape[1]}×{image.shape[0]}"
    step_px = dense.score_image(image[:tile, :tile]).cell_px
    print(f"load {os.getloadavg()[0]:.1f}")
    print(f"{size}: {len(boxes):,} crops of {tile} px by half; flawmap's windows step {step_px:.1f} px")
    fastest = middles(seconds["flawmap"])
    print(f"{'':30} {'clock':>17} {'processors':>19}")
    for name, found in seconds.items():
        clock, processors = middles(found)
        print(
            f"{name:30} {clock:8.2f} s {clock / fastest[0]:5.1f} × {processors:9.2f} s "
            f"{processors / fastest[1]:5.1f} ×"
        )


def middles(seconds: list[tuple[float, float]]) -> tuple[float, float]:
    """Medians of the clock's and of the processors' seconds."""
    clock, processors = (statistics.median(found) for found in zip(*seconds, strict=True))
    return clock, processors


def read_photo(path: Path | None) -> Any:
    """The photo enlarged or reduced to 4000 × 3000; without one, noise, which takes the same time."""
    import numpy as np
    from PIL import Image

    if path is None:
        return np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), dtype=np.uint8)
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB").resize((4000, 3000)))


def torch_ways(spec: Any, n_threads: int) -> dict[str, Callable[[Any], object]]:
    """The model's backbone in torch, in both memory layouts."""
    import torch

    from flawmap.tools.backbones import ClassifierNetwork
    from flawmap.tools.zoo import bundled_entries

    torch.set_num_threads(n_threads)
    entry = next(e for e in bundled_entries() if e.id == spec.backbone_id)
    ways: dict[str, Callable[[Any], object]] = {}
    for name, layout in (("eager", torch.contiguous_format), ("channels-last", torch.channels_last)):
        network: Any = ClassifierNetwork(entry, spec.cut, len(spec.labels)).eval().to(memory_format=layout)

        def run(batch: Any, network: Any = network, layout: Any = layout) -> object:
            with torch.inference_mode():
                return network(torch.from_numpy(batch).contiguous(memory_format=layout))

        ways[f"torch {name}, crops"] = run
    return ways


def open_sliced(file: Path, n_threads: int) -> Callable[[Any], object]:
    """The model file as slicing tools run it: one session on all threads."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = n_threads
    session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(["logits"], {"image": batch})


if __name__ == "__main__":
    main()
