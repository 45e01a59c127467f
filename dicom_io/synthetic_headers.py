"""Headers of the phantom's series, in the manner of a maker: what its scanners write about tracer, time and decay.

GE: Bq/ml with a slope for each slice, SeriesTime and a private scan time as reference, FrameReferenceTime 0. Siemens:
Bq/ml with one slope, FrameReferenceTime counted from SeriesTime. Philips: counts with private factors to SUV and Bq/ml.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pydicom import Dataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage

from analysis.values import Grid, PetCt, Tracer
from dicom_io.studies import stable_uid

BED_MM = 150.0
Code = tuple[str, str, str]


class Maker(StrEnum):
    """Whose headers are imitated; the value is Manufacturer."""

    GE = "GE MEDICAL SYSTEMS"
    SIEMENS = "SIEMENS"
    PHILIPS = "Philips Medical Systems"


@dataclass(frozen=True, slots=True, kw_only=True)
class MakerStyle:
    """What differs between makers. isotopes, fdg: codes; texts: Radiopharmaceutical; series: PET SeriesDescription."""

    model: str
    software: str
    bed_s: float
    isotopes: dict[Tracer, Code]
    fdg: Code
    texts: dict[Tracer, str]
    series: dict[Tracer, str]
    corrected: tuple[str, ...]
    attenuation: str


F18_SRT, GA68_SRT = ("C-111A1", "SRT", "^18^Fluorine"), ("C-131A3", "SRT", "^68^Gallium")
F18_SCT, GA68_SCT = ("77004003", "SCT", "^18^Fluorine"), ("35337001", "SCT", "^68^Gallium")
FDG_SRT, FDG_SCT = ("C-B1031", "SRT", "Fluorodeoxyglucose F^18^"), ("35321007", "SCT", "Fluorodeoxyglucose F^18^")

STYLES = {
    Maker.GE: MakerStyle(
        model="Discovery 690",
        software="52.00",
        bed_s=150.0,
        isotopes={Tracer.FDG: F18_SRT, Tracer.PENTIXAFOR: GA68_SRT},
        fdg=FDG_SRT,
        texts={Tracer.FDG: "FDG -- fluorodeoxyglucose", Tracer.PENTIXAFOR: "68Ga-PentixaFor"},
        series={Tracer.FDG: "PET AC 3D", Tracer.PENTIXAFOR: "PET AC 3D"},
        corrected=("DECY", "ATTN", "SCAT", "DTIM", "RAN", "RADL", "DCAL", "SLSENS", "NORM"),
        attenuation="CTAC-SG",
    ),
    Maker.SIEMENS: MakerStyle(
        model="Biograph128_mCT",
        software="VG70",
        bed_s=120.0,
        isotopes={Tracer.FDG: F18_SRT, Tracer.PENTIXAFOR: GA68_SRT},
        fdg=FDG_SRT,
        texts={Tracer.FDG: "Fluorodeoxyglucose", Tracer.PENTIXAFOR: "Solution"},
        series={Tracer.FDG: "PET WB FDG", Tracer.PENTIXAFOR: "PET WB 68Ga-PentixaFor"},
        corrected=("NORM", "DTIM", "ATTN", "SCAT", "DECY", "RAN"),
        attenuation="measured,AC CT",
    ),
    Maker.PHILIPS: MakerStyle(
        model="Ingenuity TF PET/CT",
        software="4.0.2",
        bed_s=90.0,
        isotopes={Tracer.FDG: F18_SCT, Tracer.PENTIXAFOR: GA68_SCT},
        fdg=FDG_SCT,
        texts={Tracer.FDG: "Fluorodeoxyglucose F^18^", Tracer.PENTIXAFOR: "Gallium-68 Pentixafor"},
        series={Tracer.FDG: "WB_CTAC", Tracer.PENTIXAFOR: "CXCR4 WB_CTAC"},
        corrected=("DECY", "RADL", "ATTN", "SCAT", "DTIM", "RAN", "NORM"),
        attenuation="CTAC",
    ),
}
HALF_LIFE_S = {Tracer.FDG: 6586.2, Tracer.PENTIXAFOR: 4062.6}  # 109.77 and 67.71 min
POSITRON_FRACTION = {Tracer.FDG: 0.967, Tracer.PENTIXAFOR: 0.889}
MBQ_PER_KG = {Tracer.FDG: 4.0, Tracer.PENTIXAFOR: 2.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySpec:
    """How a study is written. started: the PET's first bed, the scanner's local time.

    seed: word that all UIDs derive from, with patient and tracer; dose_mbq: administered, None for a usual one.
    transfer_syntax: explicit little endian, JPEG-LS, RLE, JPEG 2000 (lossless) or deflate. distractors: also write a PET
    without attenuation correction, a scout and a projection, as scanners do.
    """

    maker: Maker = Maker.GE
    patient_id: str = "PHANTOM-001"
    patient_name: str = "Phantom^Digital"
    birth_date: str = "19600101"
    started: datetime = datetime(2026, 3, 10, 10, 0)
    seed: str = ""
    dose_mbq: float | None = None
    transfer_syntax: UID = ExplicitVRLittleEndian
    distractors: bool = False

    @property
    def style(self) -> MakerStyle:
        return STYLES[self.maker]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StudyHeader:
    """One study's facts, from which each series' headers are built."""

    pet_ct: PetCt
    spec: StudySpec

    @property
    def tracer(self) -> Tracer:
        return self.pet_ct.tracer

    @property
    def dose_bq(self) -> float:
        usual = MBQ_PER_KG[self.tracer] * self.pet_ct.body.weight_kg
        return round((usual if self.spec.dose_mbq is None else self.spec.dose_mbq) * 1e6, -4)

    @property
    def decay_constant(self) -> float:
        """Per second."""
        return math.log(2) / HALF_LIFE_S[self.tracer]

    @property
    def injected(self) -> datetime:
        minutes = 60.0 if self.pet_ct.uptake_min is None else self.pet_ct.uptake_min
        return self.spec.started - timedelta(seconds=round(minutes * 60))

    @property
    def suv_factor(self) -> float:
        """SUV for each Bq/ml, decay corrected to the PET's start."""
        decay = math.exp(self.decay_constant * (self.spec.started - self.injected).total_seconds())
        return self.pet_ct.body.weight_kg * 1000 / self.dose_bq * decay

    def uid(self, *parts: str) -> str:
        return stable_uid("phantom", self.spec.patient_id, self.spec.seed, self.tracer.value, *parts)


def shared_by_study(study: StudyHeader) -> Dataset:
    """Patient, study, equipment and frame of reference."""
    spec, body = study.spec, study.pet_ct.body
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.PatientName, ds.PatientID = spec.patient_name, spec.patient_id
    ds.PatientBirthDate, ds.PatientSex = spec.birth_date, body.sex or ""
    ds.PatientWeight = decimal(body.weight_kg)
    if body.height_m is not None:
        ds.PatientSize = decimal(body.height_m)
    begun = spec.started - timedelta(minutes=4)
    ds.StudyInstanceUID, ds.StudyID = study.uid("study"), study.tracer.name[:3]
    ds.StudyDate, ds.StudyTime = date_time(begun)
    ds.StudyDescription = {Tracer.FDG: "PET/CT whole body", Tracer.PENTIXAFOR: "PET/CT CXCR4"}[study.tracer]
    ds.AccessionNumber, ds.ReferringPhysicianName = f"{spec.patient_id[-8:]}{study.tracer.value[0]}", ""
    ds.Manufacturer, ds.ManufacturerModelName = spec.maker.value, spec.style.model
    ds.SoftwareVersions, ds.StationName = spec.style.software, "PHANTOM"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = study.uid("frame"), ""
    return ds


def ct_header(study: StudyHeader) -> Dataset:
    """What all slices of the CT share."""
    ds = shared_by_study(study)
    begun = study.spec.started - timedelta(minutes=3)
    ds.SOPClassUID, ds.Modality = CTImageStorage, "CT"
    ds.SeriesInstanceUID, ds.SeriesNumber = study.uid("ct"), 2
    ds.SeriesDescription, ds.BodyPartExamined = "CT WB low dose", "WHOLEBODY"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    set_times(ds, begun, begun)
    ds.PatientPosition, ds.KVP, ds.AcquisitionNumber = "HFS", "120", 1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
    set_pixels(ds, study.pet_ct.ct.grid, bits_stored=12, signed=False)
    return ds


def pet_header(study: StudyHeader) -> Dataset:
    """What all slices of the attenuation-corrected PET share."""
    spec, style = study.spec, study.spec.style
    ds = shared_by_study(study)
    ds.SOPClassUID, ds.Modality = PositronEmissionTomographyImageStorage, "PT"
    ds.SeriesInstanceUID, ds.SeriesNumber = study.uid("pet"), 5
    ds.SeriesDescription, ds.BodyPartExamined = style.series[study.tracer], "WHOLEBODY"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.SeriesDate, ds.SeriesTime = date_time(spec.started)
    ds.SeriesType, ds.Units = ["WHOLE BODY", "IMAGE"], "CNTS" if spec.maker is Maker.PHILIPS else "BQML"
    ds.CountsSource, ds.DecayCorrection = "EMISSION", "START"
    ds.CorrectedImage, ds.CollimatorType = list(style.corrected), "NONE"
    ds.RandomsCorrectionMethod, ds.ScatterCorrectionMethod = "DLYD", "Model-based"
    ds.AttenuationCorrectionMethod, ds.ReconstructionMethod = style.attenuation, "OSEM"
    ds.NumberOfSlices = study.pet_ct.pet.grid.shape[0]
    ds.RescaleIntercept = "0"
    ds.PatientOrientationCodeSequence = [_code(("102538003", "SCT", "recumbent"))]
    ds.PatientOrientationCodeSequence[0].PatientOrientationModifierCodeSequence = [_code(("40199007", "SCT", "supine"))]
    ds.PatientGantryRelationshipCodeSequence = [_code(("102540008", "SCT", "headfirst"))]
    ds.RadiopharmaceuticalInformationSequence = [_radiopharmaceutical(study)]
    set_pixels(ds, study.pet_ct.pet.grid, bits_stored=16, signed=spec.maker is Maker.GE)
    _private(ds, study)
    return ds


def set_bed(ds: Dataset, study: StudyHeader, height_mm: float) -> None:
    """Times and decay of a slice that lies so far above the PET's first slice: beds follow each other from the feet on."""
    duration = study.spec.style.bed_s
    begun = study.spec.started + timedelta(seconds=int(height_mm // BED_MM) * (duration + 2))
    ds.AcquisitionDate, ds.AcquisitionTime = date_time(begun)
    ds.ContentDate, ds.ContentTime = date_time(begun + timedelta(seconds=duration))
    ds.ActualFrameDuration = int(duration * 1000)
    constant, waited = study.decay_constant, (begun - study.spec.started).total_seconds()
    decay = constant * duration
    average = math.log(decay / (1 - math.exp(-decay))) / constant
    ds.DecayFactor = decimal(math.exp(constant * (waited + average)))
    ds.FrameReferenceTime = "0" if study.spec.maker is Maker.GE else decimal(1000 * (waited + average))


def set_pixels(ds: Dataset, grid: Grid, *, bits_stored: int, signed: bool) -> None:
    """Image Pixel and Image Plane attributes that do not change from slice to slice."""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = grid.shape[1:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, bits_stored, bits_stored - 1
    ds.PixelRepresentation = int(signed)
    thick, down, across = grid.spacing
    ds.SliceThickness, ds.PixelSpacing = decimal(thick), [decimal(down), decimal(across)]
    rows, columns = grid.affine[:3, 2] / across, grid.affine[:3, 1] / down
    ds.ImageOrientationPatient = [decimal(float(c)) for c in (*rows, *columns)]


def set_times(ds: Dataset, series: datetime, acquisition: datetime) -> None:
    """Series, acquisition and content times."""
    ds.SeriesDate, ds.SeriesTime = date_time(series)
    ds.AcquisitionDate, ds.AcquisitionTime = date_time(acquisition)
    ds.ContentDate, ds.ContentTime = date_time(acquisition)


def date_time(at: datetime) -> tuple[str, str]:
    """DICOM's DA and TM."""
    return at.strftime("%Y%m%d"), at.strftime("%H%M%S")


def decimal(value: float) -> str:
    """A DICOM decimal string: at most 16 characters, no minus before zero."""
    for digits in range(12, 5, -1):
        text = f"{value + 0.0:.{digits}g}"
        if len(text) <= 16:
            return text
    return text


def _code(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code
    return item


def _radiopharmaceutical(study: StudyHeader) -> Dataset:
    spec, tracer = study.spec, study.tracer
    item = Dataset()
    item.Radiopharmaceutical = spec.style.texts[tracer]
    item.RadiopharmaceuticalStartTime = study.injected.strftime("%H%M%S")
    if spec.maker is not Maker.PHILIPS:
        item.RadiopharmaceuticalStartDateTime = study.injected.strftime("%Y%m%d%H%M%S")
    item.RadionuclideTotalDose = decimal(study.dose_bq)
    item.RadionuclideHalfLife = decimal(HALF_LIFE_S[tracer])
    item.RadionuclidePositronFraction = decimal(POSITRON_FRACTION[tracer])
    item.RadionuclideCodeSequence = [_code(spec.style.isotopes[tracer])]
    if tracer is Tracer.FDG:
        # No standard code for PentixaFor is known: it is named by text.
        item.RadiopharmaceuticalCodeSequence = [_code(spec.style.fdg)]
    return item


def _private(ds: Dataset, study: StudyHeader) -> None:
    """The private elements on which readers of this maker rely."""
    if study.spec.maker is Maker.GE:
        block = ds.private_block(0x0009, "GEMS_PETD_01", create=True)
        block.add_new(0x0D, "DT", study.spec.started.strftime("%Y%m%d%H%M%S.00"))
    if study.spec.maker is Maker.PHILIPS:
        block = ds.private_block(0x7053, "Philips PET Private Group", create=True)
        block.add_new(0x00, "DS", decimal(study.suv_factor * PHILIPS_BQML_PER_COUNT))
        block.add_new(0x09, "DS", decimal(PHILIPS_BQML_PER_COUNT))


PHILIPS_BQML_PER_COUNT = 1.731
