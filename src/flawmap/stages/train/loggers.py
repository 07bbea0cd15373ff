"""Where training curves go: TensorBoard's events always, Weights & Biases or MLflow on request."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch.loggers import Logger, TensorBoardLogger

from flawmap.errors import require_extra


def make_loggers(name: str | None, folder: Path, phase: str) -> list[Logger]:
    """Loggers that write under `folder`/logs. Raises MissingExtraError where the wanted one is not installed.

    Both others keep their records in the folder unless their own settings (WANDB_MODE, MLFLOW_TRACKING_URI)
    name a server.
    """
    logs = folder / "logs"
    loggers: list[Logger] = [TensorBoardLogger(logs, name=phase, version="", default_hp_metric=False)]
    if name == "wandb":
        require_extra("wandb")
        from lightning.pytorch.loggers import WandbLogger

        logs.mkdir(parents=True, exist_ok=True)
        loggers.append(WandbLogger(name=phase, save_dir=logs, project="flawmap", group=folder.name))
    if name == "mlflow":
        require_extra("mlflow")
        import os

        from lightning.pytorch.loggers import MLFlowLogger

        server = os.environ.get("MLFLOW_TRACKING_URI") or (logs / "mlruns").resolve().as_uri()
        loggers.append(MLFlowLogger(experiment_name="flawmap", run_name=phase, tracking_uri=server))
    return loggers
