"""A classifier by transfer: four contenders, judged on the validation part; the best one is kept.

1. "untrained": the pretrained backbone with a head of small random weights, so that the gain shows.
2. "probe": the linear probe of the ranking, as it is.
3. "head": a head with dropout on the frozen backbone, on augmented views, starting from the probe.
4. "fine-tuned": the better of 2 and 3, then the later stages at a low rate, the early ones frozen.

The test part is never read here.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from flawmap.errors import OptionError
from flawmap.records import Cut, Dataset, LinearHead, Progress, Split, TrainedModel, no_progress
from flawmap.stages.train.options import TrainOptions
from flawmap.tools.files import write_file
from flawmap.tools.options import to_mapping
from flawmap.tools.zoo import BackboneEntry

_WITHOUT_EFFECT = ("logger", "accelerator", "memory_gb")
"""Options that do not change what is learnt, so that a run may go on under others."""


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

    _claim(out, _fingerprint(dataset, split, entry, cut, probe, options))
    with reproducible(options.seed):
        contest = Contest(dataset, split, entry, cut, options, out, progress)
        contest.enter("untrained", contest.untrained_head)
        contest.enter("probe", probe)
        contest.train_head()
        contest.fine_tune()
        (out / "checkpoints" / DECODED).unlink(missing_ok=True)
        return contest.to_trained_model()


def _fingerprint(
    dataset: Dataset, split: Split, entry: BackboneEntry, cut: Cut, probe: LinearHead, options: TrainOptions
) -> dict[str, str]:
    """What a training depends on, each part as a short digest, so that a mismatch can be named."""
    plain = {k: v for k, v in to_mapping(options).items() if k not in _WITHOUT_EFFECT}
    rows = [split.train.tolist(), split.validation.tolist()]
    content = hashlib.sha256(json.dumps([dataset.labels, [p.digest for p in dataset.photos]]).encode())
    content.update(dataset.targets.tobytes())
    return {
        "the photos or their labels": content.hexdigest()[:16],
        "the split": hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16],
        "the backbone": f"{entry.key}|{cut.key}",
        "the probe": hashlib.sha256(probe.weight.tobytes() + probe.bias.tobytes()).hexdigest()[:16],
        "the training options": hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16],
    }


def _claim(out: Path, fingerprint: dict[str, str]) -> None:
    """Note what the checkpoints in `out` belong to; OptionError where they belong to something else."""
    file = out / "checkpoints" / "of.json"
    if not file.is_file():
        write_file(file, json.dumps(fingerprint, indent=1))
        return
    earlier = json.loads(file.read_text(encoding="utf-8"))
    changed = [what for what, value in fingerprint.items() if earlier.get(what) != value]
    if changed:
        raise OptionError(
            f"{out} holds an interrupted training in which {', '.join(changed)} differed: it cannot go on. "
            "Train into another folder, or start anew with --overwrite and without --resume."
        )
