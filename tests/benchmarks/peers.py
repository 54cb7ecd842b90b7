"""Our reader beside those that a user would take instead, on real lines, in one run.

python tests/benchmarks/peers.py --model RUN [--pairs LMDB] [--set fund-documents] [--half HALF] [--int8] [--json FILE]

Line sets are folders real/NAME with labels.tsv (file<TAB>text) under OCRCC_DATA, or ../shared/data beside the
repository. The peers, where they are installed (pip install rapidocr-onnxruntime rapidocr; apt-get install
tesseract-ocr tesseract-ocr-chi-sim): PP-OCRv4 mobile and PP-OCRv6 small under ONNX Runtime, and Tesseract 5.

What steers the renderer may not judge the model. --half development takes the two fifths of each set that may be looked
at while something is chosen, confirmation the rest, which is read once, for the card; the names of a set and a file say
to which a line belongs (`half_of`), for good.

White space does not count in any figure, since the peers and the labels set it differently; folded figures ignore
compatibility forms (NFKC) too. Lines a second: images decoded and the reader warm, everything after that included;
ours in batches, the peers as their packages offer it, one line at a time;
"once" is ours without second looks, and with PP-OCRv6 small it is `ocrcc predict --second-model`. Cold: a new process
that reads one image, all of them through their Python packages, Tesseract's program and our command line as well.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from statistics import median

from rich.console import Console

from ocrcc.cli import render
from ocrcc.config import ExportConfig, PredictConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.evaluation.metrics import ScoreCounter, fold
from ocrcc.images.opening import open_image
from ocrcc.reading.reader import LineReader

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("OCRCC_DATA", ROOT.parent / "shared" / "data"))
SETS = ["fund-documents", "page-qt-book", "page-web-encyclopedia", "page-wechat-news", "page-cnocr-screens"]
BOTH, V6 = "ocrcc int8 and PP-OCRv6 small", "rapidocr/ppocr-v6-small"
"""What `ocrcc predict --second-model` makes of the two."""
PP_OCR = "{'EngineConfig.onnxruntime.intra_op_num_threads': %d, 'Global.text_score': 0.0, 'Global.log_level': 'error'}"
COLD_V4 = (
    "import sys, cv2; from rapidocr_onnxruntime import RapidOCR;"
    "print(RapidOCR(intra_op_num_threads=int(sys.argv[2]))"
    "(cv2.imread(sys.argv[1]), use_det=False, use_cls=False, use_rec=True)[0][0][0])"
)
COLD_V6 = (
    "import sys, cv2; from rapidocr import RapidOCR;"
    f"print(RapidOCR(params=eval({PP_OCR!r} % int(sys.argv[2])))"
    "(cv2.imread(sys.argv[1]), use_det=False, use_cls=False, use_rec=True).txts[0])"
)
COLD_OURS = (
    "import sys; from ocrcc.config import PredictConfig; from ocrcc.reading.reader import LineReader;"
    "how = dict(second_look=float(sys.argv[4]), engine=sys.argv[5], second_model=sys.argv[6]);"
    "config = PredictConfig(threads=int(sys.argv[2]), **how);"
    "print(LineReader.load(sys.argv[3], device='cpu', config=config).recognize([sys.argv[1]])[0].text)"
)


class Ours:
    """This package, with one model file, or two."""

    def __init__(self, model, threads, second_look=PredictConfig.second_look, second_model=""):
        self.model, self.threads, self.second_look, self.second_model = Path(model), threads, second_look, second_model
        self.engine = "onnx" if self.model.suffix == ".onnx" else "torch"
        self.reader = None

    def open(self):
        how = {"engine": self.engine, "second_look": self.second_look, "second_model": self.second_model}
        config = PredictConfig(threads=self.threads, **how)
        self.reader = LineReader.load(self.model, device="cpu", config=config)
        return lambda encoded: open_image(encoded)

    def read(self, images):
        return [reading.text for reading in self.reader.recognize(images)]

    def cold(self, path):
        options = [path, self.threads, self.model, self.second_look, self.engine, self.second_model]
        return [sys.executable, "-c", COLD_OURS, *map(str, options)]

    def cold_command(self, path):
        options = ["--model", str(self.model), "--engine", self.engine, "--device", "cpu"]
        options += ["--threads", str(self.threads), "--second-look", str(self.second_look)]
        options += ["--second-model", self.second_model] if self.second_model else []
        return [sys.executable, "-c", "from ocrcc.cli import main; main()", "predict", str(path), *options]


def decode_bgr(encoded):
    import cv2
    import numpy as np

    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)


class PpOcrV4:
    """PP-OCRv4 mobile, as rapidocr-onnxruntime ships it."""

    def __init__(self, threads):
        self.threads, self.engine = threads, None

    def open(self):
        from rapidocr_onnxruntime import RapidOCR

        self.engine = RapidOCR(intra_op_num_threads=self.threads)
        return decode_bgr

    def read(self, images):
        found = [self.engine(image, use_det=False, use_cls=False, use_rec=True)[0] for image in images]
        return [result[0][0] if result else "" for result in found]

    def cold(self, path):
        return [sys.executable, "-c", COLD_V4, str(path), str(self.threads)]


class PpOcrV6:
    """PP-OCRv6 small, as rapidocr ships it."""

    def __init__(self, threads):
        self.threads, self.engine = threads, None

    def open(self):
        from rapidocr import RapidOCR

        threads = {"EngineConfig.onnxruntime.intra_op_num_threads": self.threads}
        self.engine = RapidOCR(params={**threads, "Global.text_score": 0.0, "Global.log_level": "error"})
        return decode_bgr

    def read(self, images):
        found = [self.engine(image, use_det=False, use_cls=False, use_rec=True) for image in images]
        return [result.txts[0] if result.txts else "" for result in found]

    def cold(self, path):
        return [sys.executable, "-c", COLD_V6, str(path), str(self.threads)]


class Tesseract:
    """Tesseract's own program, started for every line."""

    def __init__(self, threads):
        self.environment = {**os.environ, "OMP_THREAD_LIMIT": str(threads)}

    def open(self):
        return lambda encoded: encoded

    def read(self, images):
        return [self._read(image) for image in images]

    def _read(self, encoded):
        command = ["tesseract", "-", "-", "--psm", "7", "-l", "chi_sim+eng"]
        done = subprocess.run(command, input=encoded, capture_output=True, env=self.environment, check=True)
        return done.stdout.decode("utf-8", "replace").strip()

    def cold(self, path):
        return ["tesseract", str(path), "-", "--psm", "7", "-l", "chi_sim+eng"]


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="ours: a .safetensors file or a run folder")
    parser.add_argument("--set", action="append", dest="sets", help=f"by default {', '.join(SETS)}")
    parser.add_argument("--half", choices=("all", "development", "confirmation"), default="all", help="of each set")
    parser.add_argument("--pairs", type=Path, help="LMDB of look-alike lines, another set")
    parser.add_argument("--int8", action="store_true", help="ours in 8 bits as well, as the shipped model is exported")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="turns; the best time counts")
    parser.add_argument("--cold", type=int, default=3, help="cold runs, whose median counts; 0 for none")
    parser.add_argument("--no-peers", action="store_true", help="ours alone")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def half_of(name, file):
    """Tell which half of a set a line belongs to.

    >>> half_of("fund-documents", "1.png"), half_of("fund-documents", "2.png")
    ('confirmation', 'development')
    """
    return "development" if hashlib.sha256(f"{name}/{file}".encode()).digest()[0] < 102 else "confirmation"


def load_sets(options):
    """Give each set as a list of (encoded image, label)."""
    sets = {}
    for name in options.sets or SETS:
        folder = DATA / "real" / name
        if not (folder / "labels.tsv").is_file():
            print(f"{folder}: not there, left out", file=sys.stderr)
            continue
        rows = [line.split("\t", 1) for line in (folder / "labels.tsv").read_text("utf-8").splitlines() if "\t" in line]
        sets[name] = [
            ((folder / file).read_bytes(), label)
            for file, label in rows
            if options.half in ("all", half_of(name, file))
        ]
    if options.pairs:
        dataset = LmdbDataset(options.pairs)
        sets["pairs"] = [(dataset.image_bytes(i), dataset.label(i)) for i in range(len(dataset))]
    return sets


def find_readers(options, folder):
    """Give the readers that there are, and say which are not."""
    readers = {"ocrcc torch": Ours(options.model, options.threads)}
    if find_spec("onnx") and find_spec("onnxruntime"):
        from ocrcc.export.export import export

        for name, int8 in (("ocrcc onnx", False), ("ocrcc int8", True))[: 1 + options.int8]:
            config = ExportConfig(int8=int8, half=int8)
            path = export(options.model, folder / f"{name.split()[1]}.onnx", config).path
            readers[name] = Ours(path, options.threads)
            readers[f"{name}, once"] = Ours(path, options.threads, second_look=0)
        if options.int8 and not options.no_peers and find_spec("rapidocr"):
            readers[BOTH] = Ours(path, options.threads, second_model=V6)
    missing = []
    for name, make, there in (
        ("PP-OCRv4 mobile", PpOcrV4, find_spec("rapidocr_onnxruntime")),
        ("PP-OCRv6 small", PpOcrV6, find_spec("rapidocr")),
        ("Tesseract", Tesseract, which("tesseract")),
    ):
        if there and not options.no_peers:
            readers[name] = make(options.threads)
        elif not there:
            missing.append(name)
    return readers, missing


def measure(readers, sets, repeats):
    """Let all readers read all sets, taking turns, so that whatever else the machine does falls on all of them."""
    decoders = {name: reader.open() for name, reader in readers.items()}
    found = {name: {} for name in readers}
    for set_name, lines in sets.items():
        images = {name: [decode(encoded) for encoded, _ in lines] for name, decode in decoders.items()}
        seconds = {name: [] for name in readers}
        for turn in range(repeats):
            for name, reader in readers.items():
                print(f"{set_name}: {name}, turn {turn + 1} of {repeats}", file=sys.stderr, flush=True)
                if not turn:
                    reader.read(images[name][:8])
                started = time.perf_counter()
                texts = reader.read(images[name])
                seconds[name].append(time.perf_counter() - started)
                if not turn:
                    found[name][set_name] = score(lines, texts)
        for name in readers:
            found[name][set_name] |= {"lines_per_second": len(lines) / min(seconds[name]), "seconds": seconds[name]}
    return found


def score(lines, texts):
    """Compare readings with labels."""
    strict, folded = ScoreCounter(), ScoreCounter()
    for text, (_, label) in zip(texts, lines, strict=True):
        strict.update("".join(label.split()), "".join(text.split()))
        folded.update(fold(label), fold(text))
    return {
        "lines": len(lines),
        **{f"strict_{key}": getattr(strict.summary(), key) for key in ("line_accuracy", "cer")},
        **{f"folded_{key}": getattr(folded.summary(), key) for key in ("line_accuracy", "cer")},
    }


def cold_seconds(readers, encoded, folder, runs):
    """Time new processes that read one image, of each reader in turn."""
    path = folder / "one.png"
    open_image(encoded).save(path)
    commands = {name: reader.cold(path) for name, reader in readers.items()}
    ours = {name: reader for name, reader in readers.items() if isinstance(reader, Ours) and reader.second_look}
    commands |= {f"{name}: ocrcc predict": reader.cold_command(path) for name, reader in ours.items()}
    seconds = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - started)
    return {name: median(each) for name, each in seconds.items() if each}


def show(report):
    out = Console(width=150, highlight=False)
    names = list(report["readers"])
    for set_name, size in report["sets"].items():
        rows = []
        for name in names:
            figures = report["readers"][name]["sets"][set_name]
            ratio = report["readers"][name]["ratios"].get(set_name, {})
            rows.append(
                (
                    name,
                    *(f"{figures[key]:.2%}" for key in ("strict_line_accuracy", "strict_cer")),
                    *(f"{figures[key]:.2%}" for key in ("folded_line_accuracy", "folded_cer")),
                    f"{figures['lines_per_second']:.1f}",
                    *(f"{ratio[peer]:.2f}" for peer in ratio),
                )
            )
        peers = [f"x {peer}" for peer in report["peers"]]
        columns = ("reader", "line acc", "CER", "folded acc", "folded CER", "lines/s", *peers)
        out.print(render.table(f"{set_name}: {size} lines", columns, rows))
    if report["cold"]:
        rows = [(name, f"{seconds:.2f}") for name, seconds in report["cold"].items()]
        out.print(render.table("one image, cold", ("reader", "seconds"), rows))
    for name in report["not_installed"]:
        out.print(f"{name}: not installed")


def main():
    options = parse()
    sets = load_sets(options)
    if not sets:
        sys.exit(f"no line sets under {DATA / 'real'}: set OCRCC_DATA, or give --pairs LMDB")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        readers, missing = find_readers(options, folder)
        report = {
            "model": Path(options.model).name,
            "threads": options.threads,
            "half": options.half,
            "sets": {name: len(lines) for name, lines in sets.items()},
            "peers": [name for name in readers if not name.startswith("ocrcc")],
            "not_installed": missing,
            "readers": {},
        }
        first = next(iter(sets.values()))[0][0]
        report["cold"] = cold_seconds(readers, first, folder, options.cold)
        found = measure(readers, sets, options.repeats)
        report["readers"] = {name: {"sets": found[name]} for name in readers}
    for entry in report["readers"].values():
        entry["ratios"] = {
            name: {
                peer: figures["lines_per_second"] / report["readers"][peer]["sets"][name]["lines_per_second"]
                for peer in report["peers"]
            }
            for name, figures in entry["sets"].items()
        }
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
