"""Every setting with its one default; the command line and Python read the same classes."""

from ocrcc.config.datasets import KEPT_FOR_TESTS, BuildConfig, LookalikesConfig, SynthConfig
from ocrcc.config.image import ImportConfig, Preprocessing
from ocrcc.config.reading import (
    DEFAULT_MODEL,
    CalibrateConfig,
    EvaluateConfig,
    ExportConfig,
    PredictConfig,
    ProjectConfig,
    ReviewConfig,
)
from ocrcc.config.training import DataConfig, FinetuneConfig, PretrainConfig, TrainConfig, TuneConfig, Unknown

__all__ = [
    "BuildConfig",
    "CalibrateConfig",
    "DEFAULT_MODEL",
    "DataConfig",
    "EvaluateConfig",
    "ExportConfig",
    "FinetuneConfig",
    "KEPT_FOR_TESTS",
    "LookalikesConfig",
    "PredictConfig",
    "ImportConfig",
    "Preprocessing",
    "PretrainConfig",
    "ProjectConfig",
    "ReviewConfig",
    "SynthConfig",
    "TrainConfig",
    "TuneConfig",
    "Unknown",
]
