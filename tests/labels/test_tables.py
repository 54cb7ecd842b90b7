"""Lists and tables as programs write them: quotes, line ends, marks, and what lies beside them."""

from __future__ import annotations

import json

import pytest
from drawn_lines import png
from PIL import Image
from read_labels import problems, read

from ocrcc.annotations.entries import Entry
from ocrcc.config import BuildConfig
from ocrcc.datasets.build import build_lmdb
from ocrcc.errors import DataError
from ocrcc.labels.find import find_labels
from ocrcc.types import Outline

EASYOCR = 'filename,words\na.png,hello\nb.png,Hello, world\nc.png,"quoted" word\nd.png,5" pipe\ne.png,"all"\n'


def test_easyocr_cuts_at_the_first_comma(tmp_path):
    (tmp_path / "labels.csv").write_text(EASYOCR)
    assert [entry.text for entry in read(tmp_path / "labels.csv")] == [
        *("hello", "Hello, world", '"quoted" word', '5" pipe', '"all"')
    ]
    (tmp_path / "labels.csv").write_text(
        'filename,words\na.png,"Hello, world"\nb.png,"a ""b"""\nc.png,"so"\nd.png,1,2\n'
    )
    found = read(tmp_path / "labels.csv")
    assert [entry.text for entry in found if isinstance(entry, Entry)] == ["Hello, world", 'a "b"', "so"]
    assert problems(found) == ["labels.csv:5: another number of columns than the header: 3, not 2; "
                               "a text with ',' needs quotes"]  # fmt: skip


@pytest.mark.parametrize("delimiter", ["\t", ",", ";"])
@pytest.mark.parametrize("header", ['"file_name"{}"text"\n', ""])
def test_cells_may_all_be_quoted(tmp_path, delimiter, header):
    if delimiter == ";" and not header:
        pytest.skip("a table of semicolons needs its header")
    rows = f'"a.png"{delimiter}"plain"\n"b.png"{delimiter}"a ""b"", c"\n'
    (tmp_path / "labels.txt").write_text(header.format(delimiter) + rows)
    assert [(entry.path.name, entry.text) for entry in read(tmp_path / "labels.txt")] == [
        ("a.png", "plain"),
        ("b.png", 'a "b", c'),
    ]


def test_a_table_of_readings_says_where_on_its_page_a_text_stands(tmp_path):
    rows = "page.png\tone\t0.9\t10,20 90,20 90,40 10,40\npage.png\ttwo\t0.9\t8,60 90,55 92,75 10,80\n"
    (tmp_path / "read.tsv").write_text(f"path\ttext\tconfidence\tbox\n{rows}line.png\tthree\t0.9\t\n")
    found = [
        (entry.path.name, entry.text, entry.outline and entry.outline.polygon) for entry in read(tmp_path / "read.tsv")
    ]
    assert found == [
        ("page.png", "one", ((10, 20), (90, 20), (90, 40), (10, 40))),
        ("page.png", "two", ((8, 60), (90, 55), (92, 75), (10, 80))),
        ("line.png", "three", None),
    ]


def test_a_page_of_json_says_where_its_texts_stand(tmp_path):
    box = [[10, 20], [90, 20], [90, 40], [10, 40]]
    bad = [{"text": "two", "box": "1,2"}, {"text": 3, "box": box}, {"text": "", "box": box}, "four"]
    pages = [
        {
            "path": "page.png",
            "width": 100,
            "height": 80,
            "lines": [{"text": "one", "confidence": 0.9, "box": box}, *bad],
        },
        {"path": "empty.png", "width": 9, "height": 9, "lines": []},
        {"path": "line.png", "text": 'a text of "lines"', "confidence": 0.9},
        {"path": "gone.png", "error": "no such file"},
    ]
    (tmp_path / "read.json").write_text("".join(json.dumps(page) + "\n" for page in pages))
    found = read(tmp_path / "read.json")
    lines = [(entry.path.name, entry.text, entry.outline) for entry in found if isinstance(entry, Entry)]
    outline = Outline(tuple(map(tuple, box)), size=(100, 80), ordered=True)
    assert lines == [("page.png", "one", outline), ("line.png", 'a text of "lines"', None)]
    assert [problem.partition("; ")[0] for problem in problems(found)] == [
        "read.json:1 (line 2): its outline is no list of points",
        "read.json:1 (line 3): its text is no string",
        "read.json:1 (line 4): the label is empty",
        "read.json:1 (line 5): not a line",
        "read.json:4: no text in it",
    ]


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_table_without_a_header_is_cut_at_the_first_delimiter(tmp_path, delimiter):
    rows = [("a.png", "Hello, world; 3"), ("b b.JPG", "dhi,raj"), ("c.png", '"so"')]
    (tmp_path / "labels.csv").write_text("".join(f"{path}{delimiter}{text}\n" for path, text in rows))
    assert [(entry.path.name, entry.text) for entry in read(tmp_path / "labels.csv")] == rows


def test_empty_cells_and_wide_gaps_are_no_part_of_a_text(tmp_path):
    for content in ("a.png\tx y\t\t\nb.png\tz\t\t\n", "a.png  x y\nb.png   z\n", '"a.png"\tx y\nb.png\tz\n'):
        (tmp_path / "labels.txt").write_text(content)
        assert [(entry.path.name, entry.text) for entry in read(tmp_path / "labels.txt")] == [
            ("a.png", "x y"),
            ("b.png", "z"),
        ]


def test_mjsynth_has_its_texts_in_the_paths(tmp_path):
    (tmp_path / "annotation.txt").write_text(
        "./2425/1/115_Lube_45484.jpg 45484\n./2425/1/114_Spencerian_73323.jpg 73323\n"
    )
    (labels,) = find_labels(tmp_path / "annotation.txt")
    assert labels.format == "mjsynth"
    assert [(entry.path.name, entry.text) for entry in labels] == [
        ("115_Lube_45484.jpg", "Lube"),
        ("114_Spencerian_73323.jpg", "Spencerian"),
    ]


LINES = {"a.png": "己已巳", "b.png": "3,14 x"}


def textarea(text):
    return {"value": {"text": [text]}, "id": "x", "from_name": "transcription", "to_name": "image", "type": "textarea"}


LABEL_STUDIO = [
    {"id": number, "data": {"image": f"/data/upload/1/0123abcd-{path}"}, "annotations": [{"result": [textarea(text)]}]}
    for number, (path, text) in enumerate(LINES.items())
]
JSON = {
    "docTR": ("json", dict(LINES)),
    "MMOCR": ("json", {"metainfo": {"dataset_type": "TextRecogDataset"}, "data_list": [
        {"img_path": path, "instances": [{"text": text}]} for path, text in LINES.items()]}),
    "records": ("json", [{"id": 1, "image": path, "text": text} for path, text in LINES.items()]),
    "Label Studio": ("labelstudio", LABEL_STUDIO),
    "Label Studio, JSON-MIN": ("labelstudio", [
        {"image": f"/data/upload/1/0123abcd-{path}", "id": 1, "transcription": text, "annotator": 1, "annotation_id": 2}
        for path, text in LINES.items()]),
}  # fmt: skip


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("kind", JSON)
def test_lines_in_a_document_of_json(tmp_path, kind, indent):
    format_name, document = JSON[kind]
    (tmp_path / "images").mkdir()
    for name in LINES:
        (tmp_path / "images" / name).write_bytes(png(Image.new("L", (90, 32), 1)))
    (tmp_path / "labels.json").write_text(json.dumps(document, indent=indent, ensure_ascii=False))
    (labels,) = find_labels(tmp_path)
    assert labels.format == format_name
    assert [(str(entry.path), entry.text) for entry in labels] == [
        (str(tmp_path / "images" / name), text) for name, text in LINES.items()
    ]


def test_label_studios_table_of_lines(tmp_path):
    rows = "".join(
        f'7,1,2024-01-01,{number},/data/upload/1/0123abcd-{path},"{text}"\n'
        for number, (path, text) in enumerate(LINES.items())
    )
    (tmp_path / "export.csv").write_text("annotation_id,annotator,created_at,id,image,transcription\n" + rows)
    for name in LINES:
        (tmp_path / name).write_bytes(png(Image.new("L", (90, 32), 1)))
    assert [(entry.path.name, entry.text) for entry in read(tmp_path)] == list(LINES.items())


def test_what_is_wrong_in_a_document_of_json_is_named(tmp_path):
    records = [{"image": "a.png", "text": "x"}, {"image": "b.png"}, {"image": "c.png", "text": 3}, 7]
    (tmp_path / "labels.json").write_text(json.dumps(records))
    found = read(tmp_path / "labels.json")
    assert [entry.text for entry in found if isinstance(entry, Entry)] == ["x"]
    assert [problem.partition("; ")[0] for problem in problems(found)] == [
        "labels.json (line 2): no text in it",
        "labels.json (line 3): its text is no string: '3'",
        "labels.json (line 4): not a JSON object: '7'",
    ]
    boxes = [[0, 0, 9, 9], [0, 0, 9], "x"]
    instances = [{"bbox": box, "text": "x"} for box in boxes] + [{"text": "y", "ignore": True}]
    (tmp_path / "labels.json").write_text(json.dumps({"data_list": [{"img_path": "a.png", "instances": instances}]}))
    assert problems(read(tmp_path / "labels.json")) == [
        "labels.json (line 2): its box is no four numbers",
        "labels.json (line 3): its box is no four numbers",
        "labels.json (line 4): marked as illegible",
    ]


def test_documents_of_json_with_other_types_are_counted(tmp_path):
    shapes = [{"all_points_x": 5, "all_points_y": 6}, "x", {"x": 10**400, "y": 1, "width": 2, "height": 3}]
    regions = [{"shape_attributes": shape, "region_attributes": {"text": "x"}} for shape in shapes]
    (tmp_path / "via.json").write_text(json.dumps({"a.png": {"filename": "a.png", "regions": regions}}))
    assert problems(read(tmp_path / "via.json")) == [
        "via.json (line 1): not as such a file has it",
        "via.json (line 2): not as such a file has it",
        "via.json (line 3): its place is no number",
    ]
    (tmp_path / "coco.json").write_text(json.dumps({"imgs": [], "anns": [{"image_id": 1, "utf8_string": "x"}]}))
    assert problems(read(tmp_path / "coco.json")) == ["coco.json (line 1): its image is not in the file"]
    (tmp_path / "7").write_text(json.dumps({"result": [textarea("x")], "task": 7}))
    assert problems(read(tmp_path / "7")) == ["7 (task 1): the path is empty"]


def test_a_documents_structure_is_no_label(tmp_path):
    structure = json.dumps({"gt_parse": {"text_sequence": "x"}})
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "ground_truth": structure}))
    assert problems(read(tmp_path)) == ["metadata.jsonl:1: the label is a document's structure, not a line's text"]


def test_a_folder_whose_labels_are_called_otherwise_is_told_so(tmp_path):
    (tmp_path / "train_list.txt").write_text("a.png\tx\n")
    with pytest.raises(DataError) as raised:
        find_labels(tmp_path)
    assert str(tmp_path / "train_list.txt") in raised.value.hint


def test_line_ends_of_every_system_and_marks_between_files(tmp_path):
    want = [("a.png", "hello"), ("b.png", "wörld")]
    for content in (
        "a.png\thello\r\r\nb.png\twörld\r\r\n",
        "a.png\thello\rb.png\twörld\r",
        "\ufeffa.png\thello\n\ufeffb.png\twörld",
    ):
        (tmp_path / "labels.txt").write_bytes(content.encode())
        assert [(entry.path.name, entry.text) for entry in read(tmp_path / "labels.txt")] == want


def test_what_other_programs_leave_in_passing_is_passed_over(tmp_path):
    for folder in ("", ".ipynb_checkpoints", "__MACOSX"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "a.jfif").write_bytes(png(Image.new("L", (90, 32), 1)))
        (tmp_path / folder / "a.gt.txt").write_text("x")
    (tmp_path / "._a.jfif").write_bytes(b"\0\5\x16\7")
    assert [(entry.path, entry.text) for entry in read(tmp_path)] == [(tmp_path / "a.jfif", "x")]


def test_hints_fit_the_fault(tmp_path):
    (tmp_path / "labels.txt").write_text("a.png\tx\n")
    with pytest.raises(DataError) as raised:
        build_lmdb([tmp_path / "labels.txt"], tmp_path / "out.lmdb")
    assert "--images DIR" in raised.value.hint
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError) as raised:
        build_lmdb([tmp_path / "labels.txt"], tmp_path / "out.lmdb", BuildConfig(workers=1))
    assert raised.value.hint is None


def test_the_first_row_of_a_table_without_a_header_may_be_the_malformed_one(tmp_path):
    (tmp_path / "gt.csv").write_text('a.png,"1"2",x\nb.png,"3, 4"\nc.png,"5, 6"\n', encoding="utf-8")
    found = read(tmp_path / "gt.csv")
    assert [entry.text for entry in found if isinstance(entry, Entry)] == ["3, 4", "5, 6"]
    (problem,) = problems(found)
    assert problem.startswith("gt.csv:1: quotes that do not match")


def test_a_cell_with_a_line_break_spoils_only_itself(tmp_path):
    rows = 'a.png,"foo\nbar"\nb.png,"1,234.00"\nc.png,"say ""hi"""\nd.png,"two\n\nmore, lines"\ne.png,plain\n'
    for header in ("file,text\n", ""):
        for delimiter in (",", ";"):
            content = header + rows if delimiter == "," else (header + rows).replace(",", ";")
            (tmp_path / "labels.csv").write_text(content)
            found = read(tmp_path / "labels.csv")
            texts = [entry.text for entry in found if isinstance(entry, Entry) and entry.path.name[0] in "abcde"]
            assert texts == [f"1{delimiter}234.00", 'say "hi"', "plain"]
            first = 2 if header else 1
            assert f"labels.csv:{first}: quotes that do not match: a cell with a line break" in problems(found)[0]


def test_a_text_that_was_never_quoted_may_not_begin_with_an_open_quote(tmp_path):
    (tmp_path / "labels.csv").write_text('filename,words\na.png,Hello, world\nb.png,1,2\nc.png,"foo\nd.png,5" pipe\n')
    found = read(tmp_path / "labels.csv")
    assert [entry.text for entry in found if isinstance(entry, Entry)] == ["Hello, world", "1,2", '5" pipe']
    assert problems(found)[0].startswith("labels.csv:4: quotes that do not match")


def test_a_table_whose_texts_are_all_quoted(tmp_path):
    (tmp_path / "labels.csv").write_text('a.png,"say ""hi"""\nb.png,"so"\n')
    assert [entry.text for entry in read(tmp_path / "labels.csv")] == ['say "hi"', "so"]
    (tmp_path / "labels.csv").write_text('a.png;"say ""hi"""\nb.png;"so"\nc.png;plain\n')
    assert [entry.text for entry in read(tmp_path / "labels.csv")] == ['say "hi"', "so", "plain"]


def test_line_ends_of_unicode_are_part_of_a_label_studio_text(tmp_path):
    texts = ["a\u2028b", "c\u0085d", "e\u000cf", "g"]
    rows = "".join(f'7,1,{number},{number}.png,"{text}"\r\n' for number, text in enumerate(texts))
    (tmp_path / "export.csv").write_bytes(("annotation_id,annotator,id,image,transcription\r\n" + rows).encode())
    assert [entry.text for entry in read(tmp_path / "export.csv")] == texts


@pytest.mark.parametrize(
    "first", ['{"image": "a.png", "text": "{x}"}', '{"id": {"n": 1}, "path": "a.png", "gt": "{x}"}']
)
def test_a_list_of_records_may_have_braces_in_its_first(tmp_path, first):
    (tmp_path / "l.json").write_text(f'[{first},\n {{"image": "b.png", "text": "y"}}]')
    (labels,) = find_labels(tmp_path / "l.json")
    assert labels.format == "json"
    assert [entry.text for entry in labels] == ["{x}", "y"]


def test_a_document_in_another_encoding_than_was_named(tmp_path):
    (tmp_path / "l.json").write_bytes('[{"image": "a.png", "text": "ä"}]'.encode("latin-1"))
    (problem,) = problems(read(tmp_path / "l.json", encoding="utf-8"))
    assert problem.startswith("l.json: not UTF-8")
