"""A classifier by transfer: four contenders, judged on the validation part; the best one is kept.

1. "untrained": the pretrained backbone with a head of small random weights, so that the gain shows.
2. "probe": the linear probe of the ranking, as it is.
3. "head": a head with dropout on the frozen backbone, on augmented views, starting from the probe.
4. "fine-tuned": the better of 2 and 3, then the later stages at a low rate, the early ones frozen.

The test part is never read here.
"""

from __future__ import annotations

from pathlib import Path

from flawmap.records import Cut, Dataset, LinearHead, Progress, Split, TrainedModel, no_progress
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
) -> TrainedModel:
    """Train on `split.train`, judge on `split.validation`, and return the best contender.

    `probe` must have been fitted on training photos only, with any standardisation folded in. Checkpoints,
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
        contest = Contest(dataset, split, entry, cut, options, out, progress)
        contest.enter("untrained", contest.untrained_head)
        contest.enter("probe", probe)
        contest.train_head()
        contest.fine_tune()
        (out / "checkpoints" / DECODED).unlink(missing_ok=True)
        return contest.to_trained_model()
