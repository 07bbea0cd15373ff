"""What a training loop draws its batches from: photos decoded once, or features of views computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch

from flawmap.records import Photo, Preprocessing, Progress, no_progress
from flawmap.stages.train.augment import augment, to_network_input
from flawmap.stages.train.options import AugmentOptions
from flawmap.tools.photos import PhotoOptions, read_again
from flawmap.tools.preprocess import fit_image

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Inputs as they are stored, targets (n, ...) float32, and the photos' rows."""
Pair = tuple[torch.Tensor, torch.Tensor]
"""The model's inputs, and the targets that belong to them."""


class Source(Protocol):
    """How stored batches become the model's inputs, wherever the model is; targets move with them."""

    def vary(self, stored: torch.Tensor, targets: torch.Tensor, generator: torch.Generator) -> Pair:
        """For training, freshly augmented."""
        ...

    def plain(self, stored: torch.Tensor, targets: torch.Tensor) -> Pair:
        """For validation."""
        ...


class Rows(Source, Protocol):
    """A source of one input per row of a data set."""

    def fetch(self, rows: torch.Tensor) -> torch.Tensor:
        """What belongs to these rows, as it is stored; on the processor."""
        ...


class Loader(Protocol):
    """What the loop draws its batches from."""

    @property
    def source(self) -> Source: ...

    def shared(self, rank: int, n_devices: int) -> Loader:
        """This device's share."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


class Pixels:
    """(n, h, w, 3) uint8 photos at the network's input size."""

    def __init__(self, pixels: np.ndarray, options: AugmentOptions) -> None:
        self.pixels, self.options = pixels, options

    def fetch(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.pixels[rows.numpy()])

    def vary(self, stored: torch.Tensor, targets: torch.Tensor, generator: torch.Generator) -> Pair:
        return augment(stored, self.options, generator), targets

    def plain(self, stored: torch.Tensor, targets: torch.Tensor) -> Pair:
        return to_network_input(stored), targets


class Views:
    """(n, 1 + n_views, d) float32 pooled features of each photo: first as it is, then of augmented views."""

    def __init__(self, features: torch.Tensor) -> None:
        self.features = features

    def fetch(self, rows: torch.Tensor) -> torch.Tensor:
        return self.features[rows]

    def vary(self, stored: torch.Tensor, targets: torch.Tensor, generator: torch.Generator) -> Pair:
        view = torch.randint(0, stored.shape[1], (len(stored),), generator=generator).to(stored.device)
        return stored[torch.arange(len(stored), device=stored.device), view], targets

    def plain(self, stored: torch.Tensor, targets: torch.Tensor) -> Pair:
        return stored[:, 0], targets


class SharedOut:
    """Batches of which every device draws its share, anew each epoch."""

    batch_sampler = None

    def __init__(self) -> None:
        self.rank, self.n_devices, self.epoch = 0, 1, 0

    @property
    def sampler(self) -> Self:
        """lightning calls `sampler.set_epoch` of whatever it loops over."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Which epoch is drawn next."""
        self.epoch = epoch

    def shared(self, rank: int, n_devices: int) -> Self:
        """This device's share."""
        self.rank, self.n_devices = rank, n_devices
        return self


class Batches(SharedOut):
    """Batches of one part: shuffled anew each epoch by (seed, epoch), or in order; shared out among devices.

    Every device gets equally many photos (the last ones may come twice, as many as are needed to fill up),
    and no batch of a single photo comes last, because it would weigh as much as a full one.
    """

    def __init__(
        self, source: Rows, rows: np.ndarray, targets: np.ndarray, batch_size: int, seed: int | None
    ) -> None:
        super().__init__()
        self.source: Rows = source
        self.batch_size, self.seed = batch_size, seed
        self.rows = torch.from_numpy(np.asarray(rows, np.int64))
        self.targets = torch.from_numpy(np.asarray(targets, np.float32))

    def __len__(self) -> int:
        n = -(-len(self.rows) // self.n_devices)
        return max(1, -(-n // self.batch_size))

    def __iter__(self) -> Iterator[Batch]:
        order = torch.arange(len(self.rows))
        if self.seed is not None:
            order = torch.randperm(len(self.rows), generator=generator_for(self.seed, self.epoch))
        n = -(-len(order) // self.n_devices)
        order = order.repeat(2)[: n * self.n_devices][self.rank :: self.n_devices]
        for places in order.tensor_split(len(self)):
            rows = self.rows[places]
            yield self.source.fetch(rows), self.targets[rows], rows


def generator_for(*numbers: int) -> torch.Generator:
    """A CPU generator whose stream depends on all the numbers (such as seed, step and device)."""
    words = np.random.SeedSequence([n & 0xFFFFFFFF for n in numbers]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))


def read_pixels(
    photos: Sequence[Photo],
    preprocessing: Preprocessing,
    unfinished: Path | None,
    options: PhotoOptions,
    progress: Progress = no_progress,
) -> np.ndarray:
    """Decode and fit every photo once: (n, h, w, 3) uint8, in memory, or mapped from the file `unfinished`.

    Raises PhotoError for a photo that can no longer be read.
    """
    shape = (len(photos), *preprocessing.input_hw, 3)
    if unfinished is None:
        pixels: Any = np.empty(shape, np.uint8)
    else:
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.lib.format.open_memmap(unfinished, "w+", np.uint8, shape)
    for row, image in enumerate(read_again(photos, options)):
        pixels[row] = fit_image(image, preprocessing)
        progress("reading photos for training", row + 1, len(photos))
    return pixels
