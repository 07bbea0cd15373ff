"""The training loop, run by lightning: one phase of training, resumable with the same bits.

Everything random in a step is drawn from (seed, step, device), and the order of an epoch from (seed, epoch):
a run that was killed and goes on from its last epoch ends like one that was never interrupted.
"""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from safetensors.torch import load, save
from torch import nn

from flawmap.records import Epoch, Progress, TrainedModel, TrainedSegmenter, no_progress
from flawmap.stages.train.loggers import make_loggers
from flawmap.stages.train.memory import kept_memory
from flawmap.stages.train.objective import Judge, Score
from flawmap.stages.train.precision import Arithmetic, depthwise_in_float32
from flawmap.stages.train.sources import Batch, Loader, generator_for
from flawmap.tools.files import write_file
from flawmap.tools.words import counted

Model = TypeVar("Model", TrainedModel, TrainedSegmenter)

_CHATTY = ("lightning.pytorch", "lightning.fabric")


@dataclass(frozen=True)
class Phase:
    """One run of the loop."""

    name: str
    n_epochs: int
    patience: int
    seed: int
    weight_decay: float
    learning_rates: tuple[tuple[str, float], ...]
    """Rate of the parameters whose name begins so; the first that fits counts, parameters that fit none and
    those that need no gradient stay as they are."""
    accelerator: str
    logger: str | None
    trained_norms: tuple[str, ...] = ()
    """Modules whose name begins so are new: their normalisation takes its statistics from the batches. The
    others keep theirs, which small batches would spoil."""
    precision: Arithmetic = "32-true"


class Learner(lightning.LightningModule):
    """A model that turns a source's inputs into logits, what it learns from, and by which rules."""

    def __init__(
        self, model: nn.Module, train: Loader, validation: Loader, objective: Judge, phase: Phase
    ) -> None:
        super().__init__()
        self.model, self.objective, self.phase = model, objective, phase
        self.train_batches, self.validation_batches = train, validation
        self.history: list[dict[str, Any]] = []
        self.score: Score | None = None
        self.averages: dict[str, torch.Tensor] = {}
        """Of what learns, over about the last fifteenth of the phase: these are judged and kept."""
        self._elapsed_s = 0.0
        self._since = time.monotonic()
        self._losses: list[torch.Tensor] = []
        self._outputs: list[tuple[torch.Tensor, ...]] = []

    def setup(self, stage: str) -> None:
        _quieten()

    def train_dataloader(self) -> Loader:
        return self.train_batches.shared(self.trainer.global_rank, self.trainer.world_size)

    def val_dataloader(self) -> Loader:
        return self.validation_batches.shared(self.trainer.global_rank, self.trainer.world_size)

    def on_fit_start(self) -> None:
        for name, value in self.changing():
            self.averages[name] = self.averages.get(name, value.detach().clone()).to(value.device)

    @torch.no_grad()
    def on_train_batch_end(self, *args: Any) -> None:
        weight = min(0.2, 15 / int(self.trainer.estimated_stepping_batches))
        for name, value in self.changing():
            self.averages[name].lerp_(value, weight)

    def on_validation_start(self) -> None:
        self._swap()

    def on_validation_end(self) -> None:
        """After the callbacks, which see the averages in the model."""
        self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in self.changing():
            average = self.averages[name].clone()
            self.averages[name].copy_(value)
            value.copy_(average)

    def learning(self) -> list[tuple[str, nn.Parameter]]:
        """The parameters that training changes, by name."""
        return [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]

    def changing(self) -> list[tuple[str, torch.Tensor]]:
        """All that training changes: what learns, and the statistics of new normalisation."""
        new = self.phase.trained_norms
        statistics = [
            (name, buffer)
            for name, buffer in self.model.named_buffers()
            if name.startswith(new) and buffer.is_floating_point()
        ]
        return [*self.learning(), *statistics]

    def on_train_epoch_start(self) -> None:
        """All but dropout and what is new as in use."""
        new = self.phase.trained_norms
        for name, module in self.model.named_modules():
            module.training = isinstance(module, nn.Dropout) or name.startswith(new)

    def training_step(self, batch: Batch, batch_index: int) -> torch.Tensor:
        stored, targets, _ = batch
        place = (self.phase.seed, self.global_step, self.global_rank)
        torch.manual_seed(generator_for(*place, 1).initial_seed())  # for dropout
        inputs, targets = self.train_batches.source.vary(stored, targets, generator_for(*place, 2))
        loss = self.objective.loss(self.model(inputs).float(), targets)
        self._losses.append(loss.detach())
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        stored, targets, rows = batch
        inputs, targets = self.validation_batches.source.plain(stored, targets)
        self._outputs.append((*self.objective.reduce(self.model(inputs).float(), targets), rows))

    def on_validation_epoch_end(self) -> None:
        outputs, targets, rows = (torch.cat(parts) for parts in zip(*self._outputs, strict=True))
        self._outputs.clear()
        if self.trainer.world_size > 1:
            outputs, targets, rows = (
                torch.as_tensor(self.all_gather(part)).flatten(0, 1) for part in (outputs, targets, rows)
            )
        _, first = np.unique(rows.cpu().numpy(), return_index=True)
        self.score = self.objective.judge(outputs.cpu().numpy()[first], targets.cpu().numpy()[first])
        figures = {"validation_f1": self.score.f1, "validation_loss": self.score.loss}
        self.log_dict(figures, sync_dist=self.trainer.world_size > 1)

    def on_train_epoch_end(self) -> None:
        train_loss = torch.stack(self._losses).mean()
        self._losses.clear()
        if self.trainer.world_size > 1:
            train_loss = torch.as_tensor(self.all_gather(train_loss)).mean()
        self.log("train_loss", train_loss, sync_dist=self.trainer.world_size > 1)
        now = time.monotonic()
        self._elapsed_s, self._since = self._elapsed_s + now - self._since, now
        if self.score is not None:
            epoch = Epoch(
                self.phase.name,
                self.current_epoch,
                float(train_loss),
                self.score.loss,
                self.score.f1,
                self._elapsed_s,
            )
            self.history.append(asdict(epoch))

    def configure_optimizers(self) -> Any:
        groups, taken = [], set()
        for prefix, rate in self.phase.learning_rates:
            chosen = [(n, p) for n, p in self.learning() if n.startswith(prefix) and n not in taken]
            taken |= {name for name, _ in chosen}
            if chosen:
                groups.append({"params": [p for _, p in chosen], "lr": rate})
        optimizer = torch.optim.AdamW(groups, weight_decay=self.phase.weight_decay)
        n_steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _WarmCosine(n_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = list(self.history)
        checkpoint["averages"] = dict(self.averages)
        checkpoint["elapsed_s"] = self._elapsed_s

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = list(checkpoint["history"])
        self.averages = dict(checkpoint["averages"])
        self._elapsed_s, self._since = checkpoint["elapsed_s"], time.monotonic()


class _WarmCosine:
    """Up over the first twentieth of the steps, then down to zero along a cosine."""

    def __init__(self, n_steps: int) -> None:
        self.n_steps, self.n_warm = max(1, n_steps), max(1, n_steps // 20)

    def __call__(self, step: int) -> float:
        if step < self.n_warm:
            return (step + 1) / (self.n_warm + 1)
        done = (step - self.n_warm) / max(1, self.n_steps - self.n_warm)
        return 0.5 * (1 + float(np.cos(np.pi * min(1.0, done))))


class KeepBest(Callback):
    """Writes the state with the best validation score, and ends a phase that no longer gets better."""

    def __init__(self, file: Path, patience: int) -> None:
        self.file, self.patience = file, patience
        self.best: Score | None = None
        self.n_since = 0

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Learner) and pl_module.score is not None
        if self.best is not None and pl_module.score.rank <= self.best.rank:
            self.n_since += 1
            trainer.should_stop = self.n_since > self.patience
            return
        self.best, self.n_since = pl_module.score, 0
        if trainer.is_global_zero:
            learnt = {name: v.detach().cpu().contiguous().clone() for name, v in pl_module.changing()}
            write_file(self.file, save(learnt))

    def state_dict(self) -> dict[str, Any]:
        return {"best": None if self.best is None else asdict(self.best), "n_since": self.n_since}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = None if state_dict["best"] is None else Score(**state_dict["best"])
        self.n_since = state_dict["n_since"]


class _KeepLast(Checkpoint):
    """Writes the whole state of training after every epoch, in one step: a kill loses one epoch at most."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        trainer.save_checkpoint(self.file)


class _Report(Callback):
    """Tells how far a phase is."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def __getstate__(self) -> dict[str, Any]:
        """Other processes (one for each of several GPUs) say nothing: a progress bar cannot be sent there."""
        return {"progress": no_progress}

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any
    ) -> None:
        if trainer.is_global_zero and isinstance(pl_module, Learner):
            n_steps = int(trainer.estimated_stepping_batches)
            self.progress(f"training: {pl_module.phase.name}, steps", trainer.global_step, n_steps)


def run_phase(learner: Learner, folder: Path, progress: Progress) -> tuple[Score, tuple[Epoch, ...]]:
    """Train, or go on with what the folder's checkpoints hold; the model ends in its best state.

    Returns that state's score and the curve. Everything is read back from the files, which is the same
    whether one process trained, several, or an earlier run did.
    """
    phase = learner.phase
    home = folder / "checkpoints" / phase.name
    best_file, last_file = home / "best.safetensors", home / "last.ckpt"
    keep = KeepBest(best_file, phase.patience)
    if not _is_finished(last_file, phase):
        trainer = lightning.Trainer(
            accelerator=phase.accelerator,
            precision=phase.precision,
            max_epochs=phase.n_epochs,
            deterministic="warn" if torch.cuda.is_available() else True,
            callbacks=[keep, _KeepLast(last_file), _Report(progress)],
            logger=make_loggers(phase.logger, folder, phase.name),
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=True,
            use_distributed_sampler=False,
            **_devices(phase.accelerator),
        )
        for module in learner.modules():
            module.training = True  # lightning warns about others; on_train_epoch_start sets what is meant
        resumed = str(last_file) if last_file.is_file() else None
        is_processor = trainer.strategy.root_device.type == "cpu"
        kept = depthwise_in_float32(learner) if is_processor else contextlib.nullcontext()
        with _interruptible(), kept_memory(), kept:
            trainer.fit(learner, ckpt_path=resumed, weights_only=True)
    learner.cpu()
    learnt = load(best_file.read_bytes())
    with torch.no_grad():
        for name, value in learner.changing():
            value.copy_(learnt[name])
    last = _read_checkpoint(last_file)
    return _best_of(last), tuple(Epoch(**values) for values in last["history"])


def refitted(model: Model, network: nn.Module | None, n_epochs: int) -> Model:
    """The model with a network that learnt the validation photos too, or, without one, what came of it."""
    if network is None:
        return replace(model, note=f"{model.note}; learning the validation photos too was no gain")
    return replace(model, network=network, refit=f"for {counted(n_epochs, 'epoch')} at half the rates")


def divergence(history: Sequence[Epoch]) -> str:
    """What a note adds where the loss stopped being a number; else empty."""
    first = next((epoch for epoch in history if not math.isfinite(epoch.train_loss)), None)
    if first is None:
        return ""
    began = f"from epoch {first.epoch + 1} on"
    return f"; the loss of {first.phase} was no number {began}: a lower learning_rate is needed"


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C within stays a KeyboardInterrupt. Lightning ends the process with exit code 1, which would say
    that the work is done, and leaves further Ctrl-C ignored."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ended:
        if not isinstance(ended.__context__, KeyboardInterrupt):
            raise
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from ended


@contextlib.contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Seeded and deterministic within, without lightning's notices; earlier settings are put back after.

    New memory is not filled beforehand, as torch then does by itself: nothing here reads what it has not
    written, and it costs a sixth of a step.
    """
    memory: Any = torch.utils.deterministic
    was_filled = memory.fill_uninitialized_memory
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    was_warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    levels = [logging.getLogger(name).level for name in _CHATTY]
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            # lightning 2.6 beside torch 2.9 and later: its own use of a name that torch renamed
            warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
            torch.manual_seed(seed)
            memory.fill_uninitialized_memory = False
            _quieten()
            yield
    finally:
        memory.fill_uninitialized_memory = was_filled
        torch.use_deterministic_algorithms(was_deterministic, warn_only=was_warn_only)
        for name, level in zip(_CHATTY, levels, strict=True):
            logging.getLogger(name).setLevel(level)


def _quieten() -> None:
    """No notices and advertisements, in this process; warnings stay."""
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _devices(accelerator: str) -> dict[str, Any]:
    """Every GPU there is; on the processor one device, whose threads share the work."""
    n_gpus = torch.cuda.device_count() if accelerator != "cpu" else 0
    if n_gpus > 1:
        return {"devices": n_gpus, "strategy": "ddp_spawn"}
    return {"devices": 1}


def _is_finished(last_file: Path, phase: Phase) -> bool:
    if not last_file.is_file():
        return False
    last = _read_checkpoint(last_file)
    n_since = _kept(last)["n_since"]
    return len(last["history"]) >= phase.n_epochs or n_since > phase.patience


def _read_checkpoint(file: Path) -> dict[str, Any]:
    return torch.load(file, map_location="cpu", weights_only=True)


def _kept(checkpoint: dict[str, Any]) -> dict[str, Any]:
    return checkpoint["callbacks"][KeepBest.__qualname__]


def _best_of(checkpoint: dict[str, Any]) -> Score:
    return Score(**_kept(checkpoint)["best"])
