"""Puts measured figures where they are told, so that none stands twice with two values.

    python tests/benchmarks/peers.py --half HALF --json tests/benchmarks/measured/HALF.json ...
    python -m tests.benchmarks.pairs --half confirmation --json tests/benchmarks/measured/pairs.json ...
    python -m tests.benchmarks.figures

What stands between `<!-- figures: NAME -->` and `<!-- end of figures -->` in README and model card is replaced by the
table of that name; tests see that it is what was measured.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Report = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
MEASURED = ROOT / "tests" / "benchmarks" / "measured"
PAGES = (ROOT / "README.md", ROOT / "README.zh-CN.md", ROOT / "assets" / "models" / "ocrcc-zh-small.md")
OURS, ONCE, BOTH = "ocrcc int8", "ocrcc int8, once", "ocrcc int8 and PP-OCRv6 small"
READERS = {
    OURS: "**ocrcc-zh-small**",
    BOTH: "with PP-OCRv6 small as second model",
    "PP-OCRv6 small": "PP-OCRv6 small",
    "PP-OCRv4 mobile": "PP-OCRv4 mobile",
    "Tesseract": "Tesseract 5, chi_sim",
}
SETS = {
    "fund-documents": "scanned fund documents",
    "page-qt-book": "a book's pages",
    "page-wechat-news": "a news page",
    "page-web-encyclopedia": "an encyclopedia page",
    "page-cnocr-screens": "screenshots",
    "sroie-receipts": "receipts (English)",
    "tesseract-test": "a magazine (English)",
}
_BLOCK = re.compile(r"(<!-- figures: (\S+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def main() -> None:
    for path in PAGES:
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")


def filled(text: str) -> str:
    """Return a page with the tables that were measured."""
    measured = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in MEASURED.glob("*.json")}
    pairs = measured.pop("pairs")
    return _BLOCK.sub(lambda found: found[1] + TABLES[found[2]](measured, pairs) + found[3], text)


def readme(peers: dict[str, Report], pairs: Report) -> str:
    """Lay out what a reader of the README wants to know first: all readers on what steered nothing."""
    headings = ("of so many lines right, %", "fund documents", "receipts", "look-alikes", "look-alikes, small and worn")
    return _short(peers, pairs, (*headings, "lines a second"), READERS)


def readme_zh(peers: dict[str, Report], pairs: Report) -> str:
    """Lay out the same for Chinese readers."""
    headings = ("整行正确率 %（行数）", "基金单据扫描件", "英文小票", "形近字", "形近字，小而模糊", "行/秒")
    return _short(peers, pairs, headings, READERS | {BOTH: "以 PP-OCRv6 small 为第二模型"})


def _short(peers: dict[str, Report], pairs: Report, headings: Sequence[str], readers: Mapping[str, str]) -> str:
    confirmation = peers["confirmation"]["readers"]
    counts = [peers["confirmation"]["sets"][key] for key in ("fund-documents", "sroie-receipts")]
    counts += [next(iter(pairs["pairs"].values()))[key]["lines"] for key in ("clean", "degraded")]
    first, *others, last = headings
    counted = [f"{heading} ({count:,})" for heading, count in zip(others, counts, strict=True)]
    rows = []
    for name in (name for name in readers if name in confirmation):
        sets = confirmation[name]["sets"]
        drawn_lines = pairs["pairs"].get(name.replace(OURS, "ocrcc-zh-small"))
        rows.append(
            (
                readers[name],
                *(_percent(sets[key]["folded_line_accuracy"]) for key in ("fund-documents", "sroie-receipts")),
                *(_right(drawn_lines[key]) if drawn_lines else "–" for key in ("clean", "degraded")),
                f"{sets['fund-documents']['lines_per_second']:.0f}",
            )
        )
    return _table((first, *counted, last), rows)


def card(peers: dict[str, Report], _pairs: Report) -> str:
    """Lay out every set, the half that may steer and the other, strict and folded, peers beside."""
    headings = ("real lines", "half", "lines", "right %", "folded %", "folded CER %", "folded %, read once")
    others = [name for name in READERS if name != OURS and name in peers["confirmation"]["readers"]]
    rows = []
    for key, shown in SETS.items():
        for half, report in sorted(peers.items()):
            if key in report["sets"]:
                of = {name: reader["sets"][key] for name, reader in report["readers"].items()}
                own = [
                    _percent(of[OURS][figure])
                    for figure in ("strict_line_accuracy", "folded_line_accuracy", "folded_cer")
                ]
                beside = [_percent(of[name]["folded_line_accuracy"]) for name in (ONCE, *others)]
                rows.append((shown, half, str(report["sets"][key]), *own, *beside))
    return _table((*headings, *(READERS[name].split(",")[0] for name in others)), rows)


def speed(peers: dict[str, Report], _pairs: Report) -> str:
    """Lay out lines a second and cold starts."""
    report = peers["confirmation"]
    keys = ("fund-documents", "page-qt-book", "sroie-receipts")
    rows = []
    for name, reader in report["readers"].items():
        rates = [f"{reader['sets'][key]['lines_per_second']:.0f}" for key in keys]
        command = report["cold"].get(f"{name}: ocrcc predict")
        cold = f"{report['cold'][name]:.2f} s" + (f" ({command:.2f} s)" if command else "")
        rows.append((READERS.get(name, name).strip("*"), *rates, cold))
    return _table(("two threads", *(f"{SETS[key]}, lines/s" for key in keys), "one image, cold"), rows)


def drawn(_peers: dict[str, Report], pairs: Report) -> str:
    """Lay out the look-alike pairs."""
    rows = []
    for name, figures in pairs["pairs"].items():
        cells = [
            _percent(figures[key][what] / figures[key]["lines"])
            for key in ("clean", "degraded")
            for what in ("right", "confused")
        ]
        rows.append((name, *cells))
    lines = {key: figures["lines"] for key, figures in next(iter(pairs["pairs"].values())).items()}
    return _table(
        (
            "look-alike pairs, unseen fonts",
            *(f"{lines[key]:,} {key}: {what} %" for key in lines for what in ("lines right", "confused")),
        ),
        rows,
    )


TABLES: dict[str, Callable[..., str]] = {
    "readme": readme, "readme-zh": readme_zh, "card": card, "speed": speed, "pairs": drawn,
}  # fmt: skip


def _right(figures: Report) -> str:
    return _percent(figures["right"] / figures["lines"])


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    shown = ["| " + " | ".join(row) + " |\n" for row in (headings, *rows)]
    return shown[0] + "|" + "---|" * len(headings) + "\n" + "".join(shown[1:])


if __name__ == "__main__":
    main()
