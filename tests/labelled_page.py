"""One page of three lines, and what each labelling tool says of it, as its own writer puts it."""

from __future__ import annotations

import csv
import io
import json

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


def transkribus():
    """Of its export: the pages' own metadata, a reading order, and each region's whole text after its lines."""
    space = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2013-07-15"
    lines = "".join(
        f'            <TextLine id="r1l{number}" custom="readingOrder {{index:{number - 1};}}">\n'
        f'                <Coords points="{chain(quad(box))}"/>\n'
        f'                <Baseline points="{box[0]},{box[3] - 4} {box[2]},{box[3] - 4}"/>\n'
        f"                <TextEquiv>\n                    <Unicode>{text}</Unicode>\n"
        "                </TextEquiv>\n            </TextLine>\n"
        for number, (box, text) in enumerate(zip(BOXES, MARKUP, strict=True), start=1)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
        f'<PcGts xmlns="{space}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{space} {space}/pagecontent.xsd">\n    <Metadata>\n'
        "        <Creator>prov=Someone:name=a model(htr_id=1)::::v=2.4.2\nTRP</Creator>\n"
        "        <Created>2019-09-27T23:23:02.181+02:00</Created>\n"
        "        <LastChange>2019-09-30T19:47:30.802+02:00</LastChange>\n"
        '        <TranskribusMetadata docId="2" pageId="9" pageNr="1" tsid="1" status="GT" userId="1" '
        'imgUrl="https://example.org/Get?id=I" xmlUrl="https://example.org/Get?id=Z" imageId="6"/>\n    </Metadata>\n'
        '    <Page imageFilename="page.png" imageWidth="200" imageHeight="100">\n        <ReadingOrder>\n'
        '            <OrderedGroup id="ro_1" caption="Regions reading order">\n'
        '                <RegionRefIndexed index="0" regionRef="r1"/>\n            </OrderedGroup>\n'
        '        </ReadingOrder>\n        <TextRegion orientation="0.0" id="r1" custom="readingOrder {index:0;}">\n'
        f'            <Coords points="0,0 199,0 199,99 0,99"/>\n{lines}            <TextEquiv>\n'
        f"                <Unicode>{chr(10).join(MARKUP)}</Unicode>\n            </TextEquiv>\n"
        "        </TextRegion>\n    </Page>\n</PcGts>\n"
    )


def escriptorium_page():
    """Of its export: a region for each kind of line, boxes of regions by two corners, lines that end in a blank."""
    space = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"
    lines = "".join(
        f'\n      <TextLine id="eSc_line_{number:08x}" {kind}>\n        <Coords points="{chain(quad(box))}"/>\n'
        f'        <Baseline points="{box[0]},{box[3] - 4} {box[2]},{box[3] - 4}"/>\n'
        f"        <TextEquiv{sure}>\n          <Unicode>{text}</Unicode>\n        </TextEquiv>\n      </TextLine>\n"
        for number, (box, text, kind, sure) in enumerate(
            zip(BOXES, MARKUP, ('custom="structure {type:default;}"', "", ""), ("", ' conf="0.91"', ""), strict=True)
        )
    )
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
        f'<PcGts xmlns="{space}"\n  xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{space} {space}/pagecontent.xsd">\n  <Metadata>\n    <Creator>escriptorium</Creator>\n'
        "    <Created>2022-01-01T00:00:00</Created>\n    <LastChange>2022-01-01T00:00:00</LastChange>\n"
        '  </Metadata>\n  <Page imageFilename="page.png" imageWidth="200" imageHeight="100">\n'
        '    <TextRegion id="eSc_textblock_01" custom="structure {type:body;}">\n'
        f'      <Coords points="0,0 199,99"/>{lines}    </TextRegion>\n  </Page>\n</PcGts>\n'
    )


def escriptorium_alto():
    """Of its export: a line's text in one String, blanks and all, and tags for kinds of blocks and lines."""
    lines = ""
    for number, (box, text) in enumerate(zip(BOXES, MARKUP, strict=True)):
        left, top, right, bottom = box
        place = "\n                    ".join(
            (f'HPOS="{left}"', f'VPOS="{top}"', f'WIDTH="{right - left}"', f'HEIGHT="{bottom - top}"')
        )
        lines += (
            f'\n          <TextLine ID="eSc_line_{number:08x}"\n                    TAGREFS="LT1"\n'
            f'                    BASELINE="{left} {bottom - 4} {right} {bottom - 4}" \n                    {place}>\n'
            f'            <Shape><Polygon POINTS="{chain(quad(box)).replace(",", " ")}"/></Shape>\n'
            f'\t    <String CONTENT="{text}"\n                    {place}></String>\n          </TextLine>\n'
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<alto xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"\n'
        '      xmlns="http://www.loc.gov/standards/alto/ns-v4#"\n      xsi:schemaLocation='
        '"http://www.loc.gov/standards/alto/ns-v4# http://www.loc.gov/standards/alto/v4/alto-4-2.xsd">\n'
        "  <Description>\n    <MeasurementUnit>pixel</MeasurementUnit>\n    <sourceImageInformation>\n"
        "      <fileName>page.png</fileName>\n    </sourceImageInformation>\n  </Description>\n  <Tags>\n"
        '    <OtherTag ID="LT1" LABEL="default" DESCRIPTION="line type default"/>\n  </Tags>\n  <Layout>\n'
        '    <Page WIDTH="200"\n          HEIGHT="100"\n          PHYSICAL_IMG_NR="0"\n          ID="eSc_dummypage_">\n'
        '      <PrintSpace HPOS="0" VPOS="0" WIDTH="200" HEIGHT="100">\n        <TextBlock ID="eSc_dummyblock_">'
        f"{lines}        </TextBlock>\n      </PrintSpace>\n    </Page>\n  </Layout>\n</alto>\n"
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


def ppocrlabel(**more):
    boxes = [
        {"transcription": text, "points": quad(box), "difficult": False} | more
        for box, text in zip(BOXES, TEXTS, strict=True)
    ]
    return f"project/page.png\t{json.dumps(boxes, ensure_ascii=False)}\n"


def labelme(**changes):
    shapes = [
        {"label": "text", "points": points, "group_id": None, "description": text, "shape_type": kind}
        | {"flags": {}, "mask": None}
        for kind, points, text in (
            ("rectangle", [[10.0, 10.0], [110.0, 30.0]], TEXTS[0]),
            ("polygon", quad(BOXES[1]), TEXTS[1]),
            ("rectangle", [[180.0, 92.0], [20.0, 70.0]], TEXTS[2]),  # drawn from the lower right
        )
    ]
    document = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": "page.png", "imageData": None}
    return json.dumps(document | {"imageHeight": 100, "imageWidth": 200} | changes, ensure_ascii=False, indent=2)


def x_anylabeling():
    """Rectangles of four corners, boxes that can be turned with their direction, and keys of its own."""
    shapes = [
        {"label": "text", "score": None, "points": [[float(x), float(y)] for x, y in quad(box)], "group_id": None}
        | {"description": text, "difficult": False, "shape_type": kind, "flags": {}, "attributes": {}}
        | {"kie_linking": []}
        | ({"direction": 0.0} if kind == "rotation" else {})
        for box, text, kind in zip(BOXES, TEXTS, ("rectangle", "rotation", "polygon"), strict=True)
    ]
    document = {"version": "3.3.5", "flags": {}, "checked": False, "shapes": shapes, "imagePath": "page.png"}
    document |= {"imageData": None, "imageHeight": 100, "imageWidth": 200, "description": ""}
    return json.dumps(document, ensure_ascii=False, indent=2)


def cvat():
    shapes = "".join(
        f'<{kind} label="text" source="manual" occluded="0" {place} z_order="0">\n'
        f'      <attribute name="language">zh</attribute><attribute name="text">{text}</attribute>\n    </{kind}>\n    '
        for text, (kind, place) in zip(
            MARKUP,
            (
                ("box", 'xtl="10.00" ytl="10.00" xbr="110.00" ybr="30.00"'),
                ("polygon", f'points="{";".join(f"{x}.00,{y}.00" for x, y in quad(BOXES[1]))}"'),
                ("box", 'xtl="89.00" ytl="1.00" xbr="111.00" ybr="161.00" rotation="270.00"'),  # around its middle
            ),
            strict=True,
        )
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta><task/></meta>\n'
        f'  <image id="0" name="page.png" width="200" height="100">\n    {shapes}</image>\n</annotations>\n'
    )


def icdar_2015(script="", illegible="###"):
    lines = [
        ",".join(f"{x},{y}" for x, y in quad(box)) + f",{script}{text}" for box, text in zip(BOXES, TEXTS, strict=True)
    ]
    return "\ufeff" + "\r\n".join(lines) + "\r\n"


def icdar_2013(gap=", "):
    lines = [gap.join([*map(str, box), f'"{text}"']) for box, text in zip(BOXES, TEXTS, strict=True)]
    return "\r\n".join(lines) + "\r\n"


def flat(box):
    return [side for point in quad(box) for side in point]


def coco_text():
    anns = {
        str(number): {
            "mask": flat(box),
            "class": "machine printed",
            "bbox": [*box[:2], box[2] - box[0], box[3] - box[1]],
        }
        | {
            "image_id": 7,
            "id": number,
            "language": "english",
            "area": 1.5,
            "legibility": "legible",
            "utf8_string": text,
        }
        for number, (box, text) in enumerate(zip(BOXES, TEXTS, strict=True))
    }
    image = {"file_name": "page.png", "set": "train", "width": 200, "height": 100, "id": 7}
    return json.dumps({"cats": {}, "anns": anns, "imgs": {"7": image}, "imgToAnns": {"7": [0, 1, 2]}, "info": {}})


def mmocr():
    lines = [{"polygon": flat(box), "bbox": list(box), "bbox_label": 0, "text": text, "ignore": False}
             for box, text in zip(BOXES, TEXTS, strict=True)]  # fmt: skip
    lines[1].pop("polygon")
    page = {"img_path": "page.png", "height": 100, "width": 200, "instances": lines}
    return json.dumps(
        {"metainfo": {"dataset_type": "TextSpotterDataset", "task_name": "textspotter"}, "data_list": [page]}
    )


def via(project=False):
    shapes = [
        {"name": "rect", "x": box[0], "y": box[1], "width": box[2] - box[0], "height": box[3] - box[1]} for box in BOXES
    ]
    corners = list(zip(*quad(BOXES[1]), strict=True))
    shapes[1] = {"name": "polygon", "all_points_x": corners[0], "all_points_y": corners[1]}
    regions = [
        {"shape_attributes": shape, "region_attributes": {"kind": "line", "text": text}}
        for shape, text in zip(shapes, TEXTS, strict=True)
    ]
    images = {"page.png4711": {"filename": "page.png", "size": 4711, "regions": regions, "file_attributes": {}}}
    return json.dumps({"_via_settings": {}, "_via_img_metadata": images, "_via_attributes": {}} if project else images)


def percent(box):
    left, top, right, bottom = box
    return {"x": left / 2, "y": top, "width": (right - left) / 2, "height": bottom - top, "rotation": 0}


def label_studio():
    results = []
    for number, (box, text) in enumerate(zip(BOXES, TEXTS, strict=True)):
        for kind, name, value in (
            ("rectangle", "bbox", {}),
            ("labels", "label", {"labels": ["Text"]}),
            ("textarea", "transcription", {"text": [text]}),
        ):
            size = {"original_width": 200, "original_height": 100, "image_rotation": 0}
            of = {"id": f"r{number}", "from_name": name, "to_name": "image", "type": kind, "origin": "manual"}
            results.append(size | {"value": percent(box) | value} | of)
    times = {"created_at": "2024-05-01T09:00:00.000000Z", "updated_at": "2024-05-01T09:01:00.000000Z"}
    done = {"id": 4, "completed_by": 1, "result": results, "was_cancelled": False, "ground_truth": False} | times
    done |= {"draft_created_at": None, "lead_time": 61.2, "prediction": {}, "result_count": 9, "unique_id": "u-4"}
    done |= {"import_id": None, "last_action": None, "task": 7, "project": 1, "updated_by": 1}
    skipped = done | {"id": 5, "result": [], "was_cancelled": True, "result_count": 0}
    data = {"ocr": "/data/upload/1/0123abcd-page.png"}
    task = {"id": 7, "annotations": [done, skipped], "file_upload": "0123abcd-page.png", "drafts": []}
    task |= {"predictions": [], "data": data, "meta": {}} | times | {"inner_id": 1, "total_annotations": 1}
    return json.dumps([task | {"cancelled_annotations": 1, "total_predictions": 0, "project": 1, "updated_by": 1}])


def label_studio_one():
    """One annotation with its task, as Label Studio keeps it in a bucket."""
    (task,) = json.loads(label_studio())
    return json.dumps(task["annotations"][0] | {"task": {"id": 7, "data": task["data"]}})


def label_studio_csv(delimiter=","):
    (task,) = json.loads(label_studio_min())
    file = io.StringIO()
    rows = csv.writer(file, delimiter=delimiter)
    rows.writerow(task)
    rows.writerow(json.dumps(value) if isinstance(value, list) else value for value in task.values())
    return file.getvalue()


def label_studio_min():
    boxes = [percent(box) | {"original_width": 200, "original_height": 100} for box in BOXES]
    task = {"ocr": "/data/local-files/?d=scans/page.png", "id": 7, "bbox": boxes, "transcription": list(TEXTS)}
    return json.dumps([task | {"annotator": 1, "annotation_id": 4, "lead_time": 3.2}])


WRITERS = {
    "PAGE 2010": ("page.xml", "page", page_xml_2010),
    "PAGE 2013": ("page.xml", "page", lambda: page_xml("2013-07-15")),
    "PAGE 2019": ("page.xml", "page", page_xml),
    "PAGE UTF-16": ("page.xml", "page", lambda: page_xml().replace("UTF-8", "UTF-16").encode("utf-16")),
    "PAGE, prefixed": ("page.xml", "page", lambda: page_xml().replace("<", "<p:").replace("<p:/", "</p:")
                       .replace("<p:?", "<?").replace("xmlns=", "xmlns:p=")),
    "PAGE of Transkribus": ("page.xml", "page", transkribus),
    "PAGE of eScriptorium": ("page.xml", "page", escriptorium_page),
    "ALTO of eScriptorium": ("page.xml", "alto", escriptorium_alto),
    "ALTO 2": ("page.xml", "alto", lambda: alto(2, shapes=False)),
    "ALTO 3 in tenths of millimetres": ("page.xml", "alto", lambda: alto(3, "mm10", 10, shapes=False)),
    "ALTO 4": ("page.xml", "alto", alto),
    "ALTO without spaces": ("page.xml", "alto", lambda: alto(spaces=False)),
    "hOCR": ("page.hocr", "hocr", hocr),
    "PPOCRLabel": ("Label.txt", "ppocrlabel", ppocrlabel),
    "PPOCRLabel for key information": ("Label.txt", "ppocrlabel", lambda: ppocrlabel(key_cls="None")),
    "PPOCRLabel on Windows": ("Label.txt", "ppocrlabel", lambda: ppocrlabel().replace("\n", "\r\n")),
    "X-AnyLabeling": ("page.json", "labelme", x_anylabeling),
    "LabelMe": ("page.json", "labelme", labelme),
    "Label Studio": ("project-1.json", "labelstudio", label_studio),
    "Label Studio, JSON-MIN": ("project-1.json", "labelstudio", label_studio_min),
    "Label Studio, CSV": ("project-1.csv", "labelstudio", label_studio_csv),
    "Label Studio, TSV": ("project-1.tsv", "labelstudio", lambda: label_studio_csv("\t")),
    "Label Studio, one annotation": ("7", "labelstudio", label_studio_one),
    "LabelMe, sorted, of a Chinese Windows": ("page.json", "labelme", lambda: json.dumps(
        json.loads(labelme()) | {"imageData": "A" * 70000}, sort_keys=True, ensure_ascii=False).encode("gbk")),
    "CVAT": ("annotations.xml", "cvat", cvat),
    "ICDAR 2015": ("gt_page.txt", "quads", icdar_2015),
    "MLT": ("gt_page.txt", "quads", lambda: icdar_2015("Latin,")),
    "SROIE": ("page.txt", "quads", icdar_2015),
    "ICDAR 2013": ("gt_page.txt", "quads", icdar_2013),
    "ICDAR 2013, by spaces": ("gt_page.txt", "quads", lambda: icdar_2013(" ")),
    "COCO-Text": ("cocotext.v2.json", "json", coco_text),
    "MMOCR": ("textspotting_train.json", "json", mmocr),
    "VIA": ("via_export_json.json", "json", via),
    "VIA, a project": ("via_project.json", "json", lambda: via(project=True)),
}  # fmt: skip
