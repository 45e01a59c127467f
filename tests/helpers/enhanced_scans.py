"""Enhanced PET and CT objects by PS3.3 A.56 and A.38, written without the project's own writers, with known truth.

Truth: what is stored for an SUV follows from the definition SUV = activity x weight / dose left at the reference time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import EnhancedCTImageStorage, EnhancedPETImageStorage, ExplicitVRLittleEndian, generate_uid

from analysis.values import Grid, Tracer

F18, GA68 = ("77004003", "SCT", "^18^Fluorine"), ("35337001", "SCT", "^68^Gallium")
FDG = ("35321007", "SCT", "Fluorodeoxyglucose F^18^")
PENTIXAFOR = ("PXF", "99TEST", "68Ga-PentixaFor")
HALF_LIFE_S = {Tracer.FDG: 6586.2, Tracer.PENTIXAFOR: 4062.6}
SLICES_OF_A_BED = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class EnhancedSpec:
    """One study. units: a UCUM code; corrected_to: DecayCorrectionDateTime, None for images that are not decay corrected.

    own_slopes: each frame has its slope; shuffled: frames in no order of place; instances: files that share the slices.
    """

    tracer: Tracer = Tracer.FDG
    manufacturer: str = "SIEMENS"
    model: str = "Biograph Vision 600"
    patient_id: str = "P1"
    weight_kg: float = 70.0
    height_m: float = 1.7
    sex: str = "F"
    dose_mbq: float = 300.0
    injected: datetime = datetime(2026, 3, 10, 9, 0)
    started: datetime = datetime(2026, 3, 10, 10, 0)
    corrected_to: datetime | None = datetime(2026, 3, 10, 10, 0)
    units: str = "Bq/ml"
    own_slopes: bool = False
    shuffled: bool = True
    instances: int = 1
    series: str = "PET WB"
    bed_s: float = 120.0

    @property
    def decay_constant(self) -> float:
        return math.log(2) / HALF_LIFE_S[self.tracer]

    def begun(self, k: int) -> datetime:
        """When the bed of slice k began."""
        return self.started + timedelta(seconds=(k // SLICES_OF_A_BED) * (self.bed_s + 2))

    def activity_of_suv(self, k: int) -> float:
        """Bq/ml that are stored in slice k for an SUV of 1 (per unit of kBq/ml 1000 times less)."""
        constant = self.decay_constant
        if self.corrected_to is not None:
            within, at = 1.0, self.corrected_to
        else:
            x = constant * self.bed_s
            within, at = (1 - math.exp(-x)) / x, self.begun(k)
        left = self.dose_mbq * 1e6 * math.exp(-constant * (at - self.injected).total_seconds())
        return left * within / (self.weight_kg * 1000)

    def uid(self, *words: object) -> str:
        return generate_uid(entropy_srcs=[self.patient_id, self.tracer, self.manufacturer, *map(str, words)])


def pet_objects(suv: np.ndarray, grid: Grid, spec: EnhancedSpec) -> list[Dataset]:
    """suv: (nk, nj, ni) on the grid."""
    return [_pet(suv, grid, spec, part) for part in _parts(len(suv), spec)]


def ct_objects(hounsfield: np.ndarray, grid: Grid, spec: EnhancedSpec) -> list[Dataset]:
    """hounsfield: (nk, nj, ni) on the grid."""
    return [_ct(hounsfield, grid, spec, part) for part in _parts(len(hounsfield), spec)]


def _parts(count: int, spec: EnhancedSpec) -> list[np.ndarray]:
    """Which slices each file holds, in the order of its frames."""
    parts = np.array_split(np.arange(count), spec.instances)
    if spec.shuffled:
        chance = np.random.default_rng(7)
        parts = [chance.permutation(part) for part in parts]
    return parts


def _pet(suv: np.ndarray, grid: Grid, spec: EnhancedSpec, part: np.ndarray) -> Dataset:
    slopes, stored = _stored_pet(suv, spec)
    ds = _object(spec, "PT", EnhancedPETImageStorage, int(part.min()))
    kind = ["ORIGINAL", "PRIMARY", "WHOLE_BODY", "NONE"]
    _image(ds, kind, spec.started)
    _pet_modules(ds, spec)
    shared = _item(
        PixelMeasuresSequence=_measures(grid),
        PlaneOrientationSequence=_orientation(grid),
        FrameAnatomySequence=_anatomy(),
        FrameVOILUTSequence=[_item(WindowCenter="5000", WindowWidth="10000")],
        PETFrameTypeSequence=[_frame_type(kind)],
        RadiopharmaceuticalUsageSequence=[_item(RadiopharmaceuticalAgentNumber=1)],
        PETFrameAcquisitionSequence=[
            _item(TableHeight=150.0, GantryDetectorTilt=0.0, GantryDetectorSlew=0.0, DataCollectionDiameter=700.0)
        ],
        PETPositionSequence=[
            _item(TablePosition=0.0, DataCollectionCenterPatient=[0.0] * 3, ReconstructionTargetCenterPatient=[0.0] * 3)
        ],
        PETReconstructionSequence=[_reconstruction()],
    )
    per_frame = [_pet_frame(grid, spec, (int(k), n), slopes[k]) for n, k in enumerate(part, start=1)]
    return _with_frames(ds, shared, per_frame, stored[part])


def _stored_pet(suv: np.ndarray, spec: EnhancedSpec) -> tuple[np.ndarray, np.ndarray]:
    """(slope of each slice, stored values); a slope maps to the unit of the spec."""
    scale = 1.0 if "SUV" in spec.units else 1e-3 if spec.units.startswith("kBq") else None
    per_suv = np.array([(scale or 1.0) * (1 if scale == 1.0 else spec.activity_of_suv(k)) for k in range(len(suv))])
    values = suv.astype(np.float64) * per_suv[:, None, None]
    peaks = values.max(axis=(1, 2)) if spec.own_slopes else np.full(len(values), values.max())
    slopes = np.where(peaks > 0, peaks, 1.0) / 32767
    return slopes, np.rint(values / slopes[:, None, None]).astype(np.int16)


def _pet_frame(grid: Grid, spec: EnhancedSpec, where: tuple[int, int], slope: float) -> Dataset:
    k, _ = where
    mapping = _item(
        RealWorldValueFirstValueMapped=-32768,
        RealWorldValueLastValueMapped=32767,
        RealWorldValueIntercept=0.0,
        RealWorldValueSlope=float(slope),
        LUTExplanation="PET",
        LUTLabel="PET",
        MeasurementUnitsCodeSequence=[_code((spec.units, "UCUM", spec.units))],
    )
    factors = _item(
        PrimaryPromptsCountsAccumulated=1000000, SliceSensitivityFactor=1.0, ScatterFractionFactor=0.3, DeadTimeFactor=1.0
    )
    if spec.corrected_to is not None:
        waited = (spec.begun(k) - spec.corrected_to).total_seconds()
        factors.DecayFactor = f"{math.exp(spec.decay_constant * waited):.8g}"
    return _item(
        FrameContentSequence=[_content(spec.begun(k), spec.bed_s, where)],
        PlanePositionSequence=_position(grid, k),
        PixelValueTransformationSequence=[_item(RescaleIntercept="0", RescaleSlope="1", RescaleType="US")],
        RealWorldValueMappingSequence=[mapping],
        PETFrameCorrectionFactorsSequence=[factors],
    )


def _pet_modules(ds: Dataset, spec: EnhancedSpec) -> None:
    words: dict[str, Any] = {
        "TableMotion": "STATIC",
        "TimeOfFlightInformationUsed": "TRUE",
        "DetectorGeometry": "CYLINDRICAL_RING",
        "TypeOfDetectorMotion": "STATIONARY",
        "CollimatorType": "RING",
        "CoincidenceWindowWidth": 4.9,
        "TransverseDetectorSeparation": 820.0,
        "AxialDetectorDimension": 260.0,
        "AcquisitionStartCondition": "MANU",
        "AcquisitionTerminationCondition": "TIME",
        "TerminationTimeThreshold": 120.0,
        "CardiacSynchronizationTechnique": "NONE",
        "RespiratoryMotionCompensationTechnique": "NONE",
        "EnergyWindowRangeSequence": [_item(EnergyWindowLowerLimit="435", EnergyWindowUpperLimit="585")],
        "ViewCodeSequence": [_code(("260421001", "SCT", "Transverse"))],
        "CountsSource": "EMISSION",
        "RandomsCorrectionMethod": "DLYD",
        "ScatterCorrectionMethod": "SSS",
        "DecayCorrected": "NO" if spec.corrected_to is None else "YES",
        "AttenuationCorrected": "YES",
        "AttenuationCorrectionSource": "CT",
        "AttenuationCorrectionTemporalRelationship": "SIMULTANEOUS",
    }
    for name in ("Scatter", "DeadTime", "Randoms"):
        words[f"{name}Corrected"] = "YES"
    for name in ("GantryMotion", "PatientMotion", "NonUniformRadialSampling"):
        words[f"{name}Corrected"] = "NO"
    words |= {
        "CountLossNormalizationCorrected": "YES",
        "SensitivityCalibrated": "YES",
        "DetectorNormalizationCorrection": "YES",
    }
    if spec.corrected_to is not None:
        words["DecayCorrectionDateTime"] = spec.corrected_to.strftime("%Y%m%d%H%M%S")
    for keyword, value in words.items():
        setattr(ds, keyword, value)
    ds.RadiopharmaceuticalInformationSequence = [_isotope(spec)]


def _isotope(spec: EnhancedSpec) -> Dataset:
    fdg = spec.tracer is Tracer.FDG
    return _item(
        RadiopharmaceuticalAgentNumber=1,
        RadionuclideCodeSequence=[_code(F18 if fdg else GA68)],
        RadiopharmaceuticalCodeSequence=[_code(FDG if fdg else PENTIXAFOR)],
        AdministrationRouteCodeSequence=[_code(("47625008", "SCT", "Intravenous route"))],
        RadiopharmaceuticalStartDateTime=spec.injected.strftime("%Y%m%d%H%M%S"),
        RadionuclideTotalDose=f"{spec.dose_mbq:g}",  # in MBq: C.8.22.4
        RadionuclideHalfLife=f"{HALF_LIFE_S[spec.tracer]:g}",
        RadionuclidePositronFraction="0.967",
    )


def _reconstruction() -> Dataset:
    return _item(
        ReconstructionType="3D",
        ReconstructionAlgorithm="REPROJECTION",
        IterativeReconstructionMethod="YES",
        NumberOfIterations=4,
        NumberOfSubsets=5,
        ReconstructionDiameter="700",
    )


def _ct(hounsfield: np.ndarray, grid: Grid, spec: EnhancedSpec, part: np.ndarray) -> Dataset:
    ds = _object(spec, "CT", EnhancedCTImageStorage, int(part.min()))
    kind = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    _image(ds, kind, spec.started - timedelta(minutes=3))
    shared = _item(
        PixelMeasuresSequence=_measures(grid),
        PlaneOrientationSequence=_orientation(grid),
        FrameAnatomySequence=_anatomy(),
        FrameVOILUTSequence=[_item(WindowCenter="40", WindowWidth="400")],
        PixelValueTransformationSequence=[_item(RescaleIntercept="-1024", RescaleSlope="1", RescaleType="HU")],
        CTImageFrameTypeSequence=[_frame_type(kind)],
        **_ct_groups(),
    )
    per_frame = [
        _item(
            FrameContentSequence=[_content(spec.started - timedelta(minutes=3), 0.5, (int(k), n))],
            PlanePositionSequence=_position(grid, int(k)),
        )
        for n, k in enumerate(part, start=1)
    ]
    stored = np.clip(np.rint(hounsfield) + 1024, 0, 4095).astype(np.int16)
    return _with_frames(ds, shared, per_frame, stored[part])


def _ct_groups() -> dict[str, list[Dataset]]:
    details = {"TableHeight": 150.0, "GantryDetectorTilt": 0.0, "DataCollectionDiameter": 500.0, "RotationDirection": "CW"}
    exposure = {
        "ExposureTimeInms": 500.0,
        "XRayTubeCurrentInmA": 100.0,
        "ExposureInmAs": 50.0,
        "ExposureModulationType": "NONE",
    }
    centres = {"DataCollectionCenterPatient": [0.0] * 3, "ReconstructionTargetCenterPatient": [0.0] * 3, "TablePosition": 0.0}
    return {
        "CTAcquisitionTypeSequence": [_item(AcquisitionType="SEQUENCED", ConstantVolumeFlag="NO", FluoroscopyFlag="NO")],
        "CTAcquisitionDetailsSequence": [
            _item(**details, RevolutionTime=0.5, SingleCollimationWidth=0.6, TotalCollimationWidth=19.2)
        ],
        "CTTableDynamicsSequence": [_item(TableSpeed=20.0, TableFeedPerRotation=10.0, SpiralPitchFactor=1.0)],
        "CTPositionSequence": [_item(**centres)],
        "CTGeometrySequence": [_item(DistanceSourceToDetector="1000", DistanceSourceToDataCollectionCenter=500.0)],
        "CTReconstructionSequence": [
            _item(ReconstructionAlgorithm="FILTER_BACK_PROJ", ConvolutionKernel="B30f", ConvolutionKernelGroup="SOFT_TISSUE",
                  ReconstructionDiameter="500", ReconstructionAngle=360.0,
                  ReconstructionPixelSpacing=[1.0, 1.0], ImageFilter="NONE")
        ],
        "CTExposureSequence": [_item(**exposure)],
        "IrradiationEventIdentificationSequence": [_item(IrradiationEventUID=generate_uid(entropy_srcs=["event"]))],
        "CTXRayDetailsSequence": [
            _item(KVP="120", FocalSpots=[1.2], FilterType="FLAT", FilterMaterial="ALUMINUM")
        ],
    }  # fmt: skip


def _object(spec: EnhancedSpec, modality: str, sop_class: str, number: int) -> Dataset:
    words: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 100",
        "SOPClassUID": sop_class,
        "SOPInstanceUID": spec.uid(modality, spec.series, number),
        "StudyInstanceUID": spec.uid("study"),
        "SeriesInstanceUID": spec.uid(modality, spec.series),
        "FrameOfReferenceUID": spec.uid("frame"),
        "PositionReferenceIndicator": "",
        "PatientName": "Muster^Maria",
        "PatientID": spec.patient_id,
        "PatientBirthDate": "19600101",
        "PatientSex": spec.sex,
        "PatientWeight": f"{spec.weight_kg:g}",
        "PatientSize": f"{spec.height_m:g}",
        "StudyDate": spec.started.strftime("%Y%m%d"),
        "StudyTime": (spec.started - timedelta(minutes=4)).strftime("%H%M%S"),
        "SeriesDate": spec.started.strftime("%Y%m%d"),
        "SeriesTime": (spec.started + timedelta(minutes=40)).strftime("%H%M%S"),  # when it was reconstructed
        "ContentDate": spec.started.strftime("%Y%m%d"),
        "ContentTime": (spec.started + timedelta(minutes=41)).strftime("%H%M%S"),
        "StudyID": "1",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "Modality": modality,
        "SeriesDescription": spec.series if modality == "PT" else "CT WB",
        "SeriesNumber": "5" if modality == "PT" else "2",
        "InstanceNumber": str(number + 1),
        "Manufacturer": spec.manufacturer,
        "ManufacturerModelName": spec.model,
        "DeviceSerialNumber": "1234",
        "SoftwareVersions": "1.0",
        "PatientPosition": "HFS",
    }
    return _item(**words)


def _image(ds: Dataset, kind: list[str], begun: datetime) -> None:
    words: dict[str, Any] = {
        "ImageType": kind,
        "PixelPresentation": "MONOCHROME",
        "VolumetricProperties": "VOLUME",
        "VolumeBasedCalculationTechnique": "NONE",
        "ContentQualification": "PRODUCT",
        "AcquisitionDateTime": begun.strftime("%Y%m%d%H%M%S"),
        "AcquisitionDuration": 600.0,
        "AcquisitionNumber": 1,
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "PresentationLUTShape": "IDENTITY",
        "AcquisitionContextSequence": [],
    }
    for keyword, value in words.items():
        setattr(ds, keyword, value)


def _with_frames(ds: Dataset, shared: Dataset, per_frame: Sequence[Dataset], stored: np.ndarray) -> Dataset:
    organisation = generate_uid(entropy_srcs=[ds.SOPInstanceUID, "dimensions"])
    ds.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=organisation)]
    ds.DimensionIndexSequence = [
        _item(DimensionOrganizationUID=organisation, DimensionIndexPointer=pointer, FunctionalGroupPointer=0x00209111)
        for pointer in (0x00209056, 0x00209057)
    ]
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = [shared], list(per_frame)
    ds.NumberOfFrames, ds.Rows, ds.Columns = stored.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.PixelData = stored.astype("<i2").tobytes()
    ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def _content(begun: datetime, duration_s: float, where: tuple[int, int]) -> Dataset:
    k, _ = where
    return _item(
        FrameAcquisitionDateTime=begun.strftime("%Y%m%d%H%M%S"),
        FrameReferenceDateTime=(begun + timedelta(seconds=duration_s / 2)).strftime("%Y%m%d%H%M%S"),
        FrameAcquisitionDuration=duration_s * 1000,
        FrameAcquisitionNumber=1,
        StackID="1",
        InStackPositionNumber=k + 1,
        TemporalPositionIndex=1,
        DimensionIndexValues=[1, k + 1],
    )


def _frame_type(kind: list[str]) -> Dataset:
    return _item(
        FrameType=kind, PixelPresentation="MONOCHROME", VolumetricProperties="VOLUME", VolumeBasedCalculationTechnique="NONE"
    )


def _measures(grid: Grid) -> list[Dataset]:
    thick, down, across = grid.spacing
    return [_item(PixelSpacing=[down, across], SliceThickness=thick)]


def _orientation(grid: Grid) -> list[Dataset]:
    _, down, across = grid.spacing
    return [_item(ImageOrientationPatient=[*(grid.affine[:3, 2] / across), *(grid.affine[:3, 1] / down)])]


def _position(grid: Grid, k: int) -> list[Dataset]:
    return [_item(ImagePositionPatient=[round(float(x), 6) for x in grid.to_world((k, 0, 0))])]


def _anatomy() -> list[Dataset]:
    return [_item(FrameLaterality="U", AnatomicRegionSequence=[_code(("38266002", "SCT", "Entire body"))])]


def _code(code: tuple[str, str, str]) -> Dataset:
    value, scheme, meaning = code
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _item(**words: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in words.items():
        setattr(ds, keyword, value)
    return ds
