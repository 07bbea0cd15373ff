"""Every option of a run, one table per stage, as flags and TOML files fill them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from flawmap.errors import OptionError
from flawmap.pipeline.tasks import Task, check_task
from flawmap.stages.audit import AuditOptions
from flawmap.stages.benchmark import BenchmarkOptions
from flawmap.stages.dataset import DatasetOptions
from flawmap.stages.embed import EmbedOptions
from flawmap.stages.evaluate import EvaluateOptions
from flawmap.stages.evaluate_masks import CleaningOptions, EvaluateMasksOptions
from flawmap.stages.export import ExportOptions
from flawmap.stages.export.forms import FormOptions
from flawmap.stages.rank import RankOptions
from flawmap.stages.report import ReportOptions
from flawmap.stages.split import SplitOptions
from flawmap.stages.train.options import MaskTrainOptions, TrainOptions
from flawmap.tools.files import cache_folder
from flawmap.tools.options import Options
from flawmap.tools.photos import PhotoOptions

_SEEDED = ("audit", "split", "rank", "train", "train_masks", "evaluate", "evaluate_masks", "cleaning")


@dataclass(frozen=True)
class RunOptions(Options):
    """What a run may be told. Keys of a TOML file: these names, and a table for each stage."""

    seed: int | None = None
    """Seed of every stage; None leaves each stage's own (0)."""
    backbones: str = "bundled"
    """'bundled', 'all', or patterns of backbone ids, separated by commas."""
    weights: tuple[str, ...] = ()
    """The user's own weights, as ARCHITECTURE@FILE."""
    max_parameters_millions: float | None = None
    task: Task = "auto"
    """What is learnt; auto: masks where the data set has them, else labels."""
    cascade: bool = False
    """Whether masks are preceded by a small classifier: flaw or not, then which flaws."""
    licences: tuple[str, ...] | None = None
    dataset: DatasetOptions = field(default_factory=DatasetOptions)
    audit: AuditOptions = field(default_factory=AuditOptions)
    split: SplitOptions = field(default_factory=SplitOptions)
    embed: EmbedOptions = field(default_factory=EmbedOptions)
    rank: RankOptions = field(default_factory=RankOptions)
    train: TrainOptions = field(default_factory=TrainOptions)
    train_masks: MaskTrainOptions = field(default_factory=MaskTrainOptions)
    evaluate: EvaluateOptions = field(default_factory=EvaluateOptions)
    evaluate_masks: EvaluateMasksOptions = field(default_factory=EvaluateMasksOptions)
    cleaning: CleaningOptions = field(default_factory=CleaningOptions)
    export: ExportOptions = field(default_factory=ExportOptions)
    forms: FormOptions = field(default_factory=FormOptions)
    benchmark: BenchmarkOptions = field(default_factory=BenchmarkOptions)
    report: ReportOptions = field(default_factory=ReportOptions)

    def resolved(self) -> RunOptions:
        """With the seed, the cache folder and the way photos are read handed to every stage."""
        check_task(self.task, self.cascade)
        if self.max_parameters_millions is not None and self.max_parameters_millions <= 0:
            raise OptionError(
                f"max_parameters_millions is {self.max_parameters_millions}; give a number above 0"
            )
        options = self if self.seed is None else _seeded(self, self.seed)
        cache = self.cache
        photos = options.dataset.photos
        if photos.memo is None:
            photos = replace(photos, memo=cache)
        return replace(
            options,
            dataset=replace(options.dataset, photos=photos),
            audit=replace(options.audit, photos=photos),
            embed=replace(options.embed, cache=cache, photos=photos),
            rank=replace(options.rank, cache=cache),
            export=replace(options.export, photos=photos),
        )

    @property
    def cache(self) -> Path:
        """The folder for embeddings, graphs and scores, which can all be made again."""
        return cache_folder(self.embed.cache)

    @property
    def photos(self) -> PhotoOptions:
        return self.dataset.photos


def _seeded(options: RunOptions, seed: int) -> RunOptions:
    tables = {name: getattr(options, name) for name in _SEEDED}
    return replace(
        options,
        **{name: replace(table, seed=seed) for name, table in tables.items() if hasattr(table, "seed")},
    )
