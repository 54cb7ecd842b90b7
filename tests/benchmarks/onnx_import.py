"""PP-OCR's recognisers as ours beside RapidOCR's own reading of them, line by line, on real lines.

python tests/benchmarks/onnx_import.py [--every 1] [--engine onnx --engine torch]

Lines are every image under real/ in OCRCC_DATA, or ../shared/data beside the repository. Both get the same pixels;
RapidOCR reads one line at a time, since what it reads on a line depends on the others of its batch. Nobody else may
use the machine meanwhile if the times are to mean something.
"""

import argparse
import os
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ocrcc.config import PredictConfig
from ocrcc.files import IMAGE_SUFFIXES
from ocrcc.images.opening import open_image
from ocrcc.reading.reader import LineReader

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("OCRCC_DATA", ROOT.parent / "shared" / "data"))


def rapid_v6():
    from rapidocr import RapidOCR
    from rapidocr.ch_ppocr_rec.typings import TextRecInput

    threads = {"EngineConfig.onnxruntime.intra_op_num_threads": 2}
    engine = RapidOCR(params={**threads, "Global.log_level": "error"})
    engine._load_rec_model()
    return lambda image: engine.text_rec(TextRecInput(img=image)).txts[0]


def rapid_v4():
    from rapidocr_onnxruntime import RapidOCR

    engine = RapidOCR(intra_op_num_threads=2)
    return lambda image: engine.text_rec([image])[0][0][0]


PEERS = {
    "rapidocr/ppocr-v4-mobile": (rapid_v4, "rapidocr_onnxruntime"),
    "rapidocr/ppocr-v6-small": (rapid_v6, "rapidocr"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="take one of every so many lines")
    parser.add_argument("--engine", action="append", choices=["onnx", "torch"])
    options = parser.parse_args()
    files = sorted(path for path in (DATA / "real").rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    images = [open_image(path) for path in files[:: options.every]]
    turned = [np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1]) for image in images]
    for name, (peer, package) in PEERS.items():
        if find_spec(package) is None:
            print(f"{name}: {package} is not installed")
            continue
        read = peer()
        read(turned[0])
        started = time.perf_counter()
        wanted = [read(image) for image in turned]
        theirs = time.perf_counter() - started
        for engine in options.engine or ["onnx", "torch"]:
            reader = LineReader.load(name, device="cpu", config=PredictConfig(engine=engine, threads=2))
            reader.recognize(images[:1])
            started = time.perf_counter()
            found = [reading.text for reading in reader.recognize(images)]
            ours = time.perf_counter() - started
            same = sum(one == two for one, two in zip(wanted, found, strict=True))
            rates = f"{len(found) / ours:.1f} lines/s, RapidOCR {len(found) / theirs:.1f}"
            print(f"{name} {engine}: {same} of {len(found)} texts are RapidOCR's; {rates}")
            for image, one, two in zip(images, wanted, found, strict=True):
                if one != two:
                    print(f"  {getattr(image, 'filename', '')} {one!r} -> {two!r}")


if __name__ == "__main__":
    main()
