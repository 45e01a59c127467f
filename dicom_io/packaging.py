"""How the objects meet the IHE profile AI Results (AIR): data for the conformance statement; a test checks each row.

The requirements are those of the supplement "AI Results" of the IHE Radiology Technical Framework, section 6.5.3 (encoding
of results), in our words. The role is that of an Evidence Creator, without any claim to have been tested at a Connectathon.
"""

from __future__ import annotations

# What the profile asks for, how it is met.
AI_RESULTS: tuple[tuple[str, str], ...] = (
    (
        "Results lie in the study of the images that were analysed, with its patient and study attributes",
        "StudyInstanceUID, patient and study modules are those of the measured PET; the pair's report and picture lie in the "
        "PentixaFor study and name the images of the other study in PertinentOtherEvidenceSequence",
    ),
    (
        "Each algorithm is an item of ContributingEquipmentSequence with Manufacturer, ManufacturerModelName, "
        "SoftwareVersions and DeviceUID; the DeviceUID changes with the model",
        "one item each for lesion segmentation, anatomy and registration, in every object; DeviceUID is derived from "
        "manufacturer, name, version and the weights' SHA-256. Purpose of reference is 109102 DCM Processing Equipment, as "
        "the profile's own code was provisional",
    ),
    (
        "Results that are not for clinical use are marked",
        'ContentQualification RESEARCH in every object, "research use only" in SeriesDescription, VerificationFlag '
        "UNVERIFIED and PreliminaryFlag PRELIMINARY in the reports, and a statement of intended use in their text",
    ),
    (
        "Content date and time tell when the analysis was made",
        "deviation: ContentDate and ContentTime are those of the latest PET that was measured, so that the same images give "
        "the same bytes and a repeated delivery is no second result",
    ),
    (
        "Measurements and qualitative findings: TID 1500 in Comprehensive 3D SR",
        "so by default; Enhanced SR with the same tree as a setting, for archives that refuse it",
    ),
    (
        "Procedure reported (121058 DCM) is the imaging procedure, not the algorithm",
        "PET/CT FDG imaging of whole body (443271005 SCT), PET whole body (44139-4 LN); both in the pair's report",
    ),
    (
        "The device is named as observer",
        "device observers: duet, and each algorithm with its roles, under the DeviceUID of the contributing equipment",
    ),
    (
        "Algorithm identification with the measurements",
        "algorithm name and version in each lesion's group (TID 4019), and in each segment "
        "(SegmentationAlgorithmIdentificationSequence)",
    ),
    (
        "Each finding bears TrackingIdentifier and TrackingUniqueIdentifier; they are the same wherever it occurs",
        "every measurement group; a lesion's are those of its segment (TrackingID, TrackingUID), of results.json and "
        "of lesions.csv",
    ),
    (
        "Regions by voxels: Segmentation, referred to by the measurements of the region (TID 1411)",
        "one Segmentation for each PET, on its grid; each lesion is a TID 1411 group with ReferencedSegment and source series; "
        "sites, subsets, totals and checks are TID 1501 groups",
    ),
    (
        "Evidence: all images that were analysed are referred to",
        "PET and CT of both studies, and the segmentations, in CurrentRequestedProcedureEvidenceSequence and "
        "PertinentOtherEvidenceSequence; each segment's frame names the slice it was drawn on",
    ),
    (
        "A finding of nothing is a result",
        "without lesions there is no Segmentation, and reports that say 0 lesions in words and as a number",
    ),
    (
        "Results can be recognised and displayed as a set",
        "series of their own with fixed numbers; the pair's report lists all sites, totals and checks and refers to every "
        "segmentation; there is no further root object",
    ),
    ("Parametric maps, contours, image regions by coordinates", "not written"),
)
