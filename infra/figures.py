"""Puts measured figures into the README's table.

    make bench                          # writes outputs/bench/NAME.json for each tests/benchmarks/NAME.py
    python infra/figures.py [--bench outputs/bench] [--readme README.md]

A row whose benchmark was not run keeps what it says.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- figures: by infra/figures.py -->", "<!-- end of figures -->"


@dataclass(frozen=True)
class Row:
    """A line of the table: what is measured, by which benchmark, and its figures as they are written."""

    label: str
    benchmark: str
    value: str


ROWS = (
    Row(
        "coding an 8x8 grid at 96x160 / 288x512, against simplejpeg alone",
        "shards",
        "{encode_ms_96x160:.0f} / {encode_ms_288x512:.0f} ms, "
        "{encode_vs_simplejpeg_96x160:.2f} / {encode_vs_simplejpeg_288x512:.2f} times",
    ),
    Row(
        "decoding it",
        "shards",
        "{decode_ms_96x160:.0f} / {decode_ms_288x512:.0f} ms, "
        "{decode_vs_simplejpeg_96x160:.2f} / {decode_vs_simplejpeg_288x512:.2f} times",
    ),
    Row("decoding 4 of its 64 frames at 96x160", "shards", "{four_frames_vs_all_96x160:.0%} of that"),
    Row(
        "reading shards at 96x160, against webdataset alone",
        "shards",
        "{read_shard_grids_per_s:,.0f} grids/s, {read_vs_webdataset:.2f} times",
    ),
    Row(
        "rendering a frame of CesiumMan at 96x160, 4 samples / 288x512, 16 samples",
        "render",
        "{cpu_s_per_frame_96x160_4spp:.3f} / {cpu_s_per_frame_288x512_16spp:.2f} CPU-s",
    ),
    Row(
        "the same against the public Objaverse-XL script's settings, at equal PSNR",
        "render",
        "{speedup_at_equal_psnr:.0f} times cheaper",
    ),
    Row(
        "synthesizing a grid, without filters, over decoding, one warp a frame and JPEG, 96x160 / 288x512 / 512x512",
        "synthesize",
        "{time_vs_floor_96x160:.2f} / {time_vs_floor_288x512:.2f} / {time_vs_floor_512x512:.2f} times",
    ),
    Row(
        "a training step of the whole loop over forward, backward and AdamW alone",
        "train",
        "{loop_vs_bare_step:.2f} times",
    ),
    Row("samples/s of two training workers over one", "train", "{two_workers_vs_one:.2f}"),
    Row("a killed worker's replacement takes its first step after", "train", "{restart_s:.0f} s"),
    Row(
        "a soft step against its counted operations; a fused step against a soft one",
        "model",
        "{soft_step_vs_counted_ops:.2f}; {fused_vs_soft_step:.2f}",
    ),
    Row("rasterizing 20,000 Gaussians at 96x160, forward and backward", "evaluate", "{raster_s:.2f} s"),
    Row(
        "CesiumMan, 8x8 at 96x160, as a moving scene: two views that the fit did not see, whole and foreground",
        "evaluate",
        "{fit_psnr_db:.1f} and {fit_foreground_psnr_db:.1f} dB",
    ),
    Row(
        "opening a page of 64 grids; moving through it",
        "evaluate",
        "{page_open_s:.1f} s; {scrub_fps:.0f} frames/s",
    ),
    Row(
        "planning a million items, and the memory it takes",
        "scale",
        "{plan_1m_items_s:.0f} s, {plan_1m_items_mb:.0f} MB",
    ),
)


def table(bench: Path, before: str) -> str:
    """The table; rows without figures in `bench` are those of the text before."""
    kept = {line.split(" | ")[0].removeprefix("| "): line for line in before.splitlines() if line.startswith("| ")}
    lines = ["| figure | value |", "|---|---|"]
    for row in ROWS:
        path = bench / f"{row.benchmark}.json"
        figures = json.loads(path.read_text()) if path.exists() else {}
        try:
            lines.append(f"| {row.label} | {row.value.format(**figures)} |")
        except KeyError:  # not run, or --quick, which leaves some out
            lines.append(kept.get(row.label, f"| {row.label} | not measured yet |"))
    return "\n".join(lines)


def splice(readme: Path, begin: str, end: str, make: Callable[[str], str]) -> bool:
    """Replace what stands between two lines by what is made of it; whether both lines are there, once."""
    text = readme.read_text()
    if text.count(begin) != 1 or text.count(end) != 1:
        print(f"{readme} has no lines {begin} and {end} to write between", file=sys.stderr)
        return False
    head, rest = text.split(begin)
    before, tail = rest.split(end)
    readme.write_text(f"{head}{begin}\n\n{make(before)}\n\n{end}{tail}")
    return True


def main() -> int:
    """Write it; 2 when the README has no place for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, default=Path("outputs/bench"))
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    arguments = parser.parse_args()
    return 0 if splice(arguments.readme, BEGIN, END, lambda before: table(arguments.bench, before)) else 2


if __name__ == "__main__":
    raise SystemExit(main())
