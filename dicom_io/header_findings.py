"""What only the headers of a pair know about how far its numbers can be trusted.

No name, birth date or PatientID stands in a value or a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator

from analysis.values import Finding, Tracer, Verdict
from dicom_io.elements import text, words
from dicom_io.headers import differences, same_patient_id
from dicom_io.studies import DualTracerPair, PatientIdentity, TracerStudy

# Units that become SUV without a maker's private factor.
STANDARD_UNITS = ("BQML", "GML", "CM2ML")
COMPARED = {"name": "name", "birth date": "birth_date", "sex": "sex"}


def header_findings(pair: DualTracerPair) -> tuple[Finding, ...]:
    """Findings on identity, units, frames and image type of both studies."""
    found = [_same_patient(pair.fdg.study.patient, pair.pentixafor.study.patient)]
    for tracer in Tracer:
        found += _study(pair.study(tracer))
    return tuple(found)


def _same_patient(one: PatientIdentity, other: PatientIdentity) -> Finding:
    """What was compared, and what could not be or is only spelt otherwise; a plain contradiction was refused as no pair."""
    silent: list[str] = []
    spelt: list[str] = []
    same: list[str] = []
    for what, attribute in COMPARED.items():
        first, second = (str(getattr(who, attribute)).strip(" ^=") for who in (one, other))
        (silent if not first or not second else same if first == second else spelt).append(what)
    differing = [what for what in differences(one, other) if what in spelt]
    return Finding(
        name="same patient",
        value=", ".join(same) or "none",
        limit=", ".join(COMPARED),
        verdict=_identity_verdict(one, other, bool(differing), doubt=bool(silent or spelt)),
        message=_identity_sentence(same, silent, [what for what in spelt if what not in differing], differing),
    )


def _identity_verdict(one: PatientIdentity, other: PatientIdentity, differing: bool, *, doubt: bool) -> Verdict:
    if differing or not same_patient_id(one, other):
        return Verdict.HOLD
    return Verdict.WARN if doubt else Verdict.OK


def _identity_sentence(same: list[str], silent: list[str], spelt: list[str], differing: list[str]) -> str:
    said = [f"the same in {', '.join(same)}"] if same else []
    said += [f"silent on {', '.join(silent)} in at least one study"] if silent else []
    said += [f"spelt differently in {', '.join(spelt)}"] if spelt else []
    said += [f"of two people by {', '.join(differing)}"] if differing else []
    return f"Beside the PatientID, the headers of both studies are {'; '.join(said)}."


def _study(study: TracerStudy) -> Iterator[Finding]:
    yield _units(study)
    yield _frame(study)
    yield _image_type(study)


def _units(study: TracerStudy) -> Finding:
    """Units that cannot be converted are refused before; a maker's own counts rest on a private factor."""
    units = text(study.pet.header, "Units").upper()
    standard = units in STANDARD_UNITS
    ends = "a unit of the standard" if standard else "which becomes SUV only by the maker's private factor"
    return Finding(
        name=f"{study.tracer} units",
        value=units or None,
        limit=", ".join((*STANDARD_UNITS, "CNTS")),
        verdict=Verdict.OK if standard or units == "CNTS" else Verdict.HOLD,
        message=f"The PET of {study.tracer} is stored in {units or 'no unit'}, {ends}.",
    )


def _frame(study: TracerStudy) -> Finding:
    pet, ct = study.pet.frame_of_reference_uid, study.ct.frame_of_reference_uid
    known = bool(pet and ct)
    same = known and pet == ct
    ends = {
        (True, True): "one frame of reference",
        (True, False): "different frames of reference, so the CT may lie elsewhere",
        (False, False): "no common frame of reference that the header names, so the CT may lie elsewhere",
    }[known, same]
    return Finding(
        name=f"{study.tracer} frame of reference",
        value="same" if same else "different" if known else None,
        limit="same",
        verdict=Verdict.OK if same else Verdict.HOLD if known else Verdict.WARN,
        message=f"PET and CT of {study.tracer} share {ends}." if same else f"PET and CT of {study.tracer} have {ends}.",
    )


def _image_type(study: TracerStudy) -> Finding:
    """A derived PET was computed from another: what was done to its values nobody can tell."""
    kind = next(iter(words(study.pet.header, "ImageType")), "").upper()
    original = kind == "ORIGINAL"
    ends = "the reconstruction itself" if original else "not called an original, so its values may have been changed"
    return Finding(
        name=f"{study.tracer} image type",
        value=kind or None,
        limit="ORIGINAL",
        verdict=Verdict.OK if original else Verdict.WARN,
        message=f"The PET of {study.tracer} is {ends}.",
    )
