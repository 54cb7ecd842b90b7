"""PP-OCR's recognisers as Transformers saves them, behind the face of our own: to read, to train and to give back.

A folder of `save_pretrained` has a configuration, an image processor with the charset, and weights. Their architecture
is kept as data, as that of an ONNX file is: Transformers builds it again, of the few kinds that are named here, and
never with code that came along.
"""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ocrcc.charset import Charset, load_charset
from ocrcc.config import ImportConfig, Preprocessing
from ocrcc.errors import CharsetError, ConfigError, DataError, ModelError
from ocrcc.files import read_small
from ocrcc.models.contract import charset_of_classes
from ocrcc.models.encoders import Through
from ocrcc.models.recognizer import Recognizer, with_frames
from ocrcc.models.registry import MODELS, graph_name, register_graph

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG, PROCESSOR, WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"
_KINDS = ("pp_ocrv5_mobile_rec", "pp_ocrv5_server_rec", "pp_ocrv6_small_rec", "pp_ocrv6_tiny_rec")
_BACKBONES = ("pp_lcnet_v3", "pp_lcnet_v4", "hgnet_v2")
_PROCESSORS = ("PPOCRV5ServerRecImageProcessor", "PPOCRV6SmallRecImageProcessor")
"""Those of the recognisers; the last one turns RGB into BGR and resizes as OpenCV does, the first does neither."""
_MOST_LAYERS, _MOST_CHANNELS = 100, 100_000
_CHARACTERS = "character_list"


class TransformersBackbone(nn.Module):
    """A recogniser of Transformers up to its last layer.

    Args:
        config: What its ``config.json`` says.
        stride: Pixels a frame.

    Attributes:
        width_stride: Pixels a frame.
        feature_width: D.
    """

    def __init__(self, config: dict[str, Any], stride: int) -> None:
        super().__init__()
        self.model: Any = _build({**config, "head_out_channels": 1})
        last = _last_layer(self.model)
        head: Any = self.model.get_submodule(last)
        self.width_stride = stride
        self.feature_width: int = head.in_features
        self.model.set_submodule(last, nn.Identity())

    def forward(self, images: Tensor) -> Tensor:
        """Turn images (N, K, H, W) into features (N, T, D); the model's own forward goes on to probabilities."""
        frames, head = self.model.model(images).last_hidden_state, self.model.head
        if hasattr(head, "encoder"):
            return head.encoder(frames).last_hidden_state
        frames = head.act_fn(head.norm1(head.conv1(frames.squeeze(2))))
        frames = head.act_fn(head.norm2(head.conv2(frames)))
        return head.fc1(frames.transpose(1, 2))


def _last_layer(model: PreTrainedModel) -> str:
    return "head.head" if hasattr(model.head, "encoder") else "head.fc2"


def _build(config: dict[str, Any]) -> PreTrainedModel:
    """Make a model of a configuration that `_checked` passed.

    Raises:
        ConfigError: Transformers is not installed, or too old.
        ModelError: It cannot be made.
    """
    transformers = _transformers()
    try:
        return transformers.AutoModelForTextRecognition.from_config(_config(config))
    except Exception as error:  # its checks of configurations have no common base
        raise ModelError(f"Transformers cannot make it: {str(error).strip().splitlines()[-1]}") from None


def _config(settings: dict[str, Any]) -> Any:
    """Make Transformers' own of a configuration; a copy, since it takes parts out."""
    return _transformers().AutoConfig.for_model(**copy.deepcopy(settings))


def _transformers() -> Any:
    try:
        import transformers

        transformers.AutoModelForTextRecognition  # noqa: B018 - younger than the package
    except (ImportError, AttributeError):
        raise ConfigError(
            "a recogniser of Transformers needs the package transformers", 'pip install "ocrcc[transformers]"'
        ) from None
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def is_saved_by_transformers(path: Path) -> bool:
    """Tell weights that lie beside the configuration of one of Transformers' models."""
    return path.name == WEIGHTS and (path.parent / CONFIG).is_file()


def import_transformers(
    path: Path, config: ImportConfig | None = None
) -> tuple[Recognizer, str, Charset, Preprocessing]:
    """Make a recogniser of a folder that Transformers saved.

    Args:
        path: Its ``model.safetensors``.
        config: What it does not say of itself, which is its charset at most.

    Returns:
        The recogniser, its name in the registry, what its classes mean, and what its input looks like.

    Raises:
        ConfigError: Transformers is not installed, or something is given that the folder says itself.
        CharsetError: Its charset is missing or does not fit.
        ModelError: It is damaged, or no CTC recogniser of text lines.
    """
    folder, config = path.parent, config or ImportConfig()
    config.check_only("charset", path=folder)
    settings = _checked(_read(folder / CONFIG), folder / CONFIG)
    _transformers()
    processor = _read(folder / PROCESSOR)
    symbols = processor.pop(_CHARACTERS, None) or []
    charset = _charset(symbols, settings["head_out_channels"], config, folder)
    preprocessing = _preprocessing(processor, folder / PROCESSOR)
    model = _load(folder, settings)
    last: Any = model.get_submodule(_last_layer(model))
    head = {"head.weight": last.weight.detach().clone(), "head.bias": last.bias.detach().clone()}
    stride = _stride(model, preprocessing)
    graph = json.dumps({"config": settings, "processor": processor, "stride": stride}, sort_keys=True).encode()
    arch = register_transformers(graph, graph_name("transformers", folder.resolve().name, graph))
    recognizer = Recognizer(*MODELS[arch].build(preprocessing), charset.num_classes)
    body = {
        f"backbone.model.{name}": value
        for name, value in model.state_dict().items()
        if not name.startswith(_last_layer(model) + ".")
    }
    recognizer.load_state_dict(body | head)
    return recognizer.eval(), arch, charset, preprocessing


def register_transformers(graph: bytes, arch: str) -> str:
    """Enter the architecture of a folder that Transformers saved.

    Args:
        graph: JSON of its configuration, its image processor and its stride.
        arch: Its name, ``transformers/NAME@DIGEST``.

    Raises:
        ModelError: It is damaged, or the name is another graph's.
    """
    try:
        found = json.loads(graph)
        settings, stride = _checked(found["config"], Path(arch)), found["stride"]
        _preprocessing(found["processor"], Path(arch))
        if type(stride) is not int or not 1 <= stride <= 64:
            raise TypeError(f"a stride of {stride!r}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"its configuration is damaged: {error}") from None

    def build(_: Preprocessing) -> tuple[nn.Module, nn.Module]:
        backbone = TransformersBackbone(settings, stride)
        return backbone, Through(backbone.feature_width)

    return register_graph(arch, graph, "Saved by Transformers.", build)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_small(path))
        if not isinstance(found, dict):
            raise ValueError("not an object")
    except DataError as error:
        raise ModelError(error.message, f"save_pretrained makes {CONFIG}, {PROCESSOR} and {WEIGHTS}") from None
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: damaged: {error}") from None
    return found


def _checked(config: Any, path: Path) -> dict[str, Any]:
    """Return what a configuration says of the architecture, if it is one that is known here, and of sound size."""
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in _KINDS:
        raise ModelError(
            f"{path}: a model of the kind {kind!r}, no CTC recogniser of text lines", f"such are {', '.join(_KINDS)}"
        )
    backbone = config.get("backbone_config")
    if not isinstance(backbone, dict) or backbone.get("model_type") not in _BACKBONES or config.get("backbone"):
        raise ModelError(f"{path}: its backbone is none of {', '.join(_BACKBONES)}")
    if config.get("quantization_config"):
        raise ModelError(f"{path}: its weights are quantised, which cannot be trained", "take those it was made of")
    if type(config.get("head_out_channels")) is not int:
        raise ModelError(f"{path}: does not say how many classes it has")
    for key in ("depth", "stage_num_blocks", "stage_numb_of_layers"):
        if max(_numbers([config.get(key), backbone.get(key)]), default=0) > _MOST_LAYERS:
            raise ModelError(f"{path}: its {key} is more than {_MOST_LAYERS}")
    if max(_numbers(config), default=0) > _MOST_CHANNELS:
        raise ModelError(f"{path}: has a number larger than {_MOST_CHANNELS}")
    left_out = ("auto_map", "dtype", "torch_dtype", "architectures", "transformers_version", "_name_or_path")
    return {key: value for key, value in config.items() if key not in left_out}


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for one in value for number in _numbers(one)]
    return [value] if type(value) in (int, float) else []


def _charset(symbols: list[str], classes: int, config: ImportConfig, folder: Path) -> Charset:
    """Name the classes; the list that the image processor has starts with the blank."""
    if config.charset:
        chars = list(load_charset(config.charset, in_class_order=True))
    elif isinstance(symbols, list) and symbols:
        chars = [str(symbol) for symbol in symbols[1:]]
    else:
        raise CharsetError(f"{folder / PROCESSOR}: has no {_CHARACTERS}", "--charset FILE, one character a line")
    return charset_of_classes(chars, classes, folder.resolve().name, folder)


def _preprocessing(processor: dict[str, Any], path: Path) -> Preprocessing:
    kind = str(processor.get("image_processor_type")).removesuffix("Fast")
    if kind not in _PROCESSORS:  # Transformers has much of which a stranger should not choose
        raise ModelError(f"{path}: an image processor of the kind {kind!r}, not {' or '.join(_PROCESSORS)}")
    if off := [name for name in ("do_resize", "do_rescale", "do_normalize", "do_pad") if processor.get(name) is False]:
        raise ModelError(f"{path}: its {off[0]} is off, and all of these recognisers' lines are prepared so")
    size, opencv = processor.get("size", {}), kind == _PROCESSORS[-1]
    try:
        return Preprocessing(
            height=size["height"],
            channels=3,
            mean=tuple(processor["image_mean"]),
            std=tuple(processor["image_std"]),
            polarity="keep",
            width_step=1,
            min_width=size["width"],
            max_width=processor.get("max_image_width", 3200),
            colour_order="bgr" if opencv else "rgb",
            resize="paddle" if opencv else "triangle",
            looks=False,
        )
    except (KeyError, TypeError) as error:
        raise ModelError(f"{path}: damaged: {error}") from None
    except ConfigError as error:
        raise ModelError(f"{path}: {error.message}") from None


def _load(folder: Path, settings: dict[str, Any]) -> PreTrainedModel:
    """Load the whole model as Transformers does, but for what it would make up."""
    transformers = _transformers()
    try:
        model, told = transformers.AutoModelForTextRecognition.from_pretrained(
            str(folder),
            config=_config(settings),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            dtype=torch.float32,
        )
    except Exception as error:  # of many kinds
        raise ModelError(f"{folder / WEIGHTS}: cannot be loaded: {str(error).strip().splitlines()[0]}") from None
    wrong = [*(f"lacks {name}" for name in told["missing_keys"]), *(f"has {one}" for one in told["unexpected_keys"])]
    if wrong:
        raise ModelError(f"{folder / WEIGHTS}: its weights do not fit its configuration: {'; '.join(wrong[:3])}")
    return model.eval()


def _stride(model: PreTrainedModel, preprocessing: Preprocessing) -> int:
    width = max(preprocessing.min_width, 320)
    with torch.no_grad():
        frames = model(torch.zeros(1, 3, preprocessing.height, width)).last_hidden_state.shape[1]
    return round(width / frames)


def original_engine(path: Path) -> Any:
    """Read as the original does, its own forward and all; log-probabilities stand for logits.

    Args:
        path: The folder's ``model.safetensors``.
    """
    settings = _checked(_read(path.parent / CONFIG), path.parent / CONFIG)
    model = _load(path.parent, settings)

    def read(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        kept: list[Tensor] = []
        hook = model.get_submodule(_last_layer(model)).register_forward_hook(lambda _m, _i, out: kept.append(out))
        with torch.inference_mode(), hook:
            model(torch.from_numpy(images))
        stride = round(images.shape[3] / kept[0].shape[1])
        logits = with_frames(kept[0], math.ceil(images.shape[3] / stride)).numpy()
        return logits, logits

    return read


def save_back(recognizer: Recognizer, arch: str, charset: Charset, folder: Path) -> None:
    """Write a folder as `save_pretrained` does: configuration, weights, and the image processor with the charset.

    Args:
        recognizer: Made by `import_transformers`, or of such a model.
        arch: Its registry name.
        charset: Its charset.
        folder: Where to; it is there.
    """
    transformers = _transformers()
    found = json.loads(MODELS[arch].graph)
    model = _build({**found["config"], "head_out_channels": charset.num_classes})
    last = _last_layer(model)
    state = {
        name.removeprefix("backbone.model."): value
        for name, value in recognizer.state_dict().items()
        if name.startswith("backbone.model.")
    }
    state |= {f"{last}.{name}": getattr(recognizer.head, name).detach() for name in ("weight", "bias")}
    model.load_state_dict(state)
    model.save_pretrained(str(folder))
    kind = found["processor"].pop("image_processor_type").removesuffix("Fast")  # one of _PROCESSORS
    processor = getattr(transformers, kind)(**found["processor"])
    processor.character_list = ["blank", *charset.symbols]
    processor.save_pretrained(str(folder))
