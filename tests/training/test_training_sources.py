"""What ``--train`` means."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocrcc.charset import Charset
from ocrcc.datasets.opened import Opener
from ocrcc.errors import ConfigError
from ocrcc.synth.presets import load_config
from ocrcc.training import sources


class Rendered:
    name, size = "rendered", None


@pytest.mark.parametrize("given", [{}, {"balanced_over": "texts"}])
def test_renderers_are_told_what_to_draw_and_else_do_as_their_preset_says(digits_lmdb, tmp_path, monkeypatch, given):
    told = []

    def load_source(spec, charset, **how):
        told.append((spec, charset, how))
        return Rendered()

    monkeypatch.setattr(sources, "load_source", load_source)
    charset = Charset("0123456789")
    opener = Opener(tmp_path, False)
    found = sources.open_sources(
        ["synth:small", str(digits_lmdb)], charset, opener, corpus=["texts.txt"], seed=7, **given
    )
    assert told == [("synth:small", charset, {"seed": 7, "corpus": [Path("texts.txt")], **given})]
    assert [one.weight for one in found.mixed] == [40, 40]
    assert found.lines == 40


def test_what_texts_are_balanced_over_is_named_if_there_is_no_such_thing():
    with pytest.raises(ConfigError, match="balanced_over is 'all', not charset or texts"):
        load_config("small", balanced_over="all")
