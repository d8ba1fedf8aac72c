"""Pictures of the records for the README: what a task costs here and elsewhere, and how far we are from the limits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.compare import ratios_of
from bench.records import Record

__all__ = ["draw"]

_OURS, _RIVAL, _LIMIT = "#1b6ca8", "#b8c4cc", "#6a994e"
_COLOURS = {"ours": _OURS, "rival": _RIVAL, "limit": _LIMIT}
_TASKS = ("tasks side by side that do nothing", "tasks in a chain that do nothing")


def draw(records: Sequence[Record], folder: Path) -> list[Path]:
    """Draw what the records suffice for and return the files, SVG of equal bytes for equal records."""
    measured = [record for record in records if record.value]
    mpl.rcParams.update({"svg.hashsalt": "flyte-kernel", "svg.fonttype": "none", "font.family": "sans-serif"})
    figures = {"tasks": _tasks(measured), "limits": _limits(measured)}
    drawn = []
    for name, figure in figures.items():
        if figure is not None:
            folder.mkdir(parents=True, exist_ok=True)
            drawn.append(folder / f"{name}.svg")
            figure.savefig(drawn[-1], metadata={"Date": None}, bbox_inches="tight")
    return drawn


def _tasks(records: Sequence[Record]) -> Figure | None:
    """Draw the costs of empty tasks, logarithmically: they lie five orders of magnitude apart."""
    shapes = [[record for record in records if record.workload == workload] for workload in _TASKS]
    if not all(any(record.role == "rival" for record in rows) for rows in shapes):
        return None
    figure = Figure(figsize=(11, 0.3 * max(map(len, shapes)) + 1))
    for axes, workload, rows in zip(figure.subplots(1, 2), _TASKS, shapes, strict=True):
        rows = sorted(rows, key=lambda record: record.value or 0, reverse=True)
        _bars(axes, [record.name for record in rows], [record.value or 0 for record in rows], rows)
        axes.set_title(workload, fontsize=10)
        axes.set_xlabel("microseconds a task")
    figure.tight_layout()
    return figure


def _limits(records: Sequence[Record]) -> Figure | None:
    """Draw how many times the limit of its workload each row of ours takes."""
    found = ratios_of(records)
    if len(found) < 2:
        return None
    names = sorted(found, key=lambda name: found[name], reverse=True)
    figure = Figure(figsize=(11, 0.3 * len(names) + 1))
    axes = figure.subplots()
    _bars(axes, names, [found[name] for name in names])
    axes.axvline(1, color=_LIMIT, linewidth=1)
    axes.set_xlabel("times the limit that was measured in the same run")
    figure.tight_layout()
    return figure


def _bars(axes: Axes, names: Sequence[str], values: Sequence[float], rows: Sequence[Record] = ()) -> None:
    colours = [_COLOURS[record.role] for record in rows] or [_OURS] * len(names)
    bars = axes.barh(range(len(names)), values, color=colours)
    axes.bar_label(bars, [f" {value:,.3g}" for value in values], fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_xscale("log")
    axes.margins(x=0.15, y=0.02)
    axes.spines[["top", "right"]].set_visible(False)
