from __future__ import annotations

import pytest

from ocrcc.annotations.entries import Entry, Problem
from ocrcc.errors import ConfigError, DataError, OcrccWarning
from ocrcc.labels.find import find_labels


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path, **options):
    """The one label file that a path stands for: its format, entries as (path, text, line), and problems."""
    (labels,) = find_labels(path, **options)
    found = list(labels)
    entries = [
        (str(entry.path.relative_to(labels.images)), entry.text, entry.where.rpartition(":")[2])
        for entry in found
        if isinstance(entry, Entry)
    ]
    return labels, entries, [str(problem) for problem in found if isinstance(problem, Problem)]


@pytest.mark.parametrize(
    ("format_name", "content"),
    [
        ("tab", "a.png\t中文 1\nimg/b b.jpg\tx, y\n"),
        ("space", "a.png 中文 1\nimg/b b.jpg x, y\n"),
        ("csv", 'filename,words\na.png,中文 1\nimg/b b.jpg,"x, y"\n'),
        ("csv", "Text;id;Path\n中文 1;1;a.png\nx, y;2;img/b b.jpg\n"),
        ("csv", "image_path\ttranscription\na.png\t中文 1\nimg/b b.jpg\tx, y\n"),
        ("jsonl", '{"file_name": "a.png", "text": "中文 1"}\n{"id": 2, "text": "x, y", "file_name": "img/b b.jpg"}\n'),
        ("jsonl", '{"filename": "a.png", "label": "\\u4e2d文 1"}\n{"filename": "img/b b.jpg", "label": "x, y"}'),
        ("icdar", 'a.png, "中文 1"\nimg/b b.jpg, "x, y"\n'),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_formats_are_told_apart_by_content(tmp_path, format_name, content, ending, encoding):
    path = write(tmp_path / "whatever.dat", content.replace("\n", ending).encode(encoding))
    labels, entries, problems = read(path)
    first = 2 if format_name == "csv" else 1
    assert labels.format == format_name
    assert problems == []
    assert entries == [("a.png", "中文 1", str(first)), ("img/b b.jpg", "x, y", str(first + 1))]
    assert labels.encoding == encoding.removesuffix("-sig")
    assert bool(labels.reason) == (encoding in ("utf-16", "gb18030"))


def test_a_label_is_kept_exactly(tmp_path):
    texts = ["  two before", "two after  ", 'a "quoted" word', '"all quoted"', "a\ttab", "NFC é", "e\u0301", "\\n", "'"]
    path = write(tmp_path / "l.txt", "".join(f"{number}.png\t{text}\r\n" for number, text in enumerate(texts)))
    assert [text for _, text, _ in read(path)[1]] == texts


def test_quotes_of_tables(tmp_path):
    rows = '"""Yes,"" he said"', '"so"', '"a ""b"""', 'a "b"'
    table = write(tmp_path / "t.tsv", "path\ttext\n" + "".join(f"a.png\t{row}\n" for row in rows))
    assert [text for _, text, _ in read(table)[1]] == ['"Yes," he said', '"so"', 'a "b"', 'a "b"']
    commas = write(tmp_path / "t.csv", 'path,text\na.png,"""Yes,"" he said"\na.png,"so"\n')
    assert [text for _, text, _ in read(commas)[1]] == ['"Yes," he said', "so"]
    icdar = write(tmp_path / "gt.txt", r'a.png, "a \"b\" \\ c"' + '\nword 2.png, "d"\n')
    assert [entry[:2] for entry in read(icdar)[1]] == [("a.png", r'a "b" \ c'), ("word 2.png", "d")]


def test_several_images_of_one_label(tmp_path):
    path = write(tmp_path / "rec.txt", '["a.png", "b.png"]\t同\n[c].png\t方\n')
    assert read(path)[1] == [("a.png", "同", "1"), ("b.png", "同", "1"), ("[c].png", "方", "2")]


def test_space_separated_paths_without_suffix_must_exist(tmp_path):
    path = write(tmp_path / "l.txt", "im1 hello world\nim2 x\n")
    with pytest.raises(DataError, match="no known label format"):
        find_labels(path)
    for name in ("im1", "im2"):
        write(tmp_path / name, "")
    assert read(path)[1] == [("im1", "hello world", "1"), ("im2", "x", "2")]


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("a.png\tx\nb.png,y\n", 2, "no tab between path and text"),
        ("a.png\tx\n\nb.png\t\n", 3, "the label is empty"),
        ("a.png\tx\nb.png\t \u3000\n", 2, "only spaces"),
        ("a.png\tx\n\ty\n", 2, "the path is empty"),
        ("path,text,id\na.png,x,1\nb.png,1,000,2\n", 3, "4, not 3; a text with ',' needs quotes"),
        ('path,text,id\na.png,"x,1\nb.png,y,2\n', 2, "quotes that do not match"),
        ('{"file_name": "a.png", "text": "x"}\n{"file_name": "b.png"\n', 2, "not JSON"),
        ('{"file_name": "a.png", "text": "x"}\n[]\n', 2, "not a JSON object"),
        ('{"file_name": "a.png", "text": "x"}\n{"file_name": "b.png"}\n', 2, "no text in it"),
        ('{"file_name": "a.png", "text": "x"}\n{"file_name": "b.png", "text": 5}\n', 2, "its text is no string: '5'"),
        ('{"file_name": "a.png", "text": "x"}\n{"file_name": "b.png", "text": "a\\nb"}\n', 2, "more than one line"),
        ('{"file_name": "a.png", "text": "x"}\n{"file_name": "b.png", "text": "\\ud800"}\n', 2, "surrogate"),
        ('a.png, "x"\nb.png "y"\n', 2, 'not path, "text"'),
        ("a.png x\nb.png\n", 2, "no space between path and text"),
    ],
)
def test_problems_name_file_and_line(tmp_path, content, line, words):
    path = write(tmp_path / "l.txt", content)
    _, entries, (problem,) = read(path)
    assert problem.startswith(f"{path}:{line}: ")
    assert words in problem
    assert len(entries) == 1 or "quotes" in words


def test_one_broken_line_does_not_change_the_encoding(tmp_path):
    lines = [f"{number}.png\t中文".encode() for number in range(5)]
    lines[3] = "3.png\t中文".encode("gb18030")
    path = write(tmp_path / "l.txt", b"\n".join(lines))
    labels, entries, problems = read(path)
    assert labels.encoding == "utf-8"
    assert problems == [f"{path}:4: not UTF-8"]
    assert len(entries) == 4


@pytest.mark.parametrize(
    ("codec", "texts"),
    [
        ("gb18030", ["银行", "己已巳 㐂"]),
        ("big5", ["臺灣銀行", "繁體"]),
        ("cp932", ["請求書", "カタカナ"]),
        ("cp949", ["동해 물과 백두산이 마르고", "닳도록 하느님이 보우하사"]),
    ],
)
def test_east_asian_encodings_are_told_by_their_common_characters(tmp_path, codec, texts):
    path = write(tmp_path / "l.txt", "".join(f"a.png\t{text}\n" for text in texts).encode(codec))
    labels, entries, problems = read(path)
    assert [text for _, text, _ in entries] == texts
    assert (labels.encoding, problems) == (codec, [])
    assert labels.reason.startswith("since line 1 is not UTF-8")


def test_what_is_hardly_gb18030_is_named(tmp_path):
    path = write(tmp_path / "l.txt", "a.png\tMüller\nb.png\tfür\n".encode("latin-1"))
    with pytest.raises(DataError, match="no likely GB 18030") as raised:
        find_labels(path)
    assert "latin-1" in raised.value.hint
    assert read(path, encoding="latin-1")[1] == [("a.png", "Müller", "1"), ("b.png", "für", "2")]


def test_named_encoding(tmp_path):
    path = write(tmp_path / "l.txt", "a.png\t漢字\n".encode("big5"))
    assert read(path, encoding="big5")[1] == [("a.png", "漢字", "1")]
    with pytest.raises(ConfigError, match="unknown encoding 'klingon'"):
        find_labels(path, encoding="klingon")
    with pytest.raises(ConfigError, match="no encoding of text"):
        find_labels(path, encoding="base64")


def test_an_undecodable_file_is_named_with_its_line(tmp_path):
    path = write(tmp_path / "l.txt", b"a.png\tx\nb.png\t\xff\xff\xff\n")
    with pytest.raises(DataError, match=r"l\.txt:2: not UTF-8 .*nor is line 2 GB 18030"):
        find_labels(path)


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ("", "no labels in it", "path<TAB>text"),
        ("\n \n", "no labels in it", "path<TAB>text"),
        ("a,hello\nb,world\n", ":1: no known label format: 'a,hello'", "header"),
        ('[{"name": "a.png", "text": "x"}]', ":1: no known label format", "one object a line"),
        ("a.png\tx\ten\nb.png\ty\ten\n", "3 columns, and no header", "path<TAB>text<TAB>"),
        (b"\x00\x01\x02", "not a text file", "utf-16-le"),
    ],
)
def test_files_without_labels(tmp_path, content, message, hint):
    path = write(tmp_path / "l.txt", content)
    with pytest.raises(DataError) as raised:
        find_labels(path)
    assert message in raised.value.message
    assert str(path) in raised.value.message
    assert hint in (raised.value.hint or "")


def test_format_can_be_forced(tmp_path):
    path = write(tmp_path / "l.txt", "path\ttext\na.png\tb\n")
    assert read(path)[1] == [("a.png", "b", "2")]
    assert read(path, format="tab")[1] == [("path", "text", "1"), ("a.png", "b", "2")]
    with pytest.raises(ConfigError, match="unknown label format 'tsv'"):
        find_labels(path, format="tsv")
    with pytest.raises(DataError, match="names no path and text columns"):
        list(find_labels(write(tmp_path / "x.txt", "a\tb\n"), format="csv")[0])


def test_paths_are_relative_to_the_file_or_to_images(tmp_path):
    path = write(tmp_path / "labels" / "l.txt", "a.png\tx\n")
    absolute = write(tmp_path / "labels" / "abs.txt", f"{tmp_path}/elsewhere/a.png\tx\n")
    images = tmp_path / "images"
    images.mkdir()
    assert [entry.path for entry in find_labels(path)[0]] == [tmp_path / "labels" / "a.png"]
    assert [entry.path for entry in find_labels(path, images=images)[0]] == [images / "a.png"]
    assert [entry.path for entry in find_labels(absolute, images=images)[0]] == [tmp_path / "elsewhere" / "a.png"]
    with pytest.raises(DataError, match="no such folder of images"):
        find_labels(path, images=tmp_path / "nowhere")


def test_paths_written_on_windows(tmp_path):
    path = write(tmp_path / "l.txt", "img\\a.png\tx\nodd\\name.png\ty\n")
    write(tmp_path / "odd\\name.png", "")
    assert [entry.path.relative_to(tmp_path).parts for entry in find_labels(path)[0]] == [
        ("img", "a.png"),
        ("odd\\name.png",),
    ]


def test_pairs(tmp_path):
    for name in ("a.png", "b.nrm.png", "b.bin.png", "c.JPG", "lonely.png", "d.tif"):
        write(tmp_path / name, "")
    write(tmp_path / "a.gt.txt", "中文\n")
    write(tmp_path / "b.gt.txt", "b\r\n")
    write(tmp_path / "c.txt", "丙".encode("gb18030"))
    write(tmp_path / "d.gt.txt", "two\nlines\n")
    write(tmp_path / "gone.gt.txt", "x")
    labels, entries, problems = read(tmp_path)
    assert labels.format == "pairs"
    assert entries == [("a.png", "中文", "1"), ("b.nrm.png", "b", "1"), ("c.JPG", "丙", "1")]
    assert sorted(problem.rpartition("/")[2] for problem in problems) == [
        "b.bin.png: b.nrm.png is taken for b.gt.txt",
        "d.gt.txt:1: the label has more than one line",
        "gone.gt.txt: no image beside this label",
        "lonely.png: an image without a label beside it",
    ]
    (one,) = find_labels(tmp_path / "a.gt.txt")
    assert [(entry.path.name, entry.text) for entry in one] == [("a.png", "中文")]


def test_folders_of_folders(tmp_path):
    write(tmp_path / "one" / "labels.tsv", "a.png\tx\n")
    write(tmp_path / "one" / "pairs-of-others" / "z.gt.txt", "z")
    write(tmp_path / "two" / "metadata.jsonl", '{"file_name": "b.png", "text": "y"}\n')
    write(tmp_path / "deep" / "three" / "c.png", "")
    write(tmp_path / "deep" / "three" / "c.gt.txt", "z\n")
    with pytest.warns(OcrccWarning, match=r"passed over.*z\.gt\.txt"):
        found = [(str(labels.path.relative_to(tmp_path)), labels.format) for labels in find_labels(tmp_path)]
    assert found == [("deep/three", "pairs"), ("one/labels.tsv", "tab"), ("two/metadata.jsonl", "jsonl")]


def test_folders_that_cannot_be_used(tmp_path):
    write(tmp_path / "images" / "a.png", "")
    with pytest.raises(DataError, match="no labels in this folder"):
        find_labels(tmp_path / "images")
    write(tmp_path / "both" / "labels.tsv", "a.png\tx\n")
    write(tmp_path / "both" / "labels.csv", "path,text\na.png,x\n")
    with pytest.raises(DataError, match=r"has labels.tsv and labels.csv"):
        find_labels(tmp_path / "both")
    write(tmp_path / "db" / "data.mdb", "")
    with pytest.raises(DataError, match="an LMDB, not labels"):
        find_labels(tmp_path / "db")
    with pytest.raises(DataError, match="no such file or folder"):
        find_labels(tmp_path / "nothing")
    with pytest.raises(DataError, match="an image, not labels"):
        find_labels(tmp_path / "images" / "a.png")


def test_boxes_of_pages_are_no_labels_of_lines(tmp_path):
    box = "20,2,120,2,120,30,20,30,"
    write(tmp_path / "README.txt", "boxes of signs\n")
    write(tmp_path / "img_0.txt", "")
    for name in ("img_0.png", "img_1.png", "img_2.jpg"):
        write(tmp_path / name, "")
    write(tmp_path / "img_1.txt", f"{box}Hello\n")
    write(tmp_path / "gt_img_2.txt", f"{box}World\n")
    found = find_labels(tmp_path)
    assert sorted((labels.path.name, labels.format) for labels in found) == [
        *(("gt_img_2.txt", "quads"), ("img_0.txt", "quads"), ("img_1.txt", "quads"))
    ]
    assert sorted(entry.text for labels in found for entry in labels) == ["Hello", "World"]
    named = find_labels(tmp_path, format="quads")
    assert sorted(labels.path.name for labels in named) == ["README.txt", "gt_img_2.txt", "img_0.txt", "img_1.txt"]
    elsewhere = write(tmp_path / "gt" / "about.txt", "boxes\n").parent
    write(elsewhere / "x.txt", f"{box}there\n")
    assert [(labels.path.name, labels.format) for labels in find_labels(elsewhere)] == [("x.txt", "quads")]


def test_a_box_is_no_text_of_a_pair(tmp_path):
    write(tmp_path / "a.png", "")
    write(tmp_path / "a.gt.txt", "20,2,120,2,120,30,20,30,Hello\n")
    write(tmp_path / "b.png", "")
    write(tmp_path / "b.gt.txt", "1,2,3\n")
    _, entries, problems = read(tmp_path)
    assert entries == [("b.png", "1,2,3", "1")]
    assert [problem.rpartition("/")[2] for problem in problems] == [
        "a.gt.txt:1: the boxes of a page, not the text of a line"
    ]


@pytest.mark.parametrize(
    "text", ["Müller Straße", "Größe", "Käse", "informação", "não é", "Größe\nKäse, Öl und Brot für Müllers Größte"]
)
def test_western_letters_are_not_taken_for_chinese(tmp_path, text):
    content = "".join(f"{number}.png\t{line}\n" for number, line in enumerate(text.split("\n")))
    path = write(tmp_path / "l.txt", content.encode("cp1252"))
    with pytest.raises(DataError, match="not UTF-8") as raised:
        find_labels(path)
    assert "--encoding" in raised.value.hint
    assert [entry[1] for entry in read(path, encoding="cp1252")[1]] == text.split("\n")


@pytest.mark.parametrize("text", ["朱镕基", "京A12345", "A型", "國學", "陶喆", "K歌 T恤 卡拉OK厅"])
def test_rare_names_and_codes_with_one_ideograph_are_chinese(tmp_path, text):
    path = write(tmp_path / "l.txt", f"a.png\t{text}\n".encode("gb18030"))
    labels, entries, _ = read(path)
    assert (labels.encoding, entries) == ("gb18030", [("a.png", text, "1")])


def test_wide_encodings_that_do_not_fit_are_named_with_their_line(tmp_path):
    rows = "a.png\tx\nb.png\ty\n"
    odd = write(tmp_path / "odd.txt", rows.encode("utf-16-be") + b"\0")
    with pytest.raises(DataError, match=r"odd\.txt:3: not UTF-16-BE"):
        find_labels(odd, encoding="utf-16-be")
    bare = write(tmp_path / "bare.txt", rows.encode("utf-16-be"))
    with pytest.raises(DataError, match=r"bare\.txt:1: not UTF-16"):
        find_labels(bare, encoding="utf-16")
    wide = write(tmp_path / "wide.txt", rows.encode("utf-32"))
    assert [text for _, text, _ in read(wide, encoding="utf-32")[1]] == ["x", "y"]
    write(tmp_path / "pairs" / "a.png", "")
    pair = write(tmp_path / "pairs" / "a.gt.txt", "x\ny".encode("utf-16-be") + b"\0")
    (problem,) = read(pair.parent, encoding="utf-16-be")[2]
    assert problem.startswith(f"{pair}:2: not UTF-16-BE")


def test_images_of_pairs_may_lie_in_a_folder_of_their_own(tmp_path):
    for name in ("a.png", "b.jpg", "sub/a.png", "spare.png"):
        write(tmp_path / "images" / name, "")
    write(tmp_path / "gt" / "a.gt.txt", "one")
    write(tmp_path / "gt" / "b.gt.txt", "two")
    write(tmp_path / "gt" / "lonely.gt.txt", "three")
    write(tmp_path / "gt" / "sub" / "a.txt", "four")
    found = find_labels(tmp_path / "gt", images=tmp_path / "images")
    assert [labels.format for labels in found] == ["pairs", "pairs"]
    entries = [entry for labels in found for entry in labels]
    assert [
        (entry.path.relative_to(tmp_path / "images").as_posix(), entry.text)
        for entry in entries
        if isinstance(entry, Entry)
    ] == [("a.png", "one"), ("b.jpg", "two"), ("sub/a.png", "four")]
    assert [str(entry).rpartition("/")[2] for entry in entries if isinstance(entry, Problem)] == [
        "lonely.gt.txt: no image beside this label"
    ]
    (one,) = find_labels(tmp_path / "gt" / "a.gt.txt", images=tmp_path / "images")
    assert [entry.text for entry in one] == ["one"]


def test_what_may_be_labels_and_is_passed_over_is_named(tmp_path):
    write(tmp_path / "fm" / "labels.txt", "a.png\tx\n")
    write(tmp_path / "fm" / "sub" / "deep" / "labels.txt", "b.png\ty\n")
    write(tmp_path / "fm" / "sub" / "notes.txt", "of nothing\n")
    write(tmp_path / "pages" / "page.xml", '<PcGts><Page imageFilename="page.png"/></PcGts>')
    for name in ("list.csv", "b.gt.txt", "b.png", "readme.txt"):
        write(tmp_path / "pages" / name, "b\n")
    for name in ("a.nrm.png", "a.txt", "b.txt"):
        write(tmp_path / "pairs" / name, "c\n")
    write(tmp_path / "plain" / "a.png", "")
    write(tmp_path / "plain" / "a.gt.txt", "d\n")
    write(tmp_path / "plain" / "readme.txt", "d\n")
    write(tmp_path / "tables" / "mine.csv", "file,text\n")
    (tmp_path / "plain" / "more").symlink_to(tmp_path / "fm")
    with pytest.warns(OcrccWarning) as told:
        assert len(find_labels(tmp_path)) == 4
    (one,) = told
    named = str(one.message).partition("meant: ")[2].replace(f"{tmp_path}/", "").split(", ")
    assert named == [
        *("fm/sub/deep/labels.txt", "pages/list.csv", "pages/b.gt.txt", "pairs/b.txt", "plain/more (a link)"),
        "… (6 in all)",
    ]
