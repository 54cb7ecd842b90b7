"""One page of three lines, and what each labelling tool says of it, as its own writer puts it."""

from __future__ import annotations

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
