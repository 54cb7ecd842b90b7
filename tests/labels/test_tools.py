"""Pages as labelling tools describe them: told apart, cut into lines, and what cannot be cut."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from labelled_page import (
    BOXES,
    TEXTS,
    WRITERS,
    alto,
    chain,
    label_studio,
    labelme,
    page_xml,
    ppocrlabel,
    quad,
    x_anylabeling,
)
from PIL import Image
from read_labels import problems, read

from ocrcc.annotations.entries import Entry
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.datasets.build import build_lmdb
from ocrcc.errors import DataError
from ocrcc.labels.find import find_labels


@pytest.fixture
def page(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 200), np.uint8))
    image.save(folder / "page.png")
    return image


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


def test_a_project_of_ppocrlabel_with_what_it_leaves_beside(page, tmp_path):
    boxes = json.loads(ppocrlabel().partition("\t")[2])
    boxes[1]["difficult"] = True
    boxes[2]["transcription"] = "###"
    boxes += [{"transcription": "待识别", "points": quad(BOXES[0])}, {"transcription": "", "points": quad(BOXES[0])}]
    boxes += [{"transcription": "锁定框：待检测", "points": quad(BOXES[0]), "difficult": False}]
    folder = tmp_path / "project"
    content = f'project/page.png\t{json.dumps(boxes)}\nproject/empty.png\t[]\nproject/page.png\t[{{"transcription"\n'
    (folder / "Label.txt").write_text(content)
    (folder / "rec_gt.txt").write_text("crop_img/page_crop_0.jpg\tHello, world\n")
    (folder / "crop_img").mkdir()
    (folder / "fileState.txt").write_text("project/page.png\t1\n")
    (folder / "Cache.cach").write_text(ppocrlabel())
    found = read(folder)
    assert [entry.text for entry in found if isinstance(entry, Entry)] == [TEXTS[0]]
    assert found[0].path.samefile(folder / "page.png")
    assert problems(found)[:5] == [
        "Label.txt:1 (box 2): marked as illegible",
        "Label.txt:1 (box 3): marked as illegible",
        "Label.txt:1 (box 4): not read by anybody yet",
        "Label.txt:1 (box 5): the label is empty",
        "Label.txt:1 (box 6): not read by anybody yet",
    ]
    assert "Label.txt:3: not JSON" in problems(found)[5]
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


def test_a_rectangle_that_was_turned_lies_where_label_studio_drew_it(page, tmp_path):
    """It turns clockwise around its upper left corner, in hundredths of the sides."""
    (task,) = json.loads(label_studio())
    turned = {"x": 50, "y": 10, "width": 10, "height": 20, "rotation": 90}
    results = task["annotations"][0]["result"][:3]
    for result in results:
        result["value"] |= turned
    task["annotations"][0]["result"] = results
    (tmp_path / "project" / "export.json").write_text(json.dumps([task]))
    (entry,) = read(tmp_path / "project")
    corners = [(round(x), round(y)) for x, y in entry.outline.polygon]
    assert corners == [(100, 10), (100, 30), (80, 30), (80, 10)]
    for result in results:
        result["image_rotation"] = 90
    (tmp_path / "project" / "export.json").write_text(json.dumps([task]))
    assert problems(read(tmp_path / "project")) == [
        "export.json (task 7), region 1: its image was turned by 90 degrees while it was labelled"
    ]


def test_what_x_anylabeling_marks_as_difficult_is_no_label(page, tmp_path):
    document = json.loads(x_anylabeling())
    document["shapes"][1]["difficult"] = True
    (tmp_path / "project" / "page.json").write_text(json.dumps(document))
    assert problems(read(tmp_path / "project")) == ["page.json (shape 2): marked as illegible"]


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
    document["shapes"].insert(0, 7)
    (tmp_path / "project" / "page.json").write_text(json.dumps(document))
    assert problems(read(tmp_path / "project")) == [
        "page.json (shape 1): not a shape",
        "page.json (shape 2): not read by anybody yet",
    ]


def test_a_page_that_was_scaled_or_is_another(page, tmp_path):
    page.resize((400, 200), Image.Resampling.NEAREST).save(tmp_path / "project" / "page.png")
    (tmp_path / "project" / "page.xml").write_text(page_xml())
    build_lmdb([tmp_path / "project"], tmp_path / "twice.lmdb")
    assert LmdbDataset(tmp_path / "twice.lmdb").line(0).image.size == (200, 40)
    page.resize((400, 100)).save(tmp_path / "project" / "page.png")
    with pytest.raises(DataError, match="400 x 100 pixels, but the labels are of an image of 200 x 100"):
        build_lmdb([tmp_path / "project"], tmp_path / "out.lmdb")


def test_a_line_with_a_baseline_alone_is_as_high_as_lines_stand_apart(page, tmp_path):
    """eScriptorium exports lines without a mask so; 0.72 of the distance lies above the baseline, 0.28 below it."""
    lines = [((30, 40), (170, 40)), ((30, 60), (170, 60)), ((170, 80), (30, 80)), ((30, 98), (60, 98))]
    coords = ['<Coords points="30,40 170,40"/>', "", "", '<Coords points="30,90 60,90 60,99 30,99"/>']
    body = "".join(
        f'<TextLine>{outline}<Baseline points="{chain(line)}"/><TextEquiv><Unicode>x{number}</Unicode></TextEquiv>'
        "</TextLine>"
        for number, (outline, line) in enumerate(zip(coords, lines, strict=True))
    )
    text = page_xml()
    start, end = text.index("<TextLine"), text.rindex("</TextLine>\n") + len("</TextLine>\n")
    (tmp_path / "project" / "page.xml").write_text(text[:start] + body + text[end:])
    build_lmdb([tmp_path / "project"], tmp_path / "out.lmdb")
    dataset = LmdbDataset(tmp_path / "out.lmdb")
    boxes = [(30, 26, 170, 46), (30, 46, 170, 66), (30, 66, 170, 86), (30, 90, 60, 99)]
    for index, box in enumerate(boxes):
        width, height = dataset.line(index).image.size
        assert abs(width - (box[2] - box[0])) <= 1, index
        assert abs(height - (box[3] - box[1])) <= 1, index
    assert np.array_equal(np.asarray(dataset.line(1).image), np.asarray(page.crop(boxes[1])))
    (tmp_path / "project" / "page.xml").write_text(text[:start] + body[: body.index("</TextLine>") + 11] + text[end:])
    assert problems(read(tmp_path / "project")) == [
        "page.xml:6: the line has no outline, only a baseline, and no neighbours to tell its height by"
    ]


@pytest.mark.parametrize("there", ["page.JPG", "page.jpg", "page.png"])
def test_an_image_of_another_kind_than_was_labelled(page, tmp_path, there):
    (tmp_path / "project" / "page.png").unlink()
    page.save(tmp_path / "project" / there)
    for named in ("page.tif", "https://example.org/iiif/page.tif", "unknown", ""):
        (tmp_path / "project" / "page.xml").write_text(page_xml(image=named))
        assert {entry.path for entry in read(tmp_path / "project")} == {tmp_path / "project" / there}


@pytest.mark.parametrize("there", ["two words.png", "two%20words.png"])
def test_a_name_may_be_percent_encoded_or_have_percent_signs(page, tmp_path, there):
    (tmp_path / "project" / "page.png").rename(tmp_path / "project" / there)
    (tmp_path / "project" / "page.xml").write_text(page_xml(image="two%20words.png"))
    assert {entry.path for entry in read(tmp_path / "project")} == {tmp_path / "project" / there}


def test_names_of_a_mac_are_found_whichever_way_they_are_composed(page, tmp_path):
    page.save(tmp_path / "project" / "caf\u00e9.png")
    page.save(tmp_path / "project" / "nin\u0303o.png")
    (tmp_path / "labels.txt").write_text("project/cafe\u0301.png\tx\nproject/ni\u00f1o.png\ty\n")
    assert build_lmdb([tmp_path / "labels.txt"], tmp_path / "out.lmdb").train.lines == 2


def test_entities_of_an_xml_file_are_not_expanded(page, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    declared = f'<!DOCTYPE PcGts [<!ENTITY x SYSTEM "file://{secret}"><!ENTITY y "yyy">]>\n<PcGts'
    for used in ("&x;", "&y;"):
        text = page_xml().replace("<PcGts", declared).replace("Hello, world", used)
        (tmp_path / "project" / "page.xml").write_text(text)
        (problem,) = problems(read(tmp_path / "project"))
        assert "has entities of its own" in problem


def test_an_index_of_page_xml_that_is_no_number_counts_as_none(page, tmp_path):
    texts = "".join(f'<TextEquiv index="{index}"><Unicode>{index}</Unicode></TextEquiv>' for index in ("1", "²"))
    line = f'<TextLine><Coords points="5,5 50,5 50,20 5,20"/>{texts}</TextLine>'
    file = tmp_path / "project" / "page.xml"
    file.write_text(f'<PcGts><Page imageFilename="page.png"><TextRegion>{line}</TextRegion></Page></PcGts>')
    assert [entry.text for entry in read(file)] == ["²"]


def test_half_a_surrogate_pair_in_the_name_of_a_task(page, tmp_path):
    task = {"id": "\ud800", "image": "page.png", "text": "x", "annotator": 1, "annotation_id": 1}
    (tmp_path / "project" / "export.json").write_text(json.dumps([task]))
    assert build_lmdb([tmp_path / "project" / "export.json"], tmp_path / "out.lmdb").train.lines == 1
    assert "(task \\ud800)" in LmdbDataset(tmp_path / "out.lmdb").source(0)
