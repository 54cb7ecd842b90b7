"""Lines of pages in JSON: of PPOCRLabel, LabelMe and X-AnyLabeling, Label Studio, and of `ocrcc predict`."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ocrcc.annotations.entries import MALFORMED, BadLabelError, Entry, Problem, make_entry, malformed
from ocrcc.annotations.names import IMAGE_NAME, TEXT_COLUMNS, pick
from ocrcc.encodings import open_text
from ocrcc.errors import DataError
from ocrcc.files import is_there, read_small
from ocrcc.outlines import clockwise, rectangle, turned
from ocrcc.types import Outline, Points

_UNREAD = {"TEMPORARY", "待识别", "锁定框：待检测"}  # PPOCRLabel's words for what nobody has read yet
_CLASS_NAMES = {"text", "ocr", "line", "textline", "text_line", "word", "文本", "文字"}
_IMAGE_KEYS = ("ocr", "image", "img", "image_url", "url", "captioning", "page")
_SIZE_KEYS = ("original_width", "original_height", "image_rotation")
_LINES = '"lines"'
_FARTHEST = 1e9  # pixels, or hundredths of a side
_MOST = 1 << 28  # bytes of a file that is parsed as a whole


def load_json(path: Path, encoding: str = "auto") -> Any:
    """Parse a JSON file as a whole.

    Raises:
        DataError: It cannot be read, or is no JSON.
    """
    return _parsed(path, _decoded(path, encoding))


def _parsed(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged JSON: {error}") from None


def _decoded(path: Path, encoding: str) -> str:
    raw = read_small(path, _MOST)
    try:
        return raw.decode("utf-8-sig" if encoding in ("auto", "utf-8") else encoding)
    except UnicodeError:  # older tools write what Windows is set to
        codec = open_text(path, encoding).encoding
    try:
        return raw.decode(codec)
    except UnicodeError as error:
        raise DataError(f"{path}: not {codec.upper()}: {error}") from None


def read_ppocrlabel(images: Path, line: str, where: str) -> Iterator[Entry | Problem]:
    """Read a line of PPOCRLabel's ``Label.txt`` or of PaddleOCR's labels for detection: image, tab, boxes.

    Raises:
        BadLabelError: It is not that.
    """
    name, _, written = line.partition("\t")
    try:
        boxes = json.loads(written)
    except (ValueError, RecursionError) as error:
        raise BadLabelError("not JSON", f": {error}") from None
    if not isinstance(boxes, list):
        raise BadLabelError("not a list of boxes")
    for number, box in enumerate(boxes, start=1):
        at = f"{where} (box {number})"
        try:
            if not isinstance(box, dict):
                raise BadLabelError("not a box")
            text = text_of(box.get("transcription"))
            if box.get("difficult") is True or text == "###":
                raise BadLabelError("marked as illegible")
            if text in _UNREAD:
                raise BadLabelError("not read by anybody yet")
            points = points_of(box.get("points"))
            yield make_entry(images, name, text, at, outline=Outline(points, ordered=clockwise(points)))
        except MALFORMED as error:
            yield malformed(at, error)


def page_of_readings(line: str) -> Mapping[str, Any] | None:
    """Return a page that `ocrcc predict --format json` wrote, with its lines; None for anything else."""
    if _LINES not in line:
        return None
    try:
        page = json.loads(line)
    except (ValueError, RecursionError):
        return None
    found = isinstance(page, dict) and isinstance(page.get("path"), str) and isinstance(page.get("lines"), list)
    return page if found and "text" not in page else None


def read_page_of_readings(images: Path, page: Mapping[str, Any], where: str) -> Iterator[Entry | Problem]:
    """Read the lines of such a page, whose texts somebody has corrected."""
    for number, line in enumerate(page["lines"], start=1):
        at = f"{where} (line {number})"
        try:
            if not isinstance(line, dict):
                raise BadLabelError("not a line")
            size = size_of(page.get("width"), page.get("height"))
            outline = Outline(points_of(line.get("box")), size=size, ordered=True)
            yield make_entry(images, page["path"], text_of(line.get("text")), at, outline=outline)
        except MALFORMED as error:
            yield malformed(at, error)


def read_labelme(path: Path, images: Path, encoding: str) -> Iterator[Entry | Problem]:
    """Read a file of LabelMe or X-AnyLabeling: texts are descriptions, or else the shapes' labels."""
    document = load_json(path, encoding)
    name = str(document.get("imagePath") or f"{path.stem}.png")
    size = size_of(document.get("imageWidth"), document.get("imageHeight"))
    shapes = list(document["shapes"])
    described = any(shape.get("description") or shape.get("text") for shape in shapes if isinstance(shape, dict))
    entries = []
    for number, shape in enumerate(shapes, start=1):
        where = f"{path} (shape {number})"
        try:
            if not isinstance(shape, dict):
                raise BadLabelError("not a shape")
            text = text_of(shape.get("description") or shape.get("text") or ("" if described else shape.get("label")))
            if shape.get("difficult") is True:
                raise BadLabelError("marked as illegible")
            if not described and text.casefold() in _CLASS_NAMES:
                raise BadLabelError("not read by anybody yet")
            outline = Outline(*_labelme_outline(shape), size=size, ordered=_is_box(shape))
            entries.append(make_entry(images, name, text.strip("\r\n"), where, outline=outline, anywhere=True))
        except MALFORMED as error:
            entries.append(malformed(where, error))
    image = None
    if any(isinstance(entry, Entry) and not is_there(entry.path) for entry in entries):
        image = _embedded(document.get("imageData"))
    for entry in entries:
        embed = image is not None and isinstance(entry, Entry)
        yield Entry(entry.path, entry.text, entry.where, entry.outline, image) if embed else entry  # type: ignore[union-attr]


def _is_box(shape: Mapping[str, Any]) -> bool:
    kind, points = shape.get("shape_type"), points_of(shape.get("points"))
    return kind == "rectangle" or (len(points) == 4 and clockwise(points))


def _labelme_outline(shape: Mapping[str, Any]) -> tuple[Points]:
    kind, points = shape.get("shape_type", "polygon"), points_of(shape.get("points"))
    if kind == "rectangle" and len(points) >= 2:
        across, down = [x for x, _ in points], [y for _, y in points]
        return (rectangle(min(across), min(down), max(across), max(down)),)
    if kind not in ("polygon", "rotation", "quadrilateral", None) or len(points) < 3:
        raise BadLabelError(f"a {kind} outlines no line")
    return (points,)


def _embedded(data: Any) -> bytes | None:
    try:
        return base64.b64decode(data, validate=False) if isinstance(data, str) and data else None
    except (binascii.Error, ValueError):
        return None


def read_label_studio(path: Path, images: Path, encoding: str) -> Iterator[Entry | Problem]:
    """Read Label Studio's export, of the kind JSON, JSON-MIN, CSV or TSV, or what it keeps of one annotation."""
    for number, task in enumerate(_tasks(path, encoding), start=1):
        where = f"{path} (task {task.get('id', number)})" if isinstance(task, dict) else f"{path} (task {number})"
        try:
            if not isinstance(task, dict):
                raise BadLabelError("not a task")
            if "annotations" in task or "completions" in task:
                yield from _task(task, images, where)
            else:
                yield from _minimal_task(task, images, where)
        except MALFORMED as error:  # the other tasks are read
            yield malformed(where, error)


def _tasks(path: Path, encoding: str) -> list[Any]:
    text = _decoded(path, encoding)
    if text.lstrip()[:1] not in ("[", "{"):
        delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
        try:  # rows end as csv has it: Unicode's other line ends are part of a text
            rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
        except csv.Error as error:
            raise DataError(f"{path}: damaged table: {error}", "export it as JSON") from None
        return [{key: _cell(value) for key, value in row.items() if key} for row in rows]
    found = _parsed(path, text)
    if isinstance(found, dict) and "result" in found:  # one annotation, with its task
        task = found.get("task")
        found = {"annotations": [found], "data": task.get("data") if isinstance(task, dict) else None}
    return found if isinstance(found, list) else [found]


def _cell(value: Any) -> Any:
    """Return what a cell of a table holds: a list, as of boxes or of texts, or a text."""
    try:
        return json.loads(value) if isinstance(value, str) and value[:2] in ("[{", '["') else value
    except (ValueError, RecursionError):
        return value


def _task(task: Mapping[str, Any], images: Path, where: str) -> Iterator[Entry | Problem]:
    made = task.get("annotations") or task.get("completions") or []
    made = [one for one in made if isinstance(one, dict) and not one.get("was_cancelled")]
    if not made:
        raise BadLabelError("nobody has labelled it yet")
    chosen = next((one for one in made if one.get("ground_truth")), made[-1])
    name = _image_of(task.get("data") or {})
    regions: dict[str, dict[str, Any]] = {}
    whole = []  # texts of an image that is a line
    for result in chosen.get("result") or []:
        value = result.get("value") if isinstance(result, dict) else None
        if isinstance(value, dict) and ("x" in value or "points" in value):
            region = regions.setdefault(str(result.get("id", len(regions))), {})
            region |= {key: result[key] for key in _SIZE_KEYS if key in result} | value
        elif isinstance(value, dict) and "text" in value:
            whole.append(value["text"])
    if whole and not regions:
        yield _line(whole[0] if len(whole) == 1 else whole, name, images, where)
    for number, region in enumerate(regions.values(), start=1):
        yield _region(region, region.get("text"), name, images, f"{where}, region {number}")


def _minimal_task(task: Mapping[str, Any], images: Path, where: str) -> Iterator[Entry | Problem]:
    """Read a task that names its parts as its labelling page does: boxes here, texts there, in the same order."""
    lists = {key: value for key, value in task.items() if isinstance(value, list) and value}
    shaped = [value for value in lists.values() if isinstance(value[0], dict) and {"x", "points"} & set(value[0])]
    texts = next((value for value in lists.values() if all(isinstance(one, str) for one in value)), None)
    written = {key: value for key, value in task.items() if isinstance(value, str)}
    if texts is None and (key := pick(written, TEXT_COLUMNS)) is not None:
        texts = [written[key]]
    if texts and not shaped:
        yield _line(texts, _image_of(task), images, where)
        return
    if not shaped:
        raise BadLabelError("nobody has labelled it yet")
    boxes = max(shaped, key=lambda value: any("text" in one for one in value))
    if texts is not None and len(texts) != len(boxes):
        raise BadLabelError("not as many texts as boxes", f": {len(texts)} and {len(boxes)}; export as JSON")
    for number, box in enumerate(boxes):
        text = texts[number] if texts is not None else box.get("text")
        yield _region(box, text, _image_of(task), images, f"{where}, region {number + 1}")


def _line(text: Any, name: str, images: Path, where: str) -> Entry | Problem:
    """Make an entry of an image that is a line itself."""
    return make_entry(images, name, _joined(text).strip("\r\n"), where, anywhere=True)


def _joined(text: Any) -> str:
    return "\n".join(map(text_of, text)) if isinstance(text, list) else text_of(text)


def _region(region: Mapping[str, Any], text: Any, name: str, images: Path, where: str) -> Entry | Problem:
    try:
        size = size_of(region.get("original_width"), region.get("original_height"))
        if size is None:
            raise BadLabelError("its image's size is not given")
        if angle := region.get("image_rotation"):  # places are then those of the turned image
            raise BadLabelError("its image was turned", f" by {angle} degrees while it was labelled")
        points = _percent_points(region, size)
        outline = Outline(points, size=size, ordered="points" not in region)
        return make_entry(images, name, _joined(text).strip("\r\n"), where, outline=outline, anywhere=True)
    except BadLabelError as error:
        return malformed(where, error)


def _percent_points(region: Mapping[str, Any], size: tuple[float, float]) -> Points:
    """Return corners in pixels; Label Studio has hundredths of the sides, turned around the upper left corner."""
    wide, high = size[0] / 100, size[1] / 100
    if "points" in region:
        return tuple((x * wide, y * high) for x, y in points_of(region["points"]))
    left, top, width, height = (_number(region.get(key)) for key in ("x", "y", "width", "height"))
    x, y = left * wide, top * high
    return turned(rectangle(x, y, x + width * wide, y + height * high), _number(region.get("rotation", 0)), (x, y))


def _image_of(data: Mapping[str, Any]) -> str:
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    named = [texts[key] for key in _IMAGE_KEYS if key in texts]
    return next((text for text in (*named, *texts.values()) if IMAGE_NAME.fullmatch(text)), (*named, "")[0])


def text_of(value: Any) -> str:
    """Return a text; empty where there is none.

    Raises:
        BadLabelError: It is something else.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadLabelError("its text is no string")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_FARTHEST <= value <= _FARTHEST:
        raise BadLabelError("its place is no number")
    return float(value)


def size_of(width: Any, height: Any) -> tuple[float, float] | None:
    """Return the size of an image, where both sides are known."""
    sides = (width, height)
    known = all(isinstance(s, int | float) and not isinstance(s, bool) and 0 < s <= _FARTHEST for s in sides)
    return (float(width), float(height)) if known else None


def points_of(written: Any) -> Points:
    """Return the points of a list of pairs.

    Raises:
        BadLabelError: It is something else.
    """
    if not isinstance(written, list) or not all(isinstance(point, list) and len(point) >= 2 for point in written):
        raise BadLabelError("its outline is no list of points")
    return tuple((_number(point[0]), _number(point[1])) for point in written)
