"""How fast photos are embedded, against plain timm loops: python benchmarks/embedding_speed.py FOLDER

One run, same backbone, same threads, float32, decoding and resizing included. The loops are what one writes
without thinking about speed (batches, torch.no_grad, PIL in the loop, pooled last map) and the same with
channels-last memory. flawmap computes every cut, averages, maxima and quadrants, and writes its store; the
graph is exported beforehand, once per backbone, and that time is printed apart. The rounds alternate, so that
other work on the machine meets all three; the medians are compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

_LOOP_BATCH = 32


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="any folder of photos")
    parser.add_argument("--backbone", default="efficientnet_lite0", help="id of a bundled backbone")
    parser.add_argument("--photos", type=int, default=384)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runtime", default="auto")
    return parser.parse_args()


def main() -> None:
    arguments = _parse()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    from flawmap.stages.embed import EmbedOptions, embed
    from flawmap.tools.photos import find_photos, read_photos
    from flawmap.tools.zoo import bundled_entries

    entry = next(e for e in bundled_entries() if e.id == arguments.backbone)
    files = find_photos(arguments.folder).files
    step = max(1, len(files) // arguments.photos)
    photos, _ = read_photos(files[::step][: arguments.photos])
    loops = {"timm eager loop": _plain_loop(entry, arguments.threads, channels_last=False)}
    loops["timm channels-last loop"] = _plain_loop(entry, arguments.threads, channels_last=True)
    rates: dict[str, list[float]] = {name: [] for name in (*loops, "flawmap")}
    with tempfile.TemporaryDirectory() as folder:
        options = EmbedOptions(cache=Path(folder), runtime=arguments.runtime, n_threads=arguments.threads)
        start = time.perf_counter()
        found = embed(photos[:16], entry, options)
        print(f"{entry.id}, {len(photos)} photos, {arguments.threads} threads, runtime {found.runtime}")
        first_s = time.perf_counter() - start
        print(f"first use of the backbone (export, agreement, choice of runtime): {first_s:.1f} s")
        for n_round in range(arguments.rounds):
            for name, loop in loops.items():
                rates[name].append(_rate(lambda loop=loop: loop([p.path for p in photos]), len(photos)))
            # Another note makes another row, so every round computes all photos anew.
            again = [replace(photo, note=f"round {n_round}") for photo in photos]
            rates["flawmap"].append(_rate(lambda again=again: embed(again, entry, options), len(photos)))
        start = time.perf_counter()
        assert embed(again, entry, options).n_computed == 0
        read_s = time.perf_counter() - start
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, median in medians.items():
        each = ", ".join(f"{value:.1f}" for value in rates[name])
        print(f"{name:26s}{median:8.1f} photos/s  ({each})  flawmap is {medians['flawmap'] / median:.2f}x")
    print(f"reading all cuts of {len(photos)} photos back: {read_s:.2f} s")


def _rate(work, n_photos: int) -> float:
    start = time.perf_counter()
    work()
    return n_photos / (time.perf_counter() - start)


def _plain_loop(entry, n_threads: int, *, channels_last: bool):
    """What one would write: timm's network and weights as they come, photos opened one after the other."""
    import numpy as np
    import torch
    from PIL import Image

    from flawmap.tools.backbones import load_weights

    torch.set_num_threads(n_threads)
    network = load_weights(entry).eval()
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    height, width = entry.preprocessing.input_hw
    mean, std = (
        torch.tensor(v).view(1, 3, 1, 1) for v in (entry.preprocessing.mean, entry.preprocessing.std)
    )

    def loop(paths: list[Path]) -> None:
        with torch.no_grad():
            for start in range(0, len(paths), _LOOP_BATCH):
                images = []
                for path in paths[start : start + _LOOP_BATCH]:
                    with Image.open(path) as opened:
                        resized = opened.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
                    images.append(torch.from_numpy(np.array(resized)).permute(2, 0, 1))
                batch = (torch.stack(images).float() / 255 - mean) / std
                if channels_last:
                    batch = batch.contiguous(memory_format=torch.channels_last)
                network.forward_features(batch).mean((2, 3))

    return loop


if __name__ == "__main__":
    main()
