"""The ranking charts as files of their own, which any browser and most editors open."""

from __future__ import annotations

import re
from pathlib import Path

from flawmap.records import Ranking
from flawmap.stages.report.charts import best_ten_chart, ranking_chart
from flawmap.tools.files import write_file

_FIRST_SVG = re.compile(r'<svg class="[^"]*" viewBox="0 0 (\d+) (\d+)"(.*?</svg>)', re.DOTALL)
_MARGIN = 16


def write_ranking_charts(ranking: Ranking, folder: Path) -> None:
    """`ranking.svg` (all candidates) and `ranking_best.svg` (the ten best): F1 against cost."""
    for name, chart in (
        ("ranking.svg", ranking_chart(ranking)),
        ("ranking_best.svg", best_ten_chart(ranking)),
    ):
        if chart:
            write_file(folder / name, to_file(chart))


def to_file(chart: str) -> str:
    """A chart of the page, at its wide size, as an SVG document with the page's colours inside."""
    found = _FIRST_SVG.search(chart)
    if found is None:
        raise ValueError(f"wanted a chart drawn as SVG; got {chart[:60]!r}")
    width, height = (int(value) + 2 * _MARGIN for value in found.group(1, 2))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="{-_MARGIN} {-_MARGIN} {width} {height}"><style>{_style()}</style>'
        f'<rect x="{-_MARGIN}" y="{-_MARGIN}" width="{width}" height="{height}" fill="var(--paper)"/>'
        f"<g{found.group(3).removesuffix('</svg>')}</g></svg>\n"
    )


def _style() -> str:
    """The page's colours and the rules for its drawings."""
    style = Path(__file__).parent / "templates" / "page.css"
    lines = style.read_text(encoding="utf-8").splitlines()
    colours = lines[: lines.index("*, *::before, *::after { box-sizing: border-box; }")]
    return "\n".join([*colours, *(line for line in lines if line.startswith("svg "))])
