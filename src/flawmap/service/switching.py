"""Which of the served models answers where none is named: switched while running, and kept."""

from __future__ import annotations

from collections.abc import Mapping

from sqlmodel import col, select

from flawmap.service.database import Database, now
from flawmap.service.models import ServedModel
from flawmap.service.tables import ModelUse


class ModelInUse:
    """The model in use. What has begun goes on with the model that it began with."""

    def __init__(self, database: Database, models: Mapping[str, ServedModel]) -> None:
        """The one that was switched to last, where it is served as it was; else the first one."""
        self._database, self._models = database, models
        with database.reading() as session:
            last = session.exec(select(ModelUse).order_by(col(ModelUse.id).desc())).first()
        served = models.get(last.model) if last is not None else None
        is_same = served is not None and last is not None and served.described.digest == last.digest
        self._model = served if served is not None and is_same else next(iter(models.values()))

    @property
    def model(self) -> ServedModel:
        return self._model

    def use(self, name: str, who: str) -> ServedModel:
        """Answer with another model from now on; `name` is that of a served one."""
        served = self._models[name]
        row = ModelUse(model=name, digest=served.described.digest, who=who, at=now())
        with self._database.writing(who, "use model", name) as session:
            session.add(row)
        self._model = served
        return served
