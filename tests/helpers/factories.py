"""A tiny dual-tracer pair on disk with an analysis that fits it: what the writers are given, without the pipeline.

Lesions are boxes of voxels, so that every volume and SUV is known without any of the project's own measuring code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid

from analysis.values import (
    AlignedPair,
    Anatomy,
    Body,
    Concordance,
    Finding,
    Grid,
    Labelmap,
    Lesion,
    LesionMatch,
    LesionSet,
    Model,
    PatientAnalysis,
    PetCt,
    RegistrationQuality,
    Site,
    Tracer,
    Transform,
    Unit,
    Verdict,
    Volume,
)
from dicom_io.studies import DualTracerPair, Instance, PatientIdentity, Series, Study, TracerStudy

SHAPE = (24, 40, 44)
SPACING = (5.0, 4.0, 4.0)
SUV_FACTOR = 1e-3
STARTED = {Tracer.FDG: datetime(2026, 3, 10, 9, 30), Tracer.PENTIXAFOR: datetime(2026, 3, 12, 11, 0)}
ORIGIN = {Tracer.FDG: (-86.0, -78.0, 900.0), Tracer.PENTIXAFOR: (-80.0, -70.0, 300.0)}
MODEL = Model(name="boxes", version="1.2", manufacturer="tests", weights_sha256="ab" * 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A lesion: first voxel and size (k, j, i); SUV per tracer (NaN: not seen there)."""

    at: tuple[int, int, int]
    size: tuple[int, int, int] = (2, 2, 2)
    fdg: float = float("nan")
    pentixafor: float = float("nan")
    region: str = "vertebra_L3"
    site: Site = Site.MEDULLARY
    certain: bool = True
    comparable: bool = True

    def suv(self, tracer: Tracer) -> float:
        return self.fdg if tracer is Tracer.FDG else self.pentixafor


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What the headers say; character_set and name as DICOM writes them."""

    name: str = "Muster^Maria"
    character_set: str | list[str] = "ISO_IR 100"
    missing: tuple[str, ...] = ()
    extra: Mapping[str, object] = field(default_factory=dict)


FEW = (
    Box(at=(4, 10, 10), size=(3, 4, 4), fdg=6.5, pentixafor=9.25),
    Box(at=(12, 20, 24), size=(2, 3, 3), fdg=5.0, region="hilum of left lung", site=Site.EXTRAMEDULLARY),
    Box(at=(18, 12, 30), size=(2, 2, 5), pentixafor=7.125, region="rib_right_7", certain=False),
    Box(at=(1, 5, 5), size=(1, 2, 2), fdg=4.5, region="femur_right", comparable=False),
)


def many(count: int, tracer: Tracer = Tracer.PENTIXAFOR) -> tuple[Box, ...]:
    """So many single-voxel lesions of one tracer, none touching another."""
    places = [(k, j, i) for k in range(1, 23, 2) for j in range(1, 39, 3) for i in range(1, 43, 3)]
    suv = {"fdg" if tracer is Tracer.FDG else "pentixafor": 8.0}
    return tuple(Box(at=place, size=(1, 1, 1), **suv) for place in places[:count])  # type: ignore[arg-type]


def make_case(
    folder: Path, boxes: Sequence[Box] = FEW, patient: Patient | None = None
) -> tuple[DualTracerPair, PatientAnalysis]:
    """A pair with its files below `folder`, and the analysis that finds exactly the boxes."""
    who = patient or Patient()
    studies = {t: _study(folder / t.value.lower(), t, boxes, who) for t in Tracer}
    pair = DualTracerPair(fdg=studies[Tracer.FDG], pentixafor=studies[Tracer.PENTIXAFOR])
    return pair, make_analysis(boxes)


def grid(tracer: Tracer) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, SPACING[2]], [0, SPACING[1], 0], [SPACING[0], 0, 0]])
    affine[:3, 3] = ORIGIN[tracer]
    return Grid(shape=SHAPE, affine=affine)


def suv_values(tracer: Tracer, boxes: Sequence[Box]) -> np.ndarray:
    """SUV: 1 in an elliptic body, 0 around it, the boxes' own value (their corner voxel 10 % hotter)."""
    _, j, i = np.indices(SHAPE)
    body = ((j - 20) / 17.0) ** 2 + ((i - 22) / 20.0) ** 2 < 1
    values = np.where(body, 1.0, 0.0)
    for box in boxes:
        if np.isfinite(box.suv(tracer)):
            values[_slices(box)] = box.suv(tracer)
            values[box.at] = 1.1 * box.suv(tracer)
    return (np.rint(values / SUV_FACTOR) * SUV_FACTOR).astype(np.float32)


def make_analysis(boxes: Sequence[Box] = FEW) -> PatientAnalysis:
    lesions = {t: _lesion_set(t, boxes) for t in Tracer}
    shift = np.eye(4)
    shift[:3, 3] = np.subtract(ORIGIN[Tracer.FDG], ORIGIN[Tracer.PENTIXAFOR])
    quality = RegistrationQuality(
        method="rigid", reason="boxes", bone_dice=0.9, bone_dice_rigid=0.9, body_dice=0.95, error_mm=3.0
    )
    studies = {t: _pet_ct(t, boxes) for t in Tracer}
    return PatientAnalysis(
        aligned=AlignedPair(
            fdg=studies[Tracer.FDG], pentixafor=studies[Tracer.PENTIXAFOR], transform=Transform(rigid=shift), quality=quality
        ),
        anatomy={t: _anatomy(t) for t in Tracer},
        lesions=lesions,
        matches=_matches(boxes),
        features=_features(lesions, boxes),
        findings=(
            Finding(name="liver FDG", value=2.1, limit="1.3 to 3.0", verdict=Verdict.OK, message="The liver is as expected."),
            Finding(name="registration", value=0.6, limit="0.70", verdict=Verdict.WARN, message="Bones overlap little."),
        ),
        settings={"segmentation": {"fdg_suv": 4.0}, "matching": {"over": "smaller"}},
        software={"duet-node": "0.1.0", "numpy": "2"},
    )


def _slices(box: Box) -> tuple[slice, ...]:
    return tuple(slice(a, a + n) for a, n in zip(box.at, box.size, strict=True))


def _pet_ct(tracer: Tracer, boxes: Sequence[Box]) -> PetCt:
    where = grid(tracer)
    values = suv_values(tracer, boxes)
    hounsfield = np.where(values > 0, 40.0, -1000.0).astype(np.float32)
    hounsfield[:, 28:33, 18:26] = 400.0
    return PetCt(
        tracer=tracer,
        pet=Volume(grid=where, values=values, unit=Unit.SUV),
        ct=Volume(grid=where, values=hounsfield, unit=Unit.HU),
        body=Body(weight_kg=80.0, height_m=1.8, sex="F"),
        uptake_min=60.0,
    )


def _anatomy(tracer: Tracer) -> Anatomy:
    labels = np.zeros(SHAPE, np.int32)
    labels[8:14, 10:16, 8:16] = 1 if tracer is Tracer.FDG else 2
    labels[:, 28:33, 18:26] = 3
    names = {1: "liver", 3: "spine"} if tracer is Tracer.FDG else {2: "liver", 3: "spine", 4: "spleen"}
    bone = (labels == 3).astype(np.float32)
    return Anatomy(regions=Labelmap(grid=grid(tracer), labels=labels, names=names), bone=bone, model=MODEL)


def _seen(tracer: Tracer, boxes: Sequence[Box]) -> list[Box]:
    return [b for b in boxes if np.isfinite(b.suv(tracer))]


def _lesion_set(tracer: Tracer, boxes: Sequence[Box]) -> LesionSet:
    where, values = grid(tracer), suv_values(tracer, boxes)
    labels = np.zeros(SHAPE, np.int32)
    lesions = []
    for label, box in enumerate(_seen(tracer, boxes), start=1):
        labels[_slices(box)] = label
        inside = values[_slices(box)].astype(np.float64)
        lesions.append(
            Lesion(
                label=label,
                tracer=tracer,
                region=box.region,
                site=box.site,
                bone_fraction=0.75 if box.site is Site.MEDULLARY else 0.0,
                voxels=inside.size,
                volume_ml=inside.size * where.voxel_ml,
                suv_mean=float(inside.mean()),
                suv_max=float(inside.max()),
                suv_peak=float(inside.mean()) * 0.9,
                centroid_mm=tuple(where.to_world(np.array(box.at) + (np.array(box.size) - 1) / 2)),  # type: ignore[arg-type]
            )
        )
    names = {x.label: x.id for x in lesions}
    return LesionSet(
        tracer=tracer, labelmap=Labelmap(grid=where, labels=labels, names=names), lesions=tuple(lesions), model=MODEL
    )


def _matches(boxes: Sequence[Box]) -> tuple[LesionMatch, ...]:
    counts = dict.fromkeys(Tracer, 0)
    matches = []
    for number, box in enumerate(boxes, start=1):
        labels: dict[Tracer, tuple[int, ...]] = {}
        for tracer in Tracer:
            seen = bool(np.isfinite(box.suv(tracer)))
            counts[tracer] += seen
            labels[tracer] = (counts[tracer],) if seen else ()
        both = all(labels.values())
        kind = Concordance.CONCORDANT if both else Concordance.DISCORDANT
        matches.append(
            LesionMatch(
                name=f"M{number}",
                fdg=labels[Tracer.FDG],
                pentixafor=labels[Tracer.PENTIXAFOR],
                concordance=kind if box.comparable else Concordance.NOT_COMPARABLE,
                overlap=0.8 if both else 0.0,
                certain=box.certain,
                overlap_range=(0.05, 0.9) if not box.certain else (0.0, 0.0),
            )
        )
    return tuple(matches)


def _features(lesions: Mapping[Tracer, LesionSet], boxes: Sequence[Box]) -> dict[str, float]:
    """The paper's features by the book: sums, maxima and volume-weighted means of the subsets."""
    concordant = {(t, label): m.concordance for m in _matches(boxes) for t in Tracer for label in m.labels(t)}
    features: dict[str, float] = {}
    for tracer in Tracer:
        for site in Site:
            for kind in (Concordance.CONCORDANT, Concordance.DISCORDANT):
                chosen = [x for x in lesions[tracer].lesions if x.site is site and concordant[tracer, x.label] is kind]
                name = f"[{tracer.bracket} {site} {kind}]"
                volume = sum(x.volume_ml for x in chosen)
                features[f"SUVmean{name}"] = sum(x.burden_g for x in chosen) / volume if chosen else float("nan")
                features[f"SUVmax{name}"] = max((x.suv_max for x in chosen), default=float("nan"))
                features[f"MTV{name}"] = volume
                features[f"{tracer.burden}{name}"] = sum(x.burden_g for x in chosen)
                features[f"Count{name}"] = float(len(chosen))
        features[f"sDmax[{tracer.bracket}]"] = 0.12 if lesions[tracer].lesions else float("nan")
        for organ, value in (("spleen", 1.9), ("liver", 2.1), ("blood pool", float("nan"))):
            features[f"SUVmean[{tracer.bracket} {organ}]"] = value
    return features


# Files


def _study(folder: Path, tracer: Tracer, boxes: Sequence[Box], who: Patient) -> TracerStudy:
    folder.mkdir(parents=True)
    base = _base(tracer, who)
    stored = np.rint(suv_values(tracer, boxes) / SUV_FACTOR).astype(np.int16)
    ct = np.where(stored > 0, 40, -1000).astype(np.int16)
    pet = _write(folder / "pet", {**base, **_pet_words(tracer)}, stored, tracer)
    series_ct = _write(folder / "ct", {**base, **_ct_words(tracer)}, ct, tracer)
    identity = PatientIdentity(patient_id=str(base.get("PatientID", "")))
    study = Study(patient=identity, series=(pet, series_ct), started=STARTED[tracer])
    return TracerStudy(study=study, tracer=tracer, injected=STARTED[tracer], pet=pet, ct=series_ct)


def _base(tracer: Tracer, who: Patient) -> dict[str, object]:
    words: dict[str, object] = {
        "SpecificCharacterSet": who.character_set,
        "PatientName": who.name,
        "PatientID": "TEST01",
        "PatientBirthDate": "19600101",
        "PatientSex": "F",
        "PatientWeight": "80",
        "StudyInstanceUID": generate_uid(entropy_srcs=[f"study {tracer}"]),
        "StudyDate": STARTED[tracer].strftime("%Y%m%d"),
        "StudyTime": STARTED[tracer].strftime("%H%M%S"),
        "StudyID": "1",
        "AccessionNumber": f"A{tracer.bracket}",
        "ReferringPhysicianName": "",
        "FrameOfReferenceUID": generate_uid(entropy_srcs=[f"frame {tracer}"]),
        "PositionReferenceIndicator": "",
        "SeriesDate": STARTED[tracer].strftime("%Y%m%d"),
        "SeriesTime": STARTED[tracer].replace(minute=45).strftime("%H%M%S"),
        "Manufacturer": "tests",
        **who.extra,
    }
    return {k: v for k, v in words.items() if k not in who.missing}


def _pet_words(tracer: Tracer) -> dict[str, object]:
    return {
        "SOPClassUID": PositronEmissionTomographyImageStorage,
        "Modality": "PT",
        "SeriesInstanceUID": generate_uid(entropy_srcs=[f"pet {tracer}"]),
        "SeriesNumber": "4",
        "SeriesDescription": f"PET {tracer}",
        "RescaleSlope": "1",
        "Units": "BQML",
    }


def _ct_words(tracer: Tracer) -> dict[str, object]:
    return {
        "SOPClassUID": CTImageStorage,
        "Modality": "CT",
        "SeriesInstanceUID": generate_uid(entropy_srcs=[f"ct {tracer}"]),
        "SeriesNumber": "3",
        "RescaleSlope": "1",
    }


def _write(folder: Path, words: Mapping[str, object], stored: np.ndarray, tracer: Tracer) -> Series:
    folder.mkdir()
    return Series(instances=tuple(_slice(folder, words, stored[k], (k, tracer)) for k in range(len(stored))))


def _slice(folder: Path, words: Mapping[str, object], pixels: np.ndarray, where: tuple[int, Tracer]) -> Instance:
    k, tracer = where
    ds = Dataset()
    for keyword, value in words.items():
        setattr(ds, keyword, value)
    ds.SOPInstanceUID = generate_uid(entropy_srcs=[str(words["SeriesInstanceUID"]), str(k)])
    ds.InstanceNumber = str(k + 1)
    ds.ImagePositionPatient = [*ORIGIN[tracer][:2], ORIGIN[tracer][2] + k * SPACING[0]]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing = [SPACING[1], SPACING[2]]
    ds.SliceThickness = SPACING[0]
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleIntercept = "0"
    ds.PixelData = pixels.tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / f"{k:03d}.dcm"
    ds.save_as(path, enforce_file_format=True)
    return Instance(path=path, header=dcmread(path, stop_before_pixels=True))
