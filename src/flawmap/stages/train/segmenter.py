"""A segmenter by transfer: a new decoder on a pretrained backbone, both learning, the best state kept.

The test part is never read here.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flawmap.errors import DatasetError, OptionError
from flawmap.records import Dataset, Progress, Split, TrainedSegmenter, no_progress
from flawmap.stages.train.options import MaskTrainOptions
from flawmap.stages.train.resuming import claim, fingerprint
from flawmap.tools.photos import PhotoOptions
from flawmap.tools.zoo import BackboneEntry

if TYPE_CHECKING:
    from flawmap.stages.train.crops import CropBatches, PieceBatches
    from flawmap.stages.train.loop import Phase
    from flawmap.tools.backbones import SegmenterNetwork


def train_segmenter(
    dataset: Dataset,
    split: Split,
    entry: BackboneEntry,
    options: MaskTrainOptions,
    out: Path,
    progress: Progress = no_progress,
) -> TrainedSegmenter:
    """Train on crops of `split.train`, judge whole photos of `split.validation`, keep the best state.

    Checkpoints and TensorBoard's events go under `out`; where an earlier call with the same photos and
    options was interrupted there, this one goes on and ends with the same bits.

    Raises DatasetError where a part holds no flaw, OptionError where `out` holds the checkpoints of another
    training, PhotoError for a photo that can no longer be read, BackboneError for a backbone that the decoder
    cannot stand on.
    """
    from flawmap.stages.train.loop import Learner, divergence, reproducible, run_phase
    from flawmap.stages.train.mask_objective import MaskObjective
    from flawmap.tools.backbones import SegmenterNetwork, default_depth

    if options.epochs == 0:
        raise OptionError("a decoder is new and has to learn: 0 epochs give no masks; give 1 or more")
    _refuse_no_flaws(dataset, split)
    depth = default_depth(entry) if options.depth is None else options.depth
    network = SegmenterNetwork(
        entry, depth, options.decoder, len(dataset.labels), is_exclusive=dataset.has_exclusive_masks
    )
    network.start_from(_pixel_shares(dataset, split.train))
    network.freeze(options.frozen_stages)
    claim(out, {**fingerprint(dataset, split, options), "the backbone": f"{entry.key}|{depth}"})
    with reproducible(options.seed):
        train, validation = _make_batches(dataset, split, split.train, options, progress)
        macs_per_px = _count_macs(network)
        crop_hw = train.crop_hw
        n_epochs = options.n_epochs(train.n_crops, int(macs_per_px * crop_hw[0] * crop_hw[1]))
        phase = _phase("masks", n_epochs, options, train.seed)
        learner = Learner(network, train, validation, MaskObjective(options.loss), phase)
        score, history = run_phase(learner, out, progress)
    return TrainedSegmenter(
        network=network.eval().requires_grad_(False),
        backbone_id=entry.id,
        depth=depth,
        decoder=options.decoder,
        history=history,
        validation_f1=score.f1,
        crop_hw=crop_hw,
        macs_per_px=macs_per_px,
        n_parameters=sum(p.numel() for p in network.parameters()),
        note=f"{train.n_crops} crops of {crop_hw[1]} × {crop_hw[0]} pixels an epoch, in {phase.precision}"
        + divergence(history),
    )


def refit_segmenter(
    model: TrainedSegmenter,
    dataset: Dataset,
    split: Split,
    options: MaskTrainOptions,
    out: Path,
    progress: Progress = no_progress,
) -> TrainedSegmenter:
    """A trained segmenter that goes on learning, with its validation photos too.

    Everything that validation decides has to be decided before, with `model`: the returned one has seen those
    photos. It starts from the kept state, at half the rates, for `refit_share` of the epochs, and is returned
    only where it then fits the validation photos, now its own, better than before; `model` is left as it is.
    Resumes like train_segmenter(); raises what it raises.
    """
    from flawmap.stages.train.loop import Learner, refitted, reproducible, run_phase
    from flawmap.stages.train.mask_objective import MaskObjective

    n_epochs = round(options.refit_share * len(model.history))
    if n_epochs == 0:
        return model
    network = copy.deepcopy(model.network).requires_grad_(True)
    network.freeze(options.frozen_stages)
    claim(out, {**fingerprint(dataset, split, options), "the backbone": f"{model.backbone_id}|{model.depth}"})
    with reproducible(options.seed):
        train, validation = _make_batches(dataset, split, split.development, options, progress)
        phase = _phase("all photos", n_epochs, options, train.seed, rate=0.5)
        learner = Learner(network, train, validation, MaskObjective(options.loss), phase)
        score, _ = run_phase(learner, out, progress)
    is_gain = score.f1 > model.validation_f1
    return refitted(model, network.eval().requires_grad_(False) if is_gain else None, n_epochs)


def _phase(name: str, n_epochs: int, options: MaskTrainOptions, seed: int, rate: float = 1.0) -> Phase:
    from flawmap.stages.train.loop import Phase
    from flawmap.stages.train.precision import choose_arithmetic

    rates = (("backbone.", rate * options.backbone_learning_rate), ("", rate * options.learning_rate))
    return Phase(
        name=name,
        n_epochs=n_epochs,
        patience=options.patience,
        seed=seed,
        weight_decay=options.weight_decay,
        learning_rates=rates,
        accelerator=options.accelerator,
        logger=options.logger,
        trained_norms=("decoder.", "head."),
        precision=choose_arithmetic(options.precision, options.accelerator),
    )


def _refuse_no_flaws(dataset: Dataset, split: Split) -> None:
    for name, rows in (("training", split.train), ("validation", split.validation)):
        if not dataset.targets[rows].any():
            raise DatasetError(
                f"no {name} photo carries a flaw pixel, so no mask can be learnt or judged; add photos with "
                "masks, or give the parts yourself (train/, val/, test/)"
            )


def _make_batches(
    dataset: Dataset, split: Split, learnt: np.ndarray, options: MaskTrainOptions, progress: Progress
) -> tuple[CropBatches, PieceBatches]:
    """Crops of the photos to learn from, and the validation photos."""
    from flawmap.stages.train.crops import CropBatches, PieceBatches, loop_seed, read_marked

    rows = split.development
    photos, masks = [dataset.photos[row] for row in rows], [dataset.masks[row] for row in rows]
    largest = max(photo.size_hw[0] * photo.size_hw[1] for photo in photos)
    decoding = PhotoOptions(max_megapixels=largest / 1e6 + 1)
    marked = read_marked(photos, masks, options.memory_gb, decoding, progress)
    train_rows, validation_rows = (np.searchsorted(rows, part) for part in (learnt, split.validation))
    crops = CropBatches(marked, train_rows, options, loop_seed(options.seed))
    return crops, PieceBatches(marked, validation_rows)


def _pixel_shares(dataset: Dataset, rows: np.ndarray) -> list[float]:
    """Of each label in all pixels of these photos."""
    masks = [dataset.masks[row] for row in rows]
    n_pixels = sum(math.prod(mask.size_hw) for mask in masks)
    return [
        sum(int(mask.runs[i][:, 1].sum()) for mask in masks if len(mask.runs[i])) / n_pixels
        for i in range(len(dataset.labels))
    ]


def _count_macs(network: SegmenterNetwork) -> float:
    """Multiply-accumulates per pixel of one forward pass."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    shadow, side = copy.deepcopy(network).to("meta"), 256
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        shadow(torch.zeros(1, 3, side, side, device="meta"))
    return counter.get_total_flops() / 2 / side**2
