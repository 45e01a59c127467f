"""Which tracer, which PET, which CT; and what is held rather than guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from analysis.errors import IncompleteSeries, NotQuantifiable, NoUsableCt, NoUsablePet, UnknownTracer
from analysis.values import Tracer
from dicom_io.choice import choose_ct, choose_pet
from dicom_io.headers import group
from dicom_io.inspection import suv_report
from dicom_io.studies import Instance, Study, TracerStudy
from dicom_io.tracers import SiteRule, TracerRules, identify, recognise


def study(*series: list[Dataset]) -> Study:
    return group(Instance(path=Path("x.dcm"), header=ds) for slices in series for ds in slices)[0]


def coded(value: str, designator: str, meaning: str = "") -> Sequence:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, designator, meaning
    return Sequence([code])


def tracer_of(scans, **changes: Any) -> Tracer:
    return identify(scans.series(scans.pet(2, **changes))).tracer


def test_real_pair(real_studies: list[TracerStudy]) -> None:
    """The uncorrected PET says ATTN in CorrectedImage, the scout shares the frame of reference: neither is taken."""
    found = real_studies
    assert [(s.tracer, s.pet.description, s.ct.description) for s in found] == [
        (Tracer.FDG, "PET AC", "CT IMAGES"),
        (Tracer.PENTIXAFOR, "PET WB 68Ga-PentixaFor", "CT WB 3.0"),
    ]
    assert [s.injected.isoformat() for s in found] == ["2026-03-10T07:21:00", "2026-03-12T10:30:00"]


def test_psma_is_unknown_and_still_has_an_suv(shared_data: Path) -> None:
    """A public object: half-life of Ga-68, code of Ga-66, text Ga68-PSMA."""
    report = suv_report(shared_data / "suv" / "dro" / "DRO_5_0" / "PT")
    assert report.tracer is None
    assert "Ga-68" in report.tracer_note
    assert "PSMA" in report.tracer_note
    with pytest.raises(UnknownTracer):
        identify(report.pet)


FDG_CODE = {"RadiopharmaceuticalCodeSequence": coded("C-B1031", "SNM3")}


@pytest.mark.parametrize(
    "item",
    [
        {"Radiopharmaceutical": "FDG -- fluorodeoxyglucose"},
        {"Radiopharmaceutical": "Fluorodeoxyglucose F^18^"},
        {"Radiopharmaceutical": "fludeoxyglucose"},
        {"Radiopharmaceutical": "Solution", **FDG_CODE},
        {"Radiopharmaceutical": None, "RadiopharmaceuticalCodeSequence": coded("35321007", "SCT")},
        {"Radiopharmaceutical": "18F-FDG", "RadionuclideHalfLife": None},
        {"RadionuclideHalfLife": None, "RadionuclideCodeSequence": coded("C-111A1", "99SDM", "18F")},
        {"RadionuclideHalfLife": "0", "RadionuclideCodeSequence": coded("77004003", "SCT")},
        {"RadionuclideCodeSequence": coded("C-131A3", "SRT", "^68^Gallium")},
    ],
)
def test_fdg(scans, item: dict[str, Any]) -> None:
    assert tracer_of(scans, item=item) is Tracer.FDG


@pytest.mark.parametrize(
    "changes",
    [
        {"item": {"Radiopharmaceutical": "68Ga-Pentixafor"}},
        {"item": {"Radiopharmaceutical": "Solution"}, "SeriesDescription": "PET WB CXCR4"},
        {"item": {"Radiopharmaceutical": None}, "StudyDescription": "CXCR-4 PET/CT"},
        {"item": {"Radiopharmaceutical": "Ga68"}, "ProtocolName": "PENTIXAFOR_60min"},
        {"item": {"Radiopharmaceutical": "Ga68"}, "RequestedProcedureDescription": "PET/CT mit PentixaFor"},
        {
            "item": {
                "RadiopharmaceuticalCodeSequence": coded("X1", "99SITE", "[68Ga]PentixaFor"),
                "Radiopharmaceutical": "Other",
            }
        },
        {"item": {"RadionuclideCodeSequence": coded("C-131A1", "SRT", "^68^Gallium")}},
        {"item": {"RadionuclideHalfLife": None, "RadionuclideCodeSequence": coded("35337001", "SCT")}},
        {"item": {"RadionuclideHalfLife": None, "Radiopharmaceutical": "[68Ga]PentixaFor"}},
    ],
)
def test_pentixafor(scans, changes: dict[str, Any]) -> None:
    assert tracer_of(scans, tracer="PentixaFor", **changes) is Tracer.PENTIXAFOR


@pytest.mark.parametrize(
    ("tracer", "changes", "word"),
    [
        ("PentixaFor", {"item": {"Radiopharmaceutical": "Solution"}}, "nothing names PentixaFor"),
        ("PentixaFor", {"item": {"Radiopharmaceutical": "68Ga-PSMA-11"}, "StudyDescription": "PET/CT CXCR4"}, "68Ga-PSMA-11"),
        ("PentixaFor", {"item": {"Radiopharmaceutical": "DOTATATE"}}, "DOTATATE"),
        (
            "PentixaFor",
            {"item": {"Radiopharmaceutical": "Ga68"}, "StudyDescription": "CXCR4", "SeriesDescription": "PSMA"},
            "a PSMA ligand",
        ),
        ("PentixaFor", {"item": {"Radiopharmaceutical": "Ga68"}, "StudyDescription": "PET CXCR4 PSMA"}, "only by"),
        ("PentixaFor", {"item": {"Radiopharmaceutical": "Ga68"}, "StudyDescription": "PET vor PentixaTher"}, "nothing names"),
        ("PentixaFor", {"item": {"Radiopharmaceutical": "68Ga-PentixaTher"}, "StudyDescription": "CXCR4"}, "PentixaTher"),
        ("PentixaFor", {"item": {"Radiopharmaceutical": "Solution"}, "StudyDescription": "PTF"}, "nothing names PentixaFor"),
        ("PentixaFor", {"item": {"RadiopharmaceuticalCodeSequence": coded("C-B1031", "SRT")}}, "which names FDG"),
        ("PentixaFor", {"item": {"RadiopharmaceuticalCodeSequence": coded("C118961", "NCIt")}}, "a PSMA ligand"),
        ("PentixaFor", {"item": {"RadionuclideHalfLife": None, "RadionuclideCodeSequence": coded("C-131A1", "SRT")}}, "Ga-66"),
        ("PentixaFor", {"SeriesDescription": "PET FDG"}, "SeriesDescription is 'PET FDG', which names FDG"),
        ("FDG", {"item": {"Radiopharmaceutical": "FDGal"}}, "FDGal"),
        ("FDG", {"item": {"Radiopharmaceutical": "Solution"}, "SeriesDescription": "PET non-FDG"}, "nothing names FDG"),
        ("FDG", {"item": {"Radiopharmaceutical": "68Ga-Pentixafor"}, "StudyDescription": "FDG PET/CT"}, "68Ga-Pentixafor"),
        ("FDG", {"item": {"RadionuclideHalfLife": None, "Radiopharmaceutical": "18F-FDG or 68Ga-PSMA"}}, "two isotopes"),
        ("FDG", {"item": {"Radiopharmaceutical": "PSMA-1007"}, "StudyDescription": "FDG PET/CT"}, "PSMA-1007"),
        ("FDG", {"item": {"Radiopharmaceutical": "Solution"}}, "nothing names FDG"),
        ("FDG", {"item": {"Radiopharmaceutical": "Sodium fluoride"}}, "neither FDG nor PentixaFor"),
        ("FDG", {"item": {"Radiopharmaceutical": "Pentixafor"}}, "which names PentixaFor"),
        ("FDG", {"item": {"RadionuclideHalfLife": "1220"}}, "1220 s"),
        ("FDG", {"item": {"RadionuclideHalfLife": None, "Radiopharmaceutical": "Tracer"}}, "does not show its isotope"),
        ("FDG", {"RadiopharmaceuticalInformationSequence": Sequence([])}, "0 items"),
    ],
)
def test_unknown_tracers_name_what_was_looked_at(scans, tracer: str, changes: dict[str, Any], word: str) -> None:
    with pytest.raises(UnknownTracer, match=word):
        tracer_of(scans, tracer=tracer, **changes)


@pytest.mark.parametrize(
    ("tracer", "changes", "elements"),
    [
        ("FDG", {"item": {"Radiopharmaceutical": "Solution"}}, ["RadionuclideHalfLife '6588'", "SeriesDescription 'PET AC'"]),
        ("FDG", {"item": {"RadionuclideHalfLife": "1220"}}, ["'1220'", "Radiopharmaceutical 'FDG -- fluorodeoxyglucose'"]),
        ("FDG", {"item": {"RadionuclideHalfLife": None, "Radiopharmaceutical": "Tracer"}}, ["Radiopharmaceutical 'Tracer'"]),
        ("FDG", {"item": {"Radiopharmaceutical": "NaF"}, "ProtocolName": "Bone"}, ["'NaF'", "ProtocolName 'Bone'"]),
        (
            "PentixaFor",
            {"item": {"Radiopharmaceutical": "Ga", "RadionuclideCodeSequence": coded("C-131A1", "SRT", "^66^Gallium")}},
            ["RadionuclideCodeSequence 'C-131A1 SRT ^66^Gallium'", "Radiopharmaceutical 'Ga'", "RadionuclideHalfLife '4062.6'"],
        ),
        ("FDG", {"RadiopharmaceuticalInformationSequence": Sequence([]), "StudyDescription": "X"}, ["StudyDescription 'X'"]),
    ],
)
def test_a_refusal_tells_each_element_and_what_it_says(scans, tracer, changes: dict[str, Any], elements: list[str]) -> None:
    with pytest.raises(UnknownTracer) as refused:
        tracer_of(scans, tracer=tracer, **changes)
    assert [element for element in elements if element not in str(refused.value)] == []


FDG_SPELLINGS = (
    "FDG, F-18 FDG, 18F-FDG, [18F]FDG, F18FDG, 18FFDG, FDG -- fluorodeoxyglucose, FluorodeoxyglucoseF18, "
    "Fluor-18-Desoxyglucose FDG, Fludeoxyglucose (18F), Fluordesoxyglucose, Fluordesoxyglukose, fluorodésoxyglucose, "
    "fludésoxyglucose (18F),"
    "fludesoxiglucosa, fluorodesoxiglucosa, fludesossiglucosio, fluorodeossiglucosio, fluordeoxyglucose, fludesoxiglicose,"
    "fludeoksyglukoza, fludeoxiglukos, fluorideoksiglukoosi, fludeoxyglukóza, florodeoksiglukoz, Fluoro-2-deoxy-D-glucose,"
    "2-deoxy-2-[18F]fluoro-D-glucose, FLUORODEOXY"
)
PENTIXAFOR_SPELLINGS = (
    "Pentixafor, PentixaFor, 68Ga-Pentixafor, [68Ga]Ga-PentixaFor, [⁶⁸Ga]Ga-PentixaFor, Ga68 PENTIXA, Pentixa for,"
    "PentixaFor/PentixaTher, PTF, Ga-68 PTF, CXCR4, CXCR-4, CXCR 4, cxcr_4, Ga68-CPCR4-2, 68Ga-DOTA-CPCR4.2, 68Ga-CPCR4.2,"
    "Gallium (68Ga) boclatixafortide, Pentixfor, Pentiksafor"
)
OTHERS = (
    "68Ga-PSMA-11, PSMA-1007, rhPSMA-7, DCFPyL, piflufolastat, DOTATATE, DOTA-TOC, 68Ga-DOTA-Tyr3-octreotide, SSR PET, FAPI-46,"
    "68Ga-FAPI, Cholin, fluorocholine, colina, F-DOPA, FET, fluoroethyltyrosine, NaF, sodium fluoride,"
    "Natriumfluorid, florbetapir, fluciclovine, FES, fluoroestradiol, FLT, fluorothymidine, FMISO, exendin, "
    "Ga68 citrate, PentixaTher"
)


@pytest.mark.parametrize("words", [word.strip() for word in FDG_SPELLINGS.split(",")])
def test_spellings_of_fdg(scans, words: str) -> None:
    """Generic names of WHO's lists in the languages of Europe, and what scanners write."""
    assert tracer_of(scans, item={"Radiopharmaceutical": words}) is Tracer.FDG


@pytest.mark.parametrize("words", [word.strip() for word in PENTIXAFOR_SPELLINGS.split(",")])
def test_spellings_of_pentixafor(scans, words: str) -> None:
    pet = scans.pet(2, tracer="PentixaFor", item={"Radiopharmaceutical": words}, SpecificCharacterSet="ISO_IR 192")
    assert identify(scans.series(pet)).tracer is Tracer.PENTIXAFOR


@pytest.mark.parametrize("words", [word.strip() for word in OTHERS.split(",")])
def test_no_other_tracer_is_taken_for_ours(scans, words: str) -> None:
    """Whatever the study is called."""
    for tracer in ("FDG", "PentixaFor"):
        with pytest.raises(UnknownTracer, match="neither FDG nor PentixaFor"):
            tracer_of(scans, tracer=tracer, item={"Radiopharmaceutical": words}, StudyDescription="PET/CT FDG CXCR4")


@pytest.mark.parametrize(
    ("item", "shown"),
    [
        ({"RadionuclideHalfLife": "6584.04", "RadionuclideCodeSequence": coded("C-131A3", "SRT")}, "half-life of 6584.04 s"),
        ({"RadionuclideHalfLife": None, "RadionuclideCodeSequence": coded("C0302995", "UMLS")}, "C0302995"),
        (
            {"RadionuclideHalfLife": "", "RadionuclideCodeSequence": coded("X", "99X", "Fluor-18")},
            "RadionuclideCodeSequence 'Fluor-18'",
        ),
        ({"RadionuclideHalfLife": None, "Radiopharmaceutical": "FDG F^18^"}, "Radiopharmaceutical"),
        ({"RadionuclideHalfLife": None, "Radiopharmaceutical": "18FDG"}, "Radiopharmaceutical"),
        ({"RadionuclideHalfLife": None, "Radiopharmaceutical": "18FFDG"}, "Radiopharmaceutical"),
        ({"RadionuclideHalfLife": None, "Radiopharmaceutical": "FDG (fluoro-18)"}, "Radiopharmaceutical"),
    ],
)
def test_the_isotope_is_shown_by_half_life_then_code_then_text(scans, item: dict[str, Any], shown: str) -> None:
    found = identify(scans.series(scans.pet(2, item={"RadiopharmaceuticalCodeSequence": coded("Y-X1743", "99SDM"), **item})))
    assert found.tracer is Tracer.FDG
    assert shown in found.evidence.partition(", FDG by")[0]


def test_rules_of_a_site(scans) -> None:
    pet = scans.pet(
        2, tracer="PentixaFor", item={"Radiopharmaceutical": "Solution"}, StationName="PETCT2", ProtocolName="KM 60 min"
    )
    for ds in pet:
        ds.StudyDescription = "Myélome [PET]"
    for ds in pet:
        ds.file_meta.SourceApplicationEntityTitle = "MCT128"
    series = scans.series(pet)
    fitting = [
        SiteRule(tracer=Tracer.PENTIXAFOR, station="petct2", protocol="km*"),
        SiteRule(tracer=Tracer.PENTIXAFOR, ae_title="MCT*"),
        SiteRule(tracer=Tracer.PENTIXAFOR, protocol="pet ac"),
        SiteRule(tracer=Tracer.PENTIXAFOR, description="myelom* [pet]"),
        SiteRule(tracer=Tracer.PENTIXAFOR, description="pet*", station="pet*"),
    ]
    for rule in fitting:
        found = identify(series, TracerRules(rules=(rule,)))
        assert found.tracer is Tracer.PENTIXAFOR
        assert "a rule of the site, which fits" in found.evidence
    for rule in (
        SiteRule(tracer=Tracer.PENTIXAFOR, station="PETCT2", protocol="FDG*"),
        SiteRule(tracer=Tracer.FDG, station="PETCT2"),
        SiteRule(tracer=Tracer.PENTIXAFOR, description="KM*"),
        SiteRule(tracer=Tracer.PENTIXAFOR, station="PETCT2", description="PET NAC"),
    ):
        with pytest.raises(UnknownTracer):
            identify(series, TracerRules(rules=(rule,)))


def test_a_rule_does_not_overrule_a_named_tracer(scans) -> None:
    series = scans.series(scans.pet(2, tracer="PentixaFor", item={"Radiopharmaceutical": "Ga68-PSMA"}, StationName="A"))
    with pytest.raises(UnknownTracer):
        identify(series, TracerRules(rules=(SiteRule(tracer=Tracer.PENTIXAFOR, station="A"),)))


def test_a_rule_does_not_overrule_a_described_tracer(scans) -> None:
    pet = scans.pet(2, tracer="PentixaFor", item={"Radiopharmaceutical": "Ga68"}, StationName="A", StudyDescription="PSMA")
    with pytest.raises(UnknownTracer, match=r"only by a rule of the site .StationName 'A'.*StudyDescription 'PSMA'"):
        identify(scans.series(pet), TracerRules(rules=(SiteRule(tracer=Tracer.PENTIXAFOR, station="A"),)))


@pytest.mark.parametrize("words", [{}, {"station": "*"}, {"description": " "}, {"protocol": "PET*", "ae_title": "**"}])
def test_a_rule_must_say_something(words: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"must name an ae_title|fits every study"):
        SiteRule(tracer=Tracer.PENTIXAFOR, **words)


@pytest.mark.parametrize(
    ("other", "word"),
    [
        ({"SeriesDescription": "PET NAC"}, "not corrected"),
        ({"SeriesDescription": "WB no AC"}, "not corrected"),
        ({"SeriesDescription": "WB_NO_AC_TOF"}, "not corrected"),
        ({"SeriesDescription": "PET WB (NAC)"}, "not corrected"),
        ({"SeriesDescription": "Body w/o AC"}, "not corrected"),
        ({"SeriesDescription": "PET nicht schwaechungskorrigiert"}, "not corrected"),
        ({"SeriesDescription": "WB_Uncorrected"}, "not corrected"),
        ({"SeriesDescription": "B", "AttenuationCorrectionMethod": "none"}, "AttenuationCorrectionMethod"),
        ({"SeriesDescription": "B", "CorrectedImage": ["DECY"]}, "ATTN"),
        ({"SeriesDescription": "B", "Units": "PROPCNTS"}, "PROPCNTS"),
        ({"SeriesDescription": "B", "SeriesType": ["DYNAMIC", "IMAGE"]}, "DYNAMIC"),
        ({"SeriesDescription": "B", "SeriesType": ["GATED", "IMAGE"]}, "GATED"),
        ({"SeriesDescription": "MIP WB"}, "projection"),
        ({"SeriesDescription": "B", "ImageType": ["DERIVED", "SECONDARY", "MIP"]}, "projection"),
        ({"SeriesDescription": "Fused", "ImageType": ["DERIVED", "SECONDARY"]}, "derived"),
        ({"SeriesDescription": "Coronal", "ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "axial"),
    ],
)
def test_what_is_no_pet_to_measure(scans, other: dict[str, Any], word: str) -> None:
    """Larger and newer than the right one, and still not taken; alone, it is refused with the reason."""
    unwanted = scans.pet(20, SeriesTime="110000", **other)
    assert choose_pet(study(unwanted, scans.pet())).series.description == "PET AC"
    with pytest.raises(NoUsablePet, match=word):
        choose_pet(study(unwanted, scans.ct()))


@pytest.mark.parametrize(
    "description",
    ["PET AC", "WB CTAC", "Nacken PET", "PET_AC_TrueX", "Thorax Knochen", "PET WB TOF AC 3D", "Monaco AC", "PET natrium"],
)
def test_corrected_series_are_not_mistaken(scans, description: str) -> None:
    assert choose_pet(study(scans.pet(SeriesDescription=description))).series.description == description


def test_study_without_pet_and_without_ct(scans) -> None:
    with pytest.raises(NoUsablePet, match="no PET series"):
        recognise(study(scans.ct()))
    with pytest.raises(NoUsableCt, match="no CT series"):
        recognise(study(scans.pet()))


def test_the_longest_then_the_finest_then_the_newest_pet(scans) -> None:
    torso = scans.pet(30, SeriesDescription="torso")
    legs = scans.pet(12, SeriesDescription="legs", Rows=16, Columns=16, first=-80.0)
    chosen = choose_pet(study(legs, torso))
    assert chosen.series.description == "torso"
    assert "'legs'" in chosen.remarks[0]
    fine = scans.pet(30, SeriesDescription="fine", Rows=16, Columns=16)
    assert choose_pet(study(torso, fine, legs)).series.description == "fine"
    newer = scans.pet(30, SeriesDescription="newer", Rows=16, Columns=16, ContentDate="20260310", ContentTime="110000")
    older = scans.pet(30, SeriesDescription="older", Rows=16, Columns=16, ContentDate="20260310", ContentTime="103000")
    assert choose_pet(study(newer, older)).series.description == "newer"


def test_a_whole_pet_is_taken_before_an_incomplete_one(scans) -> None:
    broken = scans.pet(30, SeriesDescription="broken", Rows=16, Columns=16)
    del broken[10]
    assert choose_pet(study(broken, scans.pet(30))).series.description == "PET AC"


def test_an_incomplete_torso_is_waited_for(scans) -> None:
    torso = scans.pet(30, SeriesDescription="torso")
    del torso[10]
    legs = scans.pet(12, SeriesDescription="legs", first=-80.0)
    with pytest.raises(IncompleteSeries, match="1 slice is missing"):
        recognise(study(torso, legs, scans.ct(30)))


def test_a_named_method_is_the_better_evidence(scans) -> None:
    """Both claim ATTN and neither is described, as after de-identification; the one without a method was not corrected."""
    claims = scans.pet(20, SeriesDescription=None, SeriesInstanceUID="1.2.3.1")
    names = scans.pet(20, SeriesDescription=None, SeriesInstanceUID="1.2.3.2", AttenuationCorrectionMethod="measured")
    assert choose_pet(study(claims, names)).series.series_instance_uid == "1.2.3.2"


def test_originals_before_derived(scans) -> None:
    derived = scans.pet(30, SeriesDescription="resliced", ImageType=["DERIVED", "PRIMARY"])
    assert choose_pet(study(derived, scans.pet(20))).series.description == "PET AC"
    assert "derived" in choose_pet(study(derived)).remarks[0]


@pytest.mark.parametrize(
    ("other", "word"),
    [
        ({"FrameOfReferenceUID": "1.2.3"}, "frame of reference"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "axial"),
        ({"first": 0.0}, "covers 58 %"),
    ],
)
def test_what_is_no_ct_of_the_pet(scans, other: dict[str, Any], word: str) -> None:
    unwanted = scans.ct(**{"slices": 5, "SeriesDescription": "B", "Rows": 64, "Columns": 64, **other})
    pet = scans.pet()
    whole = study(pet, unwanted, scans.ct())
    assert choose_ct(whole, choose_pet(whole).series).series.description == "CT"
    alone = study(pet, unwanted)
    with pytest.raises(NoUsableCt, match=word):
        choose_ct(alone, choose_pet(alone).series)


def test_the_ct_that_covers_best_then_the_finest(scans) -> None:
    pet = scans.pet(20)
    short = scans.ct(37, SeriesDescription="short", spacing=2.0)
    coarse = scans.ct(20, SeriesDescription="coarse")
    fine = scans.ct(40, SeriesDescription="fine", spacing=2.0, first=-11.0)
    assert choose_ct(study(pet, short, coarse), scans.series(pet)).series.description == "coarse"
    chosen = choose_ct(study(pet, short, coarse, fine), scans.series(pet))
    assert chosen.series.description == "fine"
    assert "'coarse'" in chosen.remarks[0]


def test_a_scout_inside_the_ct_series_is_left_out(scans) -> None:
    slices = scans.ct(7)
    slices[6].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    slices[6].ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    assert len(recognise(study(scans.pet(), slices)).ct.instances) == 6


def test_what_cannot_be_measured_is_told_at_once(scans) -> None:
    with pytest.raises(NotQuantifiable, match="PatientWeight"):
        recognise(study(scans.pet(PatientWeight=None), scans.ct()))
    broken = scans.ct(8)
    del broken[3]
    with pytest.raises(IncompleteSeries, match="1 slice is missing"):
        recognise(study(scans.pet(), broken))


def test_series_without_descriptions(scans) -> None:
    """De-identified headers often have none; the message still names the series."""
    pet = scans.pet(SeriesDescription=None, SeriesInstanceUID="1.2.3.9", SeriesNumber="7", Units="1CM")
    with pytest.raises(NoUsablePet, match="number 7"):
        choose_pet(study(pet))


def test_two_tracers_in_one_study(scans) -> None:
    """Taking the longer one would drop the other in silence."""
    both = study(scans.pet(), scans.pet(20, tracer="PentixaFor", SeriesDescription="CXCR4"), scans.ct(20))
    with pytest.raises(UnknownTracer, match="a PET of each tracer"):
        recognise(both)


def test_a_study_without_a_date(scans) -> None:
    undated = dict.fromkeys(("StudyDate", "SeriesDate", "AcquisitionDate"))
    with pytest.raises(NotQuantifiable, match="no date"):
        recognise(study(scans.pet(Units="GML", **undated), scans.ct(**undated)))


def test_a_refusal_names_both_elements_that_contradict_each_other(scans) -> None:
    item = {"Radiopharmaceutical": "68Ga-PSMA-11"}
    series = scans.series(scans.pet(2, tracer="PentixaFor", item=item, StudyDescription="PET/CT CXCR4"))
    with pytest.raises(UnknownTracer, match=r"Radiopharmaceutical is '68Ga-PSMA-11'.*StudyDescription 'PET/CT CXCR4' names"):
        identify(series)


def test_a_pet_without_frame_of_reference_is_told_as_such(scans) -> None:
    slices = [*scans.pet(FrameOfReferenceUID=None), *scans.ct()]
    study = group(Instance(path=Path(f"{n}.dcm"), header=ds) for n, ds in enumerate(slices))[0]
    with pytest.raises(NoUsableCt, match="PT 'PET AC' has no FrameOfReferenceUID"):
        recognise(study)
