"""Which sections of duet.toml steer what: each as its owner's settings, refused where two of a kind bear one name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from analysis.errors import BadSettings
from service.config import ANALYSIS_TABLES, Settings
from service.destinations import Destination, Sender
from service.intake import Rules
from service.priorities import EngineSettings
from service.readiness import IntakeSettings
from service.retrieval import Archive

if TYPE_CHECKING:
    from analysis.patient.pipeline import AnalysisSettings
    from dicom_io.derived import ObjectSettings


def rules_of(settings: Settings) -> Rules:
    """[intake], [tracers] and [pairing]. Raises BadSettings."""
    from dicom_io.pairing import PairingSettings
    from dicom_io.tracers import TracerRules

    intake = settings.section("intake", IntakeSettings)
    return Rules(
        intake=intake,
        counted=intake.ask_archives and bool(settings.sections("archive", Archive)),
        tracers=settings.section("tracers", TracerRules),
        pairing=settings.section("pairing", PairingSettings),
        engine=settings.section("engine", EngineSettings),
    )


def analysis_of(settings: Settings) -> AnalysisSettings:
    """The sections that steer the analysis; imports all of it. Raises BadSettings."""
    from analysis.patient.pipeline import AnalysisSettings

    return replace(settings.group(AnalysisSettings, ANALYSIS_TABLES), cache=settings.node.data / "anatomy")


def objects_of(settings: Settings) -> ObjectSettings:
    """[objects]. Raises BadSettings."""
    from dicom_io.derived import ObjectSettings

    return settings.section("objects", ObjectSettings)


def destinations_of(settings: Settings) -> tuple[Destination, ...]:
    """Every [[destination]]. Raises BadSettings where two bear one name."""
    destinations = settings.sections("destination", Destination)
    names = [destination.name for destination in destinations]
    if len(set(names)) < len(names):
        raise BadSettings(f"{settings.source}: two [[destination]] bear one name; deliveries are remembered by it.")
    return destinations


def archives_of(settings: Settings) -> tuple[Archive, ...]:
    """Every [[archive]]. Raises BadSettings where two bear one name."""
    archives = settings.sections("archive", Archive)
    if len({archive.name for archive in archives}) < len(archives):
        raise BadSettings(f"{settings.source}: two [[archive]] bear one name; a command names one of them.")
    return archives


def senders_of(settings: Settings) -> tuple[Sender, ...]:
    """Every [[sender]]. Raises BadSettings where two bear one AE title."""
    senders = settings.sections("sender", Sender)
    if len({sender.ae_title for sender in senders}) < len(senders):
        raise BadSettings(f"{settings.source}: two [[sender]] bear one AE title; it is by that that they are called back.")
    return senders
