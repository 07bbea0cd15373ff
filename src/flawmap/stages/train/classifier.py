"""A classifier by transfer: four contenders, judged on the validation part; the best one is kept.

1. "untrained": the pretrained backbone with a head of small random weights, so that the gain shows.
2. "probe": the linear probe of the ranking, as it is.
3. "head": a head with dropout on the frozen backbone, on augmented views, starting from the probe.
4. "fine-tuned": the better of 2 and 3, then the later stages at a low rate, the early ones frozen.

The test part is never read here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from flawmap.records import (
    PHASE_OF_CONTENDER,
    Cut,
    Dataset,
    LinearHead,
    Progress,
    Split,
    TrainedModel,
    no_progress,
)
from flawmap.stages.train.options import TrainOptions
from flawmap.stages.train.resuming import claim, fingerprint, short_digest
from flawmap.tools.zoo import BackboneEntry


def train_classifier(  # noqa: PLR0913 - what the ranking chose comes in three parts
    dataset: Dataset,
    split: Split,
    entry: BackboneEntry,
    cut: Cut,
    probe: LinearHead,
    options: TrainOptions,
    out: Path,
    progress: Progress = no_progress,
    features: np.ndarray | None = None,
) -> TrainedModel:
    """Train on `split.train`, judge on `split.validation`, and return the best contender.

    `probe` must have been fitted on training photos only, with any standardisation folded in. `features`
    (n_photos, d) float32 are what the pretrained backbone gives at the cut, if they are known. Checkpoints,
    TensorBoard's events and (for large sets) the decoded photos go under `out`; where an earlier call with
    the same photos and options was interrupted there, this one goes on and ends with the same bits.

    Raises OptionError where `out` holds the checkpoints of another training, PhotoError for a photo that can
    no longer be read, MissingExtraError for a logger that is not installed.
    """
    from flawmap.stages.train.contest import DECODED, Contest
    from flawmap.stages.train.loop import reproducible

    depends_on = {
        **fingerprint(dataset, split, options),
        "the backbone": f"{entry.key}|{cut.key}",
        "the probe": short_digest([probe.weight.tobytes(), probe.bias.tobytes()]),
    }
    claim(out, depends_on)
    with reproducible(options.seed):
        contest = Contest(dataset, split, entry, cut, options, out, progress, features=features)
        contest.enter("untrained", contest.untrained_head)
        contest.enter("probe", probe)
        contest.train_head()
        contest.fine_tune()
        (out / "checkpoints" / DECODED).unlink(missing_ok=True)
        return contest.to_trained_model()


def refit_classifier(  # noqa: PLR0913 - as train_classifier()
    model: TrainedModel,
    dataset: Dataset,
    split: Split,
    entry: BackboneEntry,
    cut: Cut,
    options: TrainOptions,
    out: Path,
    progress: Progress = no_progress,
) -> TrainedModel:
    """A trained classifier that goes on learning, with its validation photos too.

    Everything that validation decides has to be decided before, with `model`: the returned one has seen those
    photos. What won goes on from its kept state, at half its rates, for `refit_share` of its epochs, and is
    returned only where it then fits the validation photos, now its own, better than before; `model` is left
    as it is, and returned where no epochs were its own.
    Resumes like train_classifier(); raises what it raises.
    """
    from flawmap.stages.train.contest import DECODED, KEPT, Contest
    from flawmap.stages.train.loop import refitted, reproducible

    phase = PHASE_OF_CONTENDER.get(model.winner)
    n_epochs = round(options.refit_share * sum(epoch.phase == phase for epoch in model.history))
    if n_epochs == 0:
        return model
    claim(out, {**fingerprint(dataset, split, options), "the backbone": f"{entry.key}|{cut.key}"})
    is_tuned = model.winner == "fine-tuned"
    halved = replace(
        options,
        head_epochs=0 if is_tuned else n_epochs,
        epochs=n_epochs if is_tuned else 0,
        head_learning_rate=options.head_learning_rate / 2,
        learning_rate=options.learning_rate / 2,
    )
    with reproducible(options.seed):
        contest = Contest(dataset, split, entry, cut, halved, out, progress, model)
        contest.train_head()
        contest.fine_tune()
        (out / "checkpoints" / DECODED).unlink(missing_ok=True)
        final = contest.to_trained_model()
    return refitted(model, None if final.winner == KEPT else final.network, n_epochs)
