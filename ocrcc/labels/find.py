r"""Labels as people have them: which image shows which text, in any of the field's formats.

``tab``    ``path<TAB>text``; PaddleOCR's JSON list of images may stand in the place of a path
``space``  ``path text``
``csv``    a header names the columns; commas, semicolons or tabs
``jsonl``  one JSON object a line, also Hugging Face's ``metadata.jsonl``; or a page that ocrcc has read
``icdar``  ``path, "text"``
``mjsynth``  ``path/1_TEXT_2.jpg 2``
``pairs``  ``x.png`` beside ``x.gt.txt`` (or ``x.txt``), in a folder or folders of them
``ppocrlabel``            PPOCRLabel's ``Label.txt``: pages, and the boxes of their lines
``page alto hocr cvat``   pages of Transkribus, eScriptorium, kraken, Tesseract, CVAT; files, or folders of them
``quads``                 ICDAR's ``x1,y1,…,x4,y4,text``; one file a page
``labelme labelstudio``   what LabelMe, X-AnyLabeling and Label Studio write
``json``                  documents of docTR, MMOCR, COCO-Text and VIA, and lists of records
``parquet tar``           images and texts in one file: Parquet, Arrow (Hugging Face's ``datasets``), WebDataset

They are told apart by content, not by suffix.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import get_args

from ocrcc.annotations.entries import MALFORMED, BadLabelError, Entry, Problem, make_entry, malformed
from ocrcc.annotations.names import IMAGE_NAME
from ocrcc.annotations.quads import page_of, read_quads
from ocrcc.encodings import TextFile, known_codec
from ocrcc.errors import ConfigError, DataError, OcrccWarning
from ocrcc.files import is_file, walk
from ocrcc.labels.lines import Format, Table, has_boxes, headless, parse_line, read_header
from ocrcc.labels.pairs import has_pairs, read_pairs, stems_of
from ocrcc.labels.tell import DOCUMENTS, tell_file, tell_text

FORMATS: tuple[str, ...] = ("auto", *get_args(Format))

_LABEL_FILES = (
    *("labels.tsv", "labels.txt", "labels.csv", "labels.jsonl", "label.txt", "label.tsv", "label.csv", "Label.txt"),
    *("metadata.jsonl", "metadata.csv", "gt.txt", "rec_gt.txt", "rec_gt_train.txt", "rec_gt_test.txt"),
)
_PAGES = {"page", "alto", "hocr"}
_NAMED = 5  # of what is passed over
_LOOKED_INTO = 5  # of the .txt of a folder: of pairs there may be a million
_TEXTS = {".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".html", ".htm"}


@dataclass(frozen=True)
class Labels:
    """One label file, or one folder of pairs.

    Iterating reads it, line by line.

    Attributes:
        path: The label file or the folder.
        format: How it is written.
        images: What its paths are relative to.
        encoding: Which codec of Python decodes it; ``auto`` for what tells its own.
        reason: Why this encoding, where it is not plain UTF-8; else empty.
    """

    path: Path
    format: Format
    images: Path
    encoding: str = "auto"
    reason: str = ""

    def __iter__(self) -> Iterator[Entry | Problem]:
        if self.format == "pairs":
            yield from read_pairs(self.path, self.encoding, self.images)
        elif self.format in DOCUMENTS:
            try:
                yield from _read_document(self)
            except DataError as error:  # one file of many: the others are read
                message = error.message.removeprefix(f"{self.path}: ")
                yield Problem(str(self.path), message, "label file that cannot be read")
            except MALFORMED as error:
                yield Problem(str(self.path), malformed("", error).message, "label file that cannot be read")
        else:
            yield from _read_lines(self)

    def count(self) -> int:
        """Return how many entries and problems there are, without reading the images that labels may hold."""
        if self.format == "parquet" and (rows := _parquet_rows(self.path)) is not None:
            return rows
        if self.format in DOCUMENTS or self.format == "pairs":
            return sum(1 for _ in self)
        counted = Entry(self.path, "", "")
        return sum(1 for _ in _read_lines(self, make=lambda *_, **__: counted))


def _parquet_rows(path: Path) -> int | None:
    from ocrcc.labels.records import count_rows

    try:
        return count_rows(path)
    except DataError:
        return None


def find_labels(
    source: Path, *, images: Path | None = None, format: str = "auto", encoding: str = "auto"
) -> list[Labels]:
    """Find the labels that a path stands for, and tell their formats.

    Args:
        source: A label file, a folder with one, with pairs or with files of pages, or a folder of such folders.
        images: What paths are relative to; by default the folder of their label file.
        format: One of `FORMATS`.
        encoding: A codec of Python, or ``auto``.

    Raises:
        ConfigError: There is no such format or codec.
        DataError: There is no such file, it has no labels, or in no known format.
    """
    if format not in FORMATS:
        raise ConfigError(f"unknown label format {format!r}", f"one of {', '.join(FORMATS)}")
    if encoding != "auto":
        encoding = known_codec(encoding)
    if images is not None and not images.is_dir():
        raise DataError(f"{images}: no such folder of images")
    if source.is_dir():
        passed: list[str] = []
        found = list(_in_folder(source, images, format, encoding, passed))
        if not found:
            raise DataError(
                f"{source}: no labels in this folder",
                _named_instead(source)
                or "it needs a labels.tsv (path<TAB>text), metadata.jsonl, PAGE XML, …, or x.gt.txt beside each x.png",
            )
        if len(several := sorted({labels.format for labels in found} & _PAGES)) > 1:
            raise DataError(
                f"{source}: has files of pages as {' and as '.join(several)}, perhaps of the same pages",
                f"say which: --format {several[0]}",
            )
        if passed:
            more = f", … ({len(passed)} in all)" if len(passed) > _NAMED else ""
            told = f"{source}: passed over, name it if it is meant: {', '.join(passed[:_NAMED])}{more}"
            warnings.warn(told, OcrccWarning, stacklevel=2)
        return found
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    if source.name.endswith(".gt.txt") and format in ("auto", "pairs"):
        return [Labels(source, "pairs", images or source.parent, encoding)]
    if format == "pairs":
        raise DataError(f"{source}: pairs are x.png beside x.gt.txt", "give their folder")
    if IMAGE_NAME.fullmatch(source.name):
        raise DataError(f"{source}: an image, not labels", "give a label file or a folder")
    return [_label_file(source, images, format, encoding)]


def _in_folder(folder: Path, images: Path | None, format: str, encoding: str, passed: list[str]) -> Iterator[Labels]:
    """Find label files to any depth, or pages, records or pairs; add what may be labels too to those passed over."""

    def complain(error: OSError) -> None:
        raise DataError(f"{error.filename}: {error.strerror}")

    for parent, folders, files in walk(folder, complain):
        if "data.mdb" in files:
            raise DataError(f"{parent}: an LMDB, not labels", "to put LMDBs together: --merge")
        known = [name for name in _LABEL_FILES if name in files] if format not in ("pairs", *DOCUMENTS) else []
        if "Label.txt" in known and "rec_gt.txt" in known:  # made of the other by PPOCRLabel
            known.remove("rec_gt.txt")
        if len(known) > 1:
            raise DataError(f"{parent}: has {' and '.join(known)}", "name the one you mean instead of the folder")
        documents = [] if known or format not in ("auto", *DOCUMENTS) else _documents(Path(parent), files, format)
        if known:
            yield _label_file(Path(parent, known[0]), images, format, encoding)
            for below, _, names in walk(parent, complain):
                here = () if below == parent else _LABEL_FILES
                passed += [str(Path(below, name)) for name in names if name.endswith(".gt.txt") or name in here]
            folders.clear()  # the images of this label file
            continue
        passed += [f"{Path(parent, name)} (a link)" for name in folders if Path(parent, name).is_symlink()]
        if documents:
            yield from (Labels(path, told, images or path.parent, encoding) for path, told in documents)
            taken = {path.name for path, _ in documents}
            passed += [str(Path(parent, name)) for name in _likely(files, with_image=True) if name not in taken]
        elif format in ("auto", "pairs"):
            place = _images_of(Path(parent), folder, images)
            if has_pairs(files, place):
                yield Labels(Path(parent), "pairs", place, encoding)
            passed += [str(Path(parent, name)) for name in _likely(files, with_image=False)]


def _likely(files: list[str], *, with_image: bool) -> list[str]:
    """Return the tables of a folder, and its texts with an image or, beside others that have one, without."""
    stems = {stem for name in files if IMAGE_NAME.fullmatch(name) for stem in stems_of(name)}
    texts = [name for name in files if name.endswith(".txt") and (with_image or not name.endswith(".gt.txt"))]
    shown = {name for name in texts if name.removesuffix(".txt").removesuffix(".gt") in stems}
    return [
        *(name for name in files if Path(name).suffix.lower() in (".csv", ".tsv", ".jsonl")),
        *(name for name in texts if shown and (name in shown) == with_image),
    ]


def _images_of(parent: Path, source: Path, images: Path | None) -> Path:
    """Return where the images of pairs are: beside them, or where the user says, in folders of the same names."""
    if images is None:
        return parent
    same = images / parent.relative_to(source)
    return same if same.is_dir() else images


def _named_instead(folder: Path) -> str:
    """Say which files may be meant where none is called as label files are; empty if there are no such files."""
    files = [str(Path(parent, name)) for parent, _, names in walk(folder, lambda _: None) for name in names]
    found = [name for name in files if Path(name).suffix.lower() in _TEXTS]
    if not found:
        return ""
    more = ", …" if len(found) > 3 else ""
    return f"none is called as label files are; name the file that is one: {', '.join(found[:3])}{more}"


def _documents(parent: Path, files: list[str], format: str) -> list[tuple[Path, Format]]:
    """Find a folder's files of pages and of records."""
    texts = [name for name in files if name.endswith(".txt") and (format == "quads" or not name.endswith(".gt.txt"))]
    if (texts and format == "quads") or (format == "auto" and (texts := _boxes(parent, files, texts))):
        return [(parent / name, "quads") for name in texts]
    names = [name for name in files if not name.endswith(".txt") and not IMAGE_NAME.fullmatch(name)]
    told = [(parent / name, tell_file(parent / name)) for name in names]
    return [(path, kind) for path, kind in told if kind is not None and format in ("auto", kind)]


def _boxes(parent: Path, files: list[str], texts: list[str]) -> list[str]:
    """Return which of a folder's ``.txt`` are the boxes of pages; those of pages that lie elsewhere too."""
    images = {stem for name in files if IMAGE_NAME.fullmatch(name) for stem in (name, Path(name).stem)}
    beside = {name for name in texts if page_of(Path(name).stem) in images}
    full = (parent / name for name in texts if not beside or name in beside)
    looked = list(islice((path for path in full if is_file(path) and path.stat().st_size), _LOOKED_INTO))
    if 2 * sum(tell_file(path) == "quads" for path in looked) < max(len(looked), 1):
        return []
    return [name for name in texts if name in beside or tell_file(parent / name) == "quads"]


def _label_file(path: Path, images: Path | None, format: str, encoding: str) -> Labels:
    folder = images or path.parent
    told = tell_file(path) if format == "auto" else format
    if told in DOCUMENTS:
        return Labels(path, told, folder, encoding)  # type: ignore[arg-type]
    text, kind = tell_text(path, format, encoding)
    return Labels(path, kind, folder, text.encoding, text.reason)


def _read_document(labels: Labels) -> Iterator[Entry | Problem]:
    match labels.format:
        case "page" | "alto" | "hocr" | "cvat":
            from ocrcc.annotations import page_xml

            read = {"page": page_xml.read_page_xml, "alto": page_xml.read_alto, "hocr": page_xml.read_hocr}
            return read.get(labels.format, page_xml.read_cvat)(labels.path, labels.images)
        case "labelme" | "labelstudio":
            from ocrcc.annotations import page_json

            one = page_json.read_labelme if labels.format == "labelme" else page_json.read_label_studio
            return one(labels.path, labels.images, labels.encoding)
        case "json":
            from ocrcc.labels.json_files import read_json

            return read_json(labels.path, labels.images, labels.encoding)
        case "quads":
            return read_quads(labels.path, labels.images, labels.encoding)
        case _:
            from ocrcc.labels.records import read_parquet, read_tar

            if labels.format == "parquet":
                return read_parquet(labels.path, labels.images)
            return read_tar(labels.path, labels.encoding)


def _read_lines(labels: Labels, *, make: Callable[..., Entry | Problem] = make_entry) -> Iterator[Entry | Problem]:
    """Read a file that has a line for each label; `make_entry` looks for each image, which is a waste for counting."""
    text = TextFile(labels.path, labels.encoding)
    table: Table | None = None
    for number, line in text.lines():
        where = f"{labels.path}:{number}"
        if line is None:
            yield Problem(where, f"not {labels.encoding.upper()}", "line in another encoding")
            continue
        if not line.strip(" \r"):
            continue
        if labels.format == "csv" and table is None:
            table = read_header(text, line, where)
            if not headless(line):
                continue
        try:
            if labels.format in ("tab", "ppocrlabel") and (labels.format == "ppocrlabel" or has_boxes(line)):
                from ocrcc.annotations.page_json import read_ppocrlabel

                yield from read_ppocrlabel(labels.images, line, where)
                continue
            if labels.format == "jsonl":
                from ocrcc.annotations.page_json import page_of_readings, read_page_of_readings

                if (page := page_of_readings(line)) is not None:
                    yield from read_page_of_readings(labels.images, page, where)
                    continue
            rows, outline = parse_line(labels.format, line, table), table.outline(line) if table else None
        except BadLabelError as error:
            yield malformed(where, error)
        else:
            yield from (make(labels.images, path, label, where, outline=outline) for path, label in rows)
