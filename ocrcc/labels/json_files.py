"""JSON documents of images and texts: docTR, MMOCR, COCO-Text and its like, VIA, and lists of records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ocrcc.annotations.entries import MALFORMED, BadLabelError, Entry, Problem, make_entry, malformed
from ocrcc.annotations.names import PATH_COLUMNS, TEXT_COLUMNS, pick
from ocrcc.annotations.page_json import load_json, points_of, size_of, text_of
from ocrcc.errors import DataError
from ocrcc.labels.lines import record
from ocrcc.outlines import clockwise, rectangle
from ocrcc.types import Outline

Line = tuple[Any, Any, Outline | None]
"""The image's name, the text, and where on the image it stands."""


def read_json(path: Path, images: Path, encoding: str) -> Iterator[Entry | Problem]:
    """Read a document, whichever of these it is."""
    document = load_json(path, encoding)
    lines, read = _lines_of(document)
    if read is None:
        raise DataError(f"{path}: neither a list nor an object of JSON")
    for number, one in enumerate(lines, start=1):
        where = f"{path} (line {number})"
        try:
            name, text, outline = read(one)
            yield make_entry(images, text_of(name), text_of(text), where, outline=outline, anywhere=True)
        except MALFORMED as error:
            yield malformed(where, error)


def _lines_of(document: Any) -> tuple[list[Any], Callable[[Any], Line] | None]:
    """Return what there is one of for each line, and what reads it."""
    if isinstance(document, list):
        return document, lambda one: (*record(one), None)
    if not isinstance(document, dict):
        return [], None
    if "data_list" in document:
        return [one for image in _each(document["data_list"]) for one in _parts(image, "instances")], _mmocr
    if found := document.get("anns", document.get("annotations")):
        images = _each(document.get("imgs", document.get("images")))
        return _each(found), partial(_coco, images={str(image.get("id")): image for image in images})
    if all(isinstance(value, str) for value in document.values()):
        return list(document.items()), lambda one: (*one, None)
    images = _each(document.get("_via_img_metadata", document))
    return [one for image in images for one in _parts(image, "regions")], _via


def _each(values: Any) -> list[dict[str, Any]]:
    found = list(values.values()) if isinstance(values, dict) else values if isinstance(values, list) else []
    return [one for one in found if isinstance(one, dict)]


def _parts(image: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return an image's parts, each with what is said of the image."""
    return [{**image, **part} for part in _each(image.get(key))]


def _mmocr(one: Mapping[str, Any]) -> Line:
    if one.get("ignore"):
        raise BadLabelError("marked as illegible")
    return one.get("img_path"), one.get("text"), _outline(one, size_of(one.get("width"), one.get("height")))


def _coco(one: Mapping[str, Any], images: Mapping[str, Any]) -> Line:
    image = images.get(str(one.get("image_id")))
    if image is None:
        raise BadLabelError("its image is not in the file")
    texts = one if pick(one, TEXT_COLUMNS) else one.get("attributes") or {}
    text = texts.get(pick(texts, TEXT_COLUMNS) or "")
    if one.get("legibility") == "illegible" or text in ("###", "."):
        raise BadLabelError("marked as illegible")
    size = size_of(image.get("width"), image.get("height"))
    return image.get("file_name"), text, _outline(one, size, long=True)


def _via(one: Mapping[str, Any]) -> Line:
    shape, texts = one.get("shape_attributes") or {}, one.get("region_attributes") or {}
    text = texts.get(pick(texts, TEXT_COLUMNS) or next(iter(texts), ""))
    if "all_points_x" in shape:
        corners = zip(shape["all_points_x"], shape["all_points_y"], strict=False)
        place = {"polygon": [side for corner in corners for side in corner]}
    else:
        place = {"bbox": [shape.get(key) for key in ("x", "y", "width", "height")]}
    return one.get(pick(one, PATH_COLUMNS) or ""), text, _outline(place, None, long=True)


def _outline(place: Mapping[str, Any], size: tuple[float, float] | None, *, long: bool = False) -> Outline | None:
    """Read a polygon, its numbers in a row, or a box: its first corner, and its last or how ``long`` its sides are."""
    for key in ("polygon", "points", "mask", "segmentation"):
        flat = place.get(key)
        flat = flat[0] if isinstance(flat, list) and flat and isinstance(flat[0], list) else flat
        if isinstance(flat, list) and len(flat) >= 6:
            points = points_of([flat[at : at + 2] for at in range(0, len(flat) - 1, 2)])
            return Outline(points, size=size, ordered=clockwise(points))
    box = place.get("bbox")
    if box is None:
        return None
    if not isinstance(box, list) or len(box) != 4:
        raise BadLabelError("its box is no four numbers")
    (left, top), (right, bottom) = points_of([box[:2], box[2:]])
    if long:
        right, bottom = left + right, top + bottom
    return Outline(rectangle(left, top, right, bottom), size=size, ordered=True)
