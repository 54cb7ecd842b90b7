"""How the commands show what a dataset holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocrcc.bidi import has_right_to_left
from ocrcc.charset import MISSING_HINT, lacks
from ocrcc.cli import render

if TYPE_CHECKING:
    from ocrcc.datasets.report import DatasetReport, Histogram

_BAR = 40


def show_dataset(report: DatasetReport) -> None:
    """Show the figures on stdout, and what is odd, with the first few examples, on stderr."""
    used = report.preprocessing
    rows = [
        ("lines", f"{report.lines:,}"),
        ("characters", f"{report.characters:,}, {len(report.counts):,} different"),
        ("most frequent", " ".join("␣" if char == " " else char for char in list(report.counts)[:20])),
        ("charset", _coverage(report)),
        ("heights", "smallest {}, middle {}, largest {} px".format(*report.heights)),
        ("label too long", f"{report.too_long.count:,} at {used.height} px height and 4 px a frame"),
        ("wider than read", f"{report.squeezed.count:,} over {used.max_width} px at {used.height} px height"),
        ("repeated images", f"{report.repeated.count:,} with the same label"),
        ("conflicting images", f"{report.conflicting.count:,} with different labels"),
        ("unreadable", f"{report.unreadable.count:,}"),
    ]
    render.out.print(render.table("", ("dataset", render.harmless(report.name)), rows, left=2))
    if report.lines:
        render.out.print(_histogram("characters a label", report.lengths))
        render.out.print(_histogram(f"width in px at {used.height} px height", report.widths))
    _warn(report)


def _coverage(report: DatasetReport) -> str:
    missing = report.missing
    if not missing:
        return f"{report.charset} has all of them"
    return f"{report.charset} lacks {len(missing):,} of the different ones, {sum(missing.values()):,} of all"


def _histogram(title: str, histogram: Histogram) -> object:
    longest = max(histogram.counts)
    rows = [
        (name, "█" * -(-_BAR * count // longest), f"{count:,}")
        for name, count in zip(histogram.ranges, histogram.counts, strict=True)
    ]
    return render.table("", (title, "", "lines"), rows, left=2)


def _warn(report: DatasetReport) -> None:
    findings = [
        (report.unreadable, "line cannot be read", "lines cannot be read"),
        (
            report.conflicting,
            "image is there several times with different labels",
            "images are there several times with different labels",
        ),
        (report.repeated, "line repeats another's image and label", "lines repeat another's image and label"),
        (
            report.too_long,
            "label is too long to be learned, with a frame for each character and for the blank between repeats",
            "labels are too long to be learned, with a frame for each character and for the blank between repeats",
        ),
        (report.squeezed, "line is squeezed to the largest width", "lines are squeezed to the largest width"),
        (report.edge_spaces, "label begins or ends with a space", "labels begin or end with a space"),
    ]
    for finding, one, several in findings:
        render.warn_each(one if finding.count == 1 else several, finding.named, finding.count)
    if report.missing:
        render.warn(lacks(report.charset, report.missing))
        render.notice(f"  {MISSING_HINT}")
    if has_right_to_left(report.counts):
        render.notice(
            "letters from right to left: labels are reordered for training, and readings back; --label-order line if "
            "these labels stand in the order of the image"
        )
    for oddity in report.odd_characters:
        render.warn(f"labels have {oddity}")
