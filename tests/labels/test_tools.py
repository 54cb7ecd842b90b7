"""What labelling tools write: one page of three lines and what each of them says of it, as its own writer puts it."""

from __future__ import annotations

import base64
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from ocrcc.config import BuildConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.datasets.build import build_lmdb
from ocrcc.errors import DataError
from ocrcc.images.opening import open_image
from ocrcc.labels.entries import Entry, Problem
from ocrcc.labels.find import find_labels

BOXES = ((10, 10, 110, 30), (10, 40, 90, 60), (20, 70, 180, 92))
TEXTS = ("Hello, world", "己已巳", 'say "no" & <go>')
MARKUP = ("Hello, world", "己已巳", "say &quot;no&quot; &amp; &lt;go&gt;")


def quad(box):
    left, top, right, bottom = box
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def chain(points):
    return " ".join(f"{x},{y}" for x, y in points)


def page_xml(version="2019-07-15", image="page.png", extra=""):
    lines = "".join(
        f'<TextLine id="l{number}" custom="readingOrder {{index:{number};}}"><Coords points="{chain(quad(box))}"/>'
        f'<Baseline points="{box[0]},{box[3] - 4} {box[2]},{box[3] - 4}"/>'
        f'<TextEquiv index="1"><Unicode>wrong</Unicode></TextEquiv>'
        f'<TextEquiv index="0" conf="0.9"><PlainText/><Unicode>{text}</Unicode></TextEquiv></TextLine>\n'
        for number, (box, text) in enumerate(zip(BOXES, MARKUP, strict=True))
    )
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
        f'<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/{version}">\n'
        "<Metadata><Creator>Transkribus</Creator></Metadata>\n"
        f'<Page imageFilename="{image}" imageWidth="200" imageHeight="100">\n'
        f'<TextRegion id="r"><Coords points="0,0 199,0 199,99 0,99"/>\n{lines}{extra}</TextRegion></Page></PcGts>\n'
    )


def page_xml_2010():
    text = page_xml("2010-03-19")
    for box in BOXES:
        points = "".join(f'<Point x="{x}" y="{y}"/>' for x, y in quad(box))
        text = text.replace(f'<Coords points="{chain(quad(box))}"/>', f"<Coords>{points}</Coords>")
    return text


def alto(version=4, unit="pixel", scale=1.0, shapes=True, spaces=True):
    lines = []
    for box, text in zip(BOXES, MARKUP, strict=True):
        left, top, right, bottom = (side * scale for side in box)
        place = f'HPOS="{left:.0f}" VPOS="{top:.0f}" WIDTH="{right - left:.0f}" HEIGHT="{bottom - top:.0f}"'
        shape = f'<Shape><Polygon POINTS="{chain(quad(box))}"/></Shape>' if shapes else ""
        gap = '<SP WIDTH="3"/>' if spaces else ""
        strings = gap.join(f'<String CONTENT="{word}" WC="0.9"/>' for word in text.split(" "))
        baseline = f"{box[0]},{box[3] - 4} {box[2]},{box[3] - 4}" if version == 4 else f"{bottom - 4 * scale:.0f}"
        lines.append(f'<TextLine ID="x" {place} BASELINE="{baseline}">{shape}{strings}</TextLine>\n')
    return (
        f'<?xml version="1.0"?>\n<alto xmlns="http://www.loc.gov/standards/alto/ns-v{version}#"><Description>'
        f"<MeasurementUnit>{unit}</MeasurementUnit><sourceImageInformation><fileName>page.png</fileName>"
        f'</sourceImageInformation></Description><Layout><Page WIDTH="{200 * scale:.0f}" HEIGHT="{100 * scale:.0f}" '
        f'ID="p"><PrintSpace><TextBlock ID="b">{"".join(lines)}</TextBlock></PrintSpace></Page></Layout></alto>'
    )


def hocr():
    lines = ""
    for box, text in zip(BOXES, MARKUP, strict=True):
        words = "\n      ".join(
            f'<span class="ocrx_word" title="bbox 1 2 3 4; x_wconf 9">{w}</span>' for w in text.split()
        )
        bounds = " ".join(map(str, box))
        lines += f'<span class="ocr_line" title="bbox {bounds}; baseline 0 -4; x_size 20">\n      {words}\n</span>\n'
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" '
        '"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">\n<html xmlns="http://www.w3.org/1999/xhtml">'
        "<head><meta name='ocr-system' content='tesseract 5.3.0'/></head><body>\n"
        "<div class='ocr_page' id='page_1' title='image \"page.png\"; bbox 0 0 200 100; ppageno 0'>"
        f"<p class='ocr_par'>{lines}</p></div></body></html>"
    )


def ppocrlabel():
    boxes = [
        {"transcription": text, "points": quad(box), "difficult": False, "key_cls": "None"}
        for box, text in zip(BOXES, TEXTS, strict=True)
    ]
    return f"project/page.png\t{json.dumps(boxes, ensure_ascii=False)}\n"


def labelme(**changes):
    shapes = [
        {"label": "text", "description": text, "shape_type": kind, "points": points, "group_id": None, "flags": {}}
        for kind, points, text in (
            ("rectangle", [[10.0, 10.0], [110.0, 30.0]], TEXTS[0]),
            ("polygon", quad(BOXES[1]), TEXTS[1]),
            ("rectangle", quad(BOXES[2]), TEXTS[2]),  # X-AnyLabeling's rectangles have four corners
        )
    ]
    document = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": "page.png", "imageData": None}
    return json.dumps(document | {"imageHeight": 100, "imageWidth": 200} | changes, ensure_ascii=False, indent=2)


def percent(box):
    left, top, right, bottom = box
    return {"x": left / 2, "y": top, "width": (right - left) / 2, "height": bottom - top, "rotation": 0}


def label_studio():
    results = []
    for number, (box, text) in enumerate(zip(BOXES, TEXTS, strict=True)):
        common = {"id": f"r{number}", "original_width": 200, "original_height": 100, "to_name": "image"}
        results += [
            common | {"type": "rectangle", "from_name": "bbox", "value": percent(box)},
            common | {"type": "labels", "from_name": "label", "value": percent(box) | {"labels": ["Text"]}},
            common | {"type": "textarea", "from_name": "transcription", "value": percent(box) | {"text": [text]}},
        ]
    done = {"id": 4, "was_cancelled": False, "ground_truth": False, "result": results}
    skipped = {"id": 5, "was_cancelled": True, "result": []}
    data = {"ocr": "/data/upload/1/0123abcd-page.png"}
    return json.dumps([{"id": 7, "annotations": [done, skipped], "predictions": [], "data": data}])


def label_studio_min():
    boxes = [percent(box) | {"original_width": 200, "original_height": 100} for box in BOXES]
    task = {"ocr": "/data/local-files/?d=scans/page.png", "id": 7, "bbox": boxes, "transcription": list(TEXTS)}
    return json.dumps([task | {"annotator": 1, "annotation_id": 4, "lead_time": 3.2}])


@pytest.fixture
def page(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 200), np.uint8))
    image.save(folder / "page.png")
    return image


WRITERS = {
    "PAGE 2010": ("page.xml", "page", page_xml_2010),
    "PAGE 2013": ("page.xml", "page", lambda: page_xml("2013-07-15")),
    "PAGE 2019": ("page.xml", "page", page_xml),
    "PAGE UTF-16": ("page.xml", "page", lambda: page_xml().replace("UTF-8", "UTF-16").encode("utf-16")),
    "PAGE, prefixed": ("page.xml", "page", lambda: page_xml().replace("<", "<p:").replace("<p:/", "</p:")
                       .replace("<p:?", "<?").replace("xmlns=", "xmlns:p=")),
    "ALTO 2": ("page.xml", "alto", lambda: alto(2, shapes=False)),
    "ALTO 3 in tenths of millimetres": ("page.xml", "alto", lambda: alto(3, "mm10", 10, shapes=False)),
    "ALTO 4": ("page.xml", "alto", alto),
    "ALTO without spaces": ("page.xml", "alto", lambda: alto(spaces=False)),
    "hOCR": ("page.hocr", "hocr", hocr),
    "PPOCRLabel": ("Label.txt", "ppocrlabel", ppocrlabel),
    "LabelMe": ("page.json", "labelme", labelme),
    "Label Studio": ("project-1.json", "labelstudio", label_studio),
    "Label Studio, JSON-MIN": ("project-1.json", "labelstudio", label_studio_min),
}  # fmt: skip


@pytest.mark.parametrize("writer", WRITERS)
def test_pages_are_told_apart_and_cut_into_their_lines(page, tmp_path, writer):
    name, format_name, make = WRITERS[writer]
    content = make()
    file = tmp_path / "project" / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    (told,) = find_labels(tmp_path / "project")
    assert (told.path, told.format) == (file, format_name)
    result = build_lmdb([file], tmp_path / "out.lmdb")
    assert result.skipped == {}
    dataset = LmdbDataset(tmp_path / "out.lmdb")
    assert [dataset.label(index) for index in range(len(dataset))] == list(TEXTS)
    for index, box in enumerate(BOXES):
        assert np.array_equal(np.asarray(dataset.line(index).image), np.asarray(page.crop(box)))
        assert str(file) in dataset.source(index)


def read(path, **options):
    return [entry for labels in find_labels(path, **options) for entry in labels]


def problems(entries):
    return [str(entry).rpartition("/")[2] for entry in entries if isinstance(entry, Problem)]


def test_a_project_of_ppocrlabel_with_what_it_leaves_beside(page, tmp_path):
    boxes = json.loads(ppocrlabel().partition("\t")[2])
    boxes[1]["difficult"] = True
    boxes[2]["transcription"] = "###"
    boxes += [{"transcription": "待识别", "points": quad(BOXES[0])}, {"transcription": "", "points": quad(BOXES[0])}]
    folder = tmp_path / "project"
    content = f'project/page.png\t{json.dumps(boxes)}\nproject/empty.png\t[]\nproject/page.png\t[{{"transcription"\n'
    (folder / "Label.txt").write_text(content)
    (folder / "rec_gt.txt").write_text("crop_img/page_crop_0.jpg\tHello, world\n")
    (folder / "fileState.txt").write_text(f"{folder}/page.png\t1\n")
    found = read(folder)
    assert [entry.text for entry in found if isinstance(entry, Entry)] == [TEXTS[0]]
    assert found[0].path.samefile(folder / "page.png")
    assert problems(found)[:4] == [
        "Label.txt:1 (box 2): marked as illegible",
        "Label.txt:1 (box 3): marked as illegible",
        "Label.txt:1 (box 4): not read by anybody yet",
        "Label.txt:1 (box 5): the label is empty",
    ]
    assert "Label.txt:3: not JSON" in problems(found)[4]
    (labels,) = find_labels(folder / "rec_gt.txt")
    assert labels.format == "tab"


def test_lines_that_cannot_be_cut_are_counted_and_named_and_the_rest_is_built(page, tmp_path):
    outside = (
        '<TextLine><Coords points="500,500 600,500 600,520"/><TextEquiv><Unicode>x</Unicode></TextEquiv></TextLine>\n'
    )
    flat = '<TextLine><Coords points="5,5 50,5"/><TextEquiv><Unicode>x</Unicode></TextEquiv></TextLine>\n'
    empty = '<TextLine><Coords points="5,5 50,5 50,9"/><TextEquiv><Unicode> </Unicode></TextEquiv></TextLine>\n'
    file = tmp_path / "project" / "page.xml"
    file.write_text(page_xml(extra=outside + flat + empty))
    (tmp_path / "project" / "gone.xml").write_text(page_xml(image="gone.png"))
    (tmp_path / "project" / "broken.xml").write_text(page_xml()[:-20])
    (tmp_path / "project" / "mets.xml").write_text('<mets xmlns="http://www.loc.gov/METS/"/>')
    result = build_lmdb([tmp_path / "project"], tmp_path / "out.lmdb")
    assert result.train.lines == 3
    assert result.skipped == {
        "no such image": 3,
        "label file that cannot be read": 1,
        "the line has no outline": 1,
        "the label is empty": 1,
        "line that is not on its image": 1,
    }
    where = {line.partition(": ")[0].rpartition("/")[2] for line in result.skipped_lines}
    assert {"page.xml:9", "page.xml:10", "page.xml:11", "gone.xml:6", "broken.xml"} <= where


def test_images_lie_where_the_tools_put_them(page, tmp_path):
    (tmp_path / "project" / "page").mkdir()  # Transkribus: page/scan.xml beside scan.jpg
    (tmp_path / "project" / "page" / "page.xml").write_text(page_xml())
    assert {entry.path for entry in read(tmp_path / "project")} == {tmp_path / "project" / "page.png"}
    (tmp_path / "project" / "page" / "page.xml").write_text(page_xml(image="").replace("page.png", ""))
    assert {entry.path for entry in read(tmp_path / "project")} == {tmp_path / "project" / "page.png"}
    labels = tmp_path / "elsewhere" / "page.xml"
    labels.parent.mkdir()
    labels.write_text(page_xml(image="C:\\scans\\page.png"))
    assert {entry.path for entry in read(labels, images=tmp_path / "project")} == {tmp_path / "project" / "page.png"}
    (tmp_path / "project" / "alto.xml").write_text(alto())
    with pytest.raises(DataError, match="as alto and as page"):
        find_labels(tmp_path / "project")
    assert len(read(tmp_path / "project", format="alto")) == 3


def test_a_picture_in_the_json_stands_for_one_that_is_not_there(page, tmp_path):
    (tmp_path / "project" / "page.png").rename(tmp_path / "moved.png")
    embedded = base64.b64encode((tmp_path / "moved.png").read_bytes()).decode()
    (tmp_path / "project" / "page.json").write_text(labelme(imageData=embedded))
    result = build_lmdb([tmp_path / "project"], tmp_path / "out.lmdb")
    assert (result.train.lines, result.skipped) == (3, {})


def test_shapes_without_a_text(page, tmp_path):
    document = json.loads(labelme())
    document["shapes"][0]["description"] = ""
    document["shapes"][1] |= {"shape_type": "point", "points": [[1, 2]]}
    (tmp_path / "project" / "page.json").write_text(json.dumps(document))
    assert problems(read(tmp_path / "project")) == [
        "page.json (shape 1): the label is empty",
        "page.json (shape 2): a point outlines no line",
    ]
    for shape in document["shapes"]:
        shape.pop("description")
        shape |= {"label": "本日", "shape_type": "rectangle", "points": [[1, 2], [30, 40]]}
    document["shapes"][0]["label"] = "text"
    (tmp_path / "project" / "page.json").write_text(json.dumps(document))
    found = read(tmp_path / "project")
    assert [entry.text for entry in found if isinstance(entry, Entry)] == ["本日", "本日"]
    assert problems(found) == ["page.json (shape 1): not read by anybody yet"]


def test_a_page_that_was_scaled_or_is_another(page, tmp_path):
    page.resize((400, 200), Image.Resampling.NEAREST).save(tmp_path / "project" / "page.png")
    (tmp_path / "project" / "page.xml").write_text(page_xml())
    build_lmdb([tmp_path / "project"], tmp_path / "twice.lmdb")
    assert LmdbDataset(tmp_path / "twice.lmdb").line(0).image.size == (200, 40)
    page.resize((400, 100)).save(tmp_path / "project" / "page.png")
    with pytest.raises(DataError, match="400 x 100 pixels, but the labels are of an image of 200 x 100"):
        build_lmdb([tmp_path / "project"], tmp_path / "out.lmdb")


def test_entities_of_an_xml_file_are_not_expanded(page, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    declared = f'<!DOCTYPE PcGts [<!ENTITY x SYSTEM "file://{secret}"><!ENTITY y "yyy">]>\n<PcGts'
    for used in ("&x;", "&y;"):
        text = page_xml().replace("<PcGts", declared).replace("Hello, world", used)
        (tmp_path / "project" / "page.xml").write_text(text)
        (problem,) = problems(read(tmp_path / "project"))
        assert "has entities of its own" in problem


def encoded(shade):
    file = io.BytesIO()
    Image.new("L", (90, 32), shade).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("kind", ["parquet", "arrow stream", "arrow file"])
def test_parquet_and_arrow(tmp_path, kind):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    Image.new("L", (90, 32), 3).save(tmp_path / "beside.png")
    images = [{"bytes": encoded(1), "path": "a.png"}, {"bytes": encoded(2), "path": None}]
    images += [
        {"bytes": None, "path": "beside.png"},
        {"bytes": None, "path": None},
        {"bytes": encoded(4), "path": None},
    ]
    table = pa.table({"id": [1, 2, 3, 4, 5], "image": images, "text": ["one", "two", "three", "four", None]})
    path = tmp_path / "data" / "train-00000-of-00001.dat"
    path.parent.mkdir()
    if kind == "parquet":
        parquet.write_table(table, path)
    elif kind == "arrow file":
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    else:
        path = path.with_suffix(".arrow")
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
    (path.parent / "dataset_info.json").write_text('{"features": {}}')
    result = build_lmdb([path.parent], tmp_path / "out.lmdb", images=tmp_path)
    assert result.skipped == {"no image in it": 1, "no text in it": 1}
    dataset = LmdbDataset(tmp_path / "out.lmdb")
    assert [dataset.label(index) for index in range(3)] == ["one", "two", "three"]
    assert [open_image(dataset.image_bytes(index)).getpixel((0, 0)) for index in range(3)] == [1, 2, 3]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="damaged"):
        build_lmdb([path], tmp_path / "bad.lmdb")


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_webdataset(tmp_path, suffix):
    members = {
        "0/a.png": encoded(1),
        "0/a.txt": "己\n".encode(),
        "0/b.b.json": b"{}",
        "0/b.png": encoded(2),
        "0/b.json": b'{"text": "two"}',
        "../c.png": encoded(3),
        "../c.gt.txt": b"three",
        "d.png": encoded(4),
        "e.txt": b"five",
        "f.png": encoded(6),
        "f.txt": b"\xff\xfe\xfd",
    }
    with tarfile.open(tmp_path / f"shard-000000.{suffix}", f"w:{suffix[4:]}") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    (labels,) = find_labels(tmp_path)
    assert labels.format == "tar"
    found = list(labels)
    assert [(str(entry.path), entry.text) for entry in found if isinstance(entry, Entry)] == [
        ("0/a.png", "己"),
        ("0/b.png", "two"),
        ("../c.png", "three"),
    ]
    assert [entry.image for entry in found if isinstance(entry, Entry)] == [encoded(1), encoded(2), encoded(3)]
    assert [problem.reason for problem in found if isinstance(problem, Problem)] == [
        "image without a label",
        "label without an image",
        "line in another encoding",
    ]


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
        (tmp_path / folder / "a.jfif").write_bytes(encoded(1))
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
