"""What every page shares: its templates, its style sheet, and the allowance of its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from flawmap.errors import require_extra
from flawmap.stages.report.facts import ReportOptions
from flawmap.stages.report.wording import capital, sentence

SAMPLE_PX, CARD_PX = 256, 440
"""Longer sides of pictures: of samples of the folder, and of photos shown one by one."""
_MOST_BYTES = 36_000
"""Of one picture, where few are shown."""


def render_page(
    template: str, sections: Sequence[tuple[str, str]], context: Mapping[str, Any], extra: str = "train"
) -> str:
    """The whole page. `sections`: (id, name) for its contents. Raises MissingExtraError without jinja2, which
    `extra` brings."""
    require_extra("jinja2", extra)
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = files("flawmap.stages.report") / "templates"
    environment = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"sentence": sentence, "capital": capital}
    style = (folder / "page.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(style=style, sections=sections, **context)


def bytes_per_picture(n_pictures: int, options: ReportOptions) -> int:
    """What one picture may take, so that all of them stay under the page's limit."""
    return min(options.max_picture_bytes // max(n_pictures, 1), _MOST_BYTES)
