"""The contenders for one classifier: trained in turn, judged on the same validation photos."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, save

from flawmap.records import Cut, Dataset, Epoch, LinearHead, Progress, Split, TrainedModel
from flawmap.stages.train.loop import Learner, Phase, divergence, run_phase
from flawmap.stages.train.objective import Objective, Score, class_weights
from flawmap.stages.train.options import TrainOptions
from flawmap.stages.train.sources import Batches, Pixels, Views, generator_for, read_pixels
from flawmap.stages.train.tuning import StandardHead, TunedNetwork, pool, quickened
from flawmap.tools.backbones import ClassifierNetwork, describe_cuts
from flawmap.tools.files import write_file
from flawmap.tools.photos import PhotoOptions
from flawmap.tools.zoo import BackboneEntry

KEPT = "kept"
"""The contender that an earlier contest left."""
DECODED = "photos.npy"
"""Among the checkpoints: the photos of a set too large for memory; gone once training is done."""

_N_SPREAD = 256
"""Photos that tell how features spread."""
_VIEWS_SEED, _HEAD_SEED, _TUNING_SEED = 1, 2, 3


class Contest:
    """Rows are counted within the development part (training and validation photos together) throughout."""

    def __init__(  # noqa: PLR0913 - what the ranking chose comes in two parts
        self,
        dataset: Dataset,
        split: Split,
        entry: BackboneEntry,
        cut: Cut,
        options: TrainOptions,
        out: Path,
        progress: Progress,
        start: TrainedModel | None = None,
        features: np.ndarray | None = None,
    ) -> None:
        """Contenders start from the pretrained backbone and learn the training photos; or from the winner of
        an earlier contest, and learn the validation photos too. `features` as of train_classifier()."""
        self.entry, self.cut, self.options, self.out, self.progress = entry, cut, options, out, progress
        rows = split.development
        self.targets = dataset.targets[rows]
        self.train_rows = np.searchsorted(rows, rows if start else split.train)
        needs_all = start is None or options.head_epochs > 0
        self.seen_rows = np.arange(0, len(rows), 1 if needs_all else -(-len(rows) // _N_SPREAD))
        self.validation_rows = np.searchsorted(rows, split.validation)
        self.photos = [dataset.photos[row] for row in rows]
        weights = class_weights(self.targets[self.train_rows], dataset.is_multilabel, options.balance)
        is_flaw = np.array([label not in dataset.good_labels for label in dataset.labels])
        self.objective = Objective(
            torch.from_numpy(weights), is_flaw, dataset.is_multilabel, options.label_smoothing
        )
        self.network = (
            copy.deepcopy(start.network)
            if start
            else ClassifierNetwork(entry, cut, len(dataset.labels), options.dropout)
        )
        self.untrained_head = self.network.get_head()
        self.pixels = self._read_pixels()
        self.views = self._look(None if features is None else torch.from_numpy(features[rows]))
        self.scores: dict[str, Score] = {}
        self.heads: dict[str, LinearHead] = {}
        self.history: tuple[Epoch, ...] = ()
        self.tuned: TunedNetwork | None = None
        if start:
            self.heads[KEPT] = self.untrained_head
            self.scores[KEPT] = Score(**start.contenders[start.winner])

    def enter(self, name: str, head: LinearHead) -> None:
        """Judge a head on the frozen backbone."""
        features = self.views[self.validation_rows, 0].numpy()
        logits = features @ head.weight.T + head.bias
        self.scores[name] = self.objective.judge(logits, self.targets[self.validation_rows])
        self.heads[name] = head

    def train_head(self) -> None:
        """A head with dropout on features of augmented views, from the probe, or what was kept, on."""
        if self.options.head_epochs == 0:
            return
        head = self._standard_head(self._best("probe", KEPT))
        phase = self._phase("head", self.options.head_epochs, (("", self.options.head_learning_rate),))
        _, history = run_phase(self._learner(head, Views(self.views), phase), self.out, self.progress)
        self.history += history
        with np.errstate(over="ignore", invalid="ignore"):  # it may have diverged
            self.enter("head", head.get())

    def fine_tune(self) -> None:
        """The later stages at a low rate, together with the better head so far."""
        costs = describe_cuts(self.entry)
        n_epochs = self.options.n_epochs(len(self.train_rows), costs[self.cut.depth].macs)
        if n_epochs == 0:
            return
        head = self._standard_head(self._best("probe", "head", KEPT))
        tuned = TunedNetwork(self.network, head, self.options.n_frozen(self.cut.depth))
        rates = (("head.", self.options.head_learning_rate), ("backbone.", self.options.learning_rate))
        phase = self._phase("fine-tuning", n_epochs, rates)
        source = Pixels(self.pixels, self.options.augment)
        learner = self._learner(tuned, source, phase)
        self.scores["fine-tuned"], history = run_phase(learner, self.out, self.progress)
        self.history += history
        self.tuned = tuned

    def to_trained_model(self) -> TrainedModel:
        """The best contender as a network in eval mode."""
        winner = self._best(*self.scores)
        if winner == "fine-tuned":
            assert self.tuned is not None
            self.tuned.write_to(self.network)
        else:
            self.network.set_head(self.heads[winner])
        return TrainedModel(
            network=self.network.eval().requires_grad_(False),
            winner=winner,
            contenders={name: {"f1": s.f1, "loss": s.loss} for name, s in self.scores.items()},
            untrained_head=self.untrained_head,
            history=self.history,
            class_weights=tuple(float(w) for w in self.objective.class_weights),
            note=self._note(winner),
        )

    def _best(self, *names: str) -> str:
        """The simpler one where scores tie: names come in order of effort."""
        return max((n for n in names if n in self.scores), key=lambda name: self.scores[name].rank)

    def _note(self, winner: str) -> str:
        counts = self.targets[self.train_rows].sum(axis=0)
        kind = "weighted" if self.options.balance and counts.min() != counts.max() else "weighed alike"
        return (
            f"{winner} had the best validation score of {', '.join(self.scores)} on "
            f"{len(self.validation_rows)} photos; classes of {counts.min()} to {counts.max()} training "
            f"photos {kind} in the loss{divergence(self.history)}"
        )

    def _phase(self, name: str, n_epochs: int, rates: tuple[tuple[str, float], ...]) -> Phase:
        options = self.options
        seed = _HEAD_SEED if name == "head" else _TUNING_SEED
        return Phase(
            name=name,
            n_epochs=n_epochs,
            patience=options.patience,
            seed=generator_for(options.seed, seed).initial_seed(),
            weight_decay=options.weight_decay,
            learning_rates=rates,
            accelerator=options.accelerator,
            logger=options.logger,
        )

    def _standard_head(self, start: str) -> StandardHead:
        features = self.views[np.intersect1d(self.train_rows, self.seen_rows), 0]
        head = StandardHead(features, self.targets.shape[1], self.options.dropout)
        head.set(self.heads[start])
        return head

    def _learner(self, model: StandardHead | TunedNetwork, source: Views | Pixels, phase: Phase) -> Learner:
        size = self.options.batch_size
        train = Batches(source, self.train_rows, self.targets, size, phase.seed)
        validation = Batches(source, self.validation_rows, self.targets, size, None)
        return Learner(model, train, validation, self.objective, phase)

    def _read_pixels(self) -> np.ndarray:
        preprocessing = self.entry.preprocessing
        height, width = preprocessing.input_hw
        is_large = len(self.photos) * height * width * 3 > self.options.memory_gb * 1e9
        file = self.out / "checkpoints" / DECODED if is_large else None
        largest = max(photo.size_hw[0] * photo.size_hw[1] for photo in self.photos)
        decoding = PhotoOptions(max_megapixels=largest / 1e6 + 1)
        return read_pixels(self.photos, preprocessing, file, decoding, self.progress)

    def _look(self, known: torch.Tensor | None) -> torch.Tensor:
        """(n, 1 + n_views, d): pooled features of every photo and of augmented views of training photos.

        Validation photos are seen as they are only; their other views are empty. Where an earlier winner is
        tuned further, `seen_rows` is a sample: how features spread. Kept beside the checkpoints.
        """
        file = self.out / "checkpoints" / "views.safetensors"
        if file.is_file():
            return load(file.read_bytes())["views"]
        n_views = self.options.head_views if self.options.head_epochs else 0
        source = Pixels(self.pixels, self.options.augment)
        views = torch.zeros(len(self.photos), 1 + n_views, self.network.head.in_features)
        size = self.options.batch_size
        everything = torch.from_numpy(self.seen_rows)
        first = 0 if known is None else 1
        if known is not None:
            views[:, 0] = known
        n_done, n_total = 0, (1 - first) * len(everything) + n_views * len(self.train_rows)
        self.network.freeze(len(self.network.stages))
        backbone = quickened(self.network.backbone)
        with torch.inference_mode():
            for view in range(first, 1 + n_views):
                rows = everything if view == 0 else torch.from_numpy(self.train_rows)
                for step, part in enumerate(rows.split(size)):
                    stored = source.fetch(part)
                    generator = generator_for(self.options.seed, _VIEWS_SEED, view, step)
                    wanted = torch.zeros(len(part), 0)
                    varied = source.vary(stored, wanted, generator) if view else source.plain(stored, wanted)
                    images = varied[0]
                    views[part, view] = pool(backbone(images)[0], self.cut)
                    n_done += len(part)
                    self.progress("training: looking at every photo", n_done, n_total)
        write_file(file, save({"views": views}))
        return views
