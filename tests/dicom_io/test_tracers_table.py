"""The table of tracers: it comes with the package, its codes are the standard's, and a damaged one is told."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files

import pytest
from pydicom.sr.codedict import codes as standard

from analysis.values import Tracer
from dicom_io.tracers_table import plain, read_table, table

WORDS = files("dicom_io").joinpath("tracers.toml").read_text(encoding="utf-8")


def test_the_installed_table_is_whole() -> None:
    found = table()
    assert found is table()
    assert set(found.tracers) == set(Tracer)
    assert [found.tracer_with(isotope) for isotope in ("F-18", "Ga-68")] == list(Tracer)


def test_codes_are_those_of_the_standard() -> None:
    """pydicom's own copy of DICOM PS3.16 CID 4020 and 4021."""
    found = table()
    for isotope, code in (("F-18", standard.cid4020._18Fluorine), ("Ga-68", standard.cid4020._68Gallium)):
        assert code.value in found.isotopes[isotope].codes
    assert standard.cid4021.FluorodeoxyglucoseF18.value in found.tracers[Tracer.FDG].codes
    named = {code for each in (*found.others, *found.tracers.values()) for code in each.codes}
    meant = {getattr(standard.cid4021, name) for name in standard.cid4021.dir() if name.endswith(("F18", "Ga68"))}
    rare = {"Fluciclatide", "Fluorobenzothiazole", "Fluoromethane", "Fluoroetanidazole", "Spiperone", "ISO-1", "THK", "2FA"}
    rare |= {"Flubatine", "Nifene", "Fluorotriopride", "Fluoropropyl", "MK-6240"}
    assert [c.meaning for c in meant if c.value not in named and not c.meaning.startswith(tuple(rare))] == []


def test_every_entry_names_its_source() -> None:
    document = tomllib.loads(WORDS)
    for entry in (each for kind in document.values() for each in kind):
        assert all(each["source"] for each in (*entry.get("codes", []), *entry.get("texts", [])))


@pytest.mark.parametrize(
    ("written", "instead", "word"),
    [
        ('name = "PentixaFor"', 'nam = "PentixaFor"', "keys"),
        ("half_life_s = [6500, 6700]", "half_life_s = [6700, 6500]", "half_life_s"),
        ("half_life_s = [6500, 6700]", 'half_life_s = "110 min"', "half_life_s"),
        ("cpcr[ .-]?4", "cpcr[ .-?4", "regular expression"),
        ("cpcr[ .-]?4", "(?:cpcr)?", "fits everything"),
        (', where = "compound"', ', where = "somewhere"', "where"),
        ('"35337001"', '"77004003"', "stands for"),
        ('"35337001"', "35337001", "text"),
        ('isotope = "Ga-68"', 'isotope = "Ga-67"', "isotope of its own"),
        ("[[other]]", "[[others]]", "keys"),
    ],
)
def test_a_damaged_table_is_told(written: str, instead: str, word: str) -> None:
    assert written in WORDS
    with pytest.raises(ValueError, match=word):
        read_table(WORDS.replace(written, instead, 1))


def test_spellings_are_compared_without_accents_figures_and_case() -> None:
    assert plain("[⁶⁸Ga]Ga_PentixaFor  Désoxy") == "[68ga]ga pentixafor desoxy"
    assert not re.search(r"[A-Z_]", plain("A_B"))
