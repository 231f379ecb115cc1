"""What a person looks at beside the numbers: the page, the contact sheet, videos and a plot of the scores."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from fourreal.evaluation.grid_scores import METHODS, baseline_frames
from fourreal.evaluation.metrics.fvd import raster
from fourreal.evaluation.pairing import NotCompared, Pair
from fourreal.evaluation.report import Intervals, title
from fourreal.evaluation.scoring import Scoreboard
from fourreal.evaluation.view_page import Entry, build_page, facts, panel_of_frames
from fourreal.platform.contact_sheet import Image, contact_sheet, stack_sheets, write_png
from fourreal.platform.video import write_video

_SHOWN_BASELINE = "average"
_SHEETS = 4
_SHEET_FRAME_WIDTH = 96
_VIDEO_FPS = 8.0


def write_pictures(folder: Path, pairs: Iterable[Pair | NotCompared], most: int) -> None:
    """The first `most` pairs on `page.html`, the first four on `contact-sheet.png` and as `videos/KEY.mp4`."""
    entries: list[Entry] = []
    sheets: dict[str, Image] = {}
    (folder / "videos").mkdir()
    for pair in pairs:
        if isinstance(pair, NotCompared):
            continue
        if len(entries) == most:
            break
        entries.append(_entry(pair))
        if len(sheets) < _SHEETS:
            sheets[pair.key] = _sheet(pair)
            write_video(folder / "videos" / f"{pair.key}.mp4", _beside(pair), pair.prediction.meta.fps or _VIDEO_FPS)
    (folder / "page.html").write_text(build_page(entries, "Generated beside true grids"), encoding="utf-8")
    write_png(folder / "contact-sheet.png", stack_sheets(list(sheets.values()), list(sheets)))


def write_plot(path: Path, board: Scoreboard, intervals: Intervals) -> None:
    """Every metric that has a value as one panel, every method as a point with its interval."""
    from matplotlib.figure import Figure

    shown = [m for m in board.metrics if any(board.score(x, m).value is not None for x in METHODS)]
    columns = min(4, max(1, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    figure = Figure(figsize=(3.2 * columns, 0.6 + 1.8 * rows), layout="constrained")
    for axes, metric in zip(figure.subplots(rows, columns, squeeze=False).flat, shown, strict=False):
        for place, method in enumerate(reversed(METHODS)):
            value, interval = board.score(method, metric).value, intervals.get((method, metric.name))
            if value is None:
                continue
            if interval is not None:
                axes.plot([interval.low, interval.high], [place, place], color="tab:grey", linewidth=3)
            axes.plot([value], [place], "o", color="tab:red" if method == METHODS[0] else "tab:blue")
        axes.set_yticks(range(len(METHODS)), list(reversed(METHODS)), fontsize=7)
        better = "" if metric.ideal is not None else " (more is better)" if metric.higher_is_better else " (less)"
        axes.set_title(f"{title(metric)}{better}", fontsize=8)
        axes.tick_params(axis="x", labelsize=7)
    for axes in figure.axes[len(shown) :]:
        axes.remove()
    figure.savefig(path, dpi=110)


def _beside(pair: Pair) -> Image:
    """Reference and prediction side by side along all frames: views in order, time forward and backward by turns."""
    path = raster(*pair.prediction.frames.shape[:2])[0]
    return np.stack([np.concatenate([pair.reference[p], pair.prediction.frames[p]], axis=1) for p in path])


def _sheet(pair: Pair) -> Image:
    """Reference and prediction side by side, small frames enlarged."""
    times = max(1, _SHEET_FRAME_WIDTH // pair.prediction.width)
    sides = []
    for name, frames in (("reference", pair.reference), ("generated", pair.prediction.frames)):
        sheet = contact_sheet(frames.repeat(times, axis=2).repeat(times, axis=3))
        sides.append(stack_sheets([np.pad(sheet, ((0, 0), (0, 12), (0, 0)), constant_values=24)], [name]))
    return np.concatenate(sides, axis=1)


def _entry(pair: Pair) -> Entry:
    given = [(v, t) for v in range(pair.given.shape[0]) for t in range(pair.given.shape[1]) if pair.given[v, t]]
    meta = pair.prediction.meta
    intrinsics, poses = pair.prediction.intrinsics, pair.prediction.world_to_camera
    cameras = None if intrinsics is None or poses is None else (intrinsics, poses)
    panels = [
        panel_of_frames("reference", pair.reference, cameras=cameras),
        panel_of_frames("generated", pair.prediction.frames, given, facts(meta), cameras),
    ]
    baselines = baseline_frames(pair)
    if _SHOWN_BASELINE in baselines:
        name = f"{_SHOWN_BASELINE} (baseline)"
        panels.append(panel_of_frames(name, baselines[_SHOWN_BASELINE], given, cameras=cameras))
    return Entry(meta, panels)
