"""Find the lines of a page: the detector of RapidOCR, which comes with the extra ``page``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from ocrcc.config import PredictConfig
from ocrcc.errors import ConfigError

Detector = Callable[[Image.Image], list[np.ndarray]]
"""From a page to its lines, in any order: (4, 2) float32 corners each, from the upper left one, clockwise."""

INSTALL_PAGE = "pip install 'ocrcc[page]'"
"""What whoever reads pages has to run once."""

_SHRINK = Image.Resampling.BOX
_SLENDEREST = 20  # times its width a page may be long; others are widened, as they would be shrunk to nothing


def load_detector(threads: int = 0, find_side: int = PredictConfig.find_side) -> Detector:
    """Load the detector's model, which lies in its package: nothing is fetched.

    Args:
        threads: CPU threads; 0 lets ONNX Runtime decide.
        find_side: Larger pages are shrunk to it, in pixels, while their lines are looked for.

    Raises:
        ConfigError: The extra is not installed, or its package holds no model for detection.
    """
    try:
        import onnxruntime  # noqa: F401 - RapidOCR asks for it only when it reads its first page
        import rapidocr
    except ImportError as error:
        raise ConfigError(f"finding the lines of a page needs the package {error.name}", INSTALL_PAGE) from None
    models = sorted((Path(rapidocr.__file__).parent / "models").glob("*_det_*.onnx"))
    if not models:
        raise ConfigError("the installed rapidocr holds no model that finds lines", INSTALL_PAGE + " --upgrade")
    find = rapidocr.RapidOCR(
        params={
            "Global.use_cls": False,
            "Global.use_rec": False,
            "Global.log_level": "critical",
            "Global.max_side_len": find_side,
            # Named, or it would be looked for elsewhere, and downloaded.
            "Det.model_path": str(models[0]),
            # Small pages as they are: enlarged, they take ten times as long and their lines are found no better.
            "Det.limit_type": "max",
            "Det.limit_side_len": find_side,
            "EngineConfig.onnxruntime.intra_op_num_threads": threads or -1,
        }
    )

    def detect(page: Image.Image) -> list[np.ndarray]:
        # Shrunk before anything else copies it: a large scan has hundreds of megabytes.
        scale = max(1.0, max(page.size) / find_side)
        small = page if scale == 1 else page.resize([max(1, round(side / scale)) for side in page.size], _SHRINK)
        blue_green_red = np.ascontiguousarray(np.asarray(_widened(small))[..., ::-1])
        boxes = getattr(find(blue_green_red), "boxes", None)
        grown = np.array(page.size) / np.array(small.size)
        corners = [(np.asarray(box, np.float32) * grown).clip(0, page.size) for box in (() if boxes is None else boxes)]
        return [quad for quad in corners if np.ptp(quad, axis=0).min() >= 1]

    return detect


def _widened(page: Image.Image) -> Image.Image:
    least = max(64, max(page.size) // _SLENDEREST)
    if min(page.size) >= least:
        return page.convert("RGB")
    size = (max(page.width, least), max(page.height, least))
    wide = Image.new("RGB", size, page.convert("RGB").resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)))
    wide.paste(page)
    return wide
