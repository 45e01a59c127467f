"""What the cohort's report is made of: the section [cohort], the finished cases of a journal, and the clinical table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.cohort.settings import CohortSettings
from analysis.errors import BadSettings
from service.bounds import check_positive
from service.config import Settings

if TYPE_CHECKING:
    from analysis.cohort.clinical import Clinical
    from analysis.cohort.pairs import PairFeatures

OF_THE_NODE = ("clinical", "patient_id", "patient_name", "quiet_s", "positions")


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortSection(CohortSettings):
    """[cohort]. clinical: the table of outcomes; without it the node makes no report.

    patient_id, patient_name: the pseudo-patient whom the report is filed under. quiet_s: so long nothing may have changed
    before the node makes a new version. positions: each pair's report also says where its features lie within the cohort.
    """

    clinical: Path | None = None
    patient_id: str = "DUET-COHORT"
    patient_name: str = "Cohort^duet"
    quiet_s: float = 600.0
    positions: bool = False

    def __post_init__(self) -> None:
        CohortSettings.__post_init__(self)
        if self.clinical == Path():  # written as "" in duet.toml
            object.__setattr__(self, "clinical", None)
        check_positive(quiet_s=self.quiet_s)
        for name, value in (("patient_id", self.patient_id), ("patient_name", self.patient_name)):
            if not value.strip() or len(value) > 64 or not value.isprintable() or set(value) & {"\\", "="}:
                raise ValueError(f"{name} is to have 1 to 64 characters, without \\ and =")

    @property
    def science(self) -> CohortSettings:
        """What steers the statistics, without what steers the node."""
        return CohortSettings(**{name: value for name, value in asdict(self).items() if name not in OF_THE_NODE})


def cohort_section(settings: Settings) -> CohortSection:
    """[cohort]. Raises BadSettings."""
    return settings.section("cohort", CohortSection)


def case_folders(data: Path, pair_uids: Sequence[str]) -> list[Path]:
    """The folders of finished cases that are there."""
    return [folder for uid in pair_uids if (folder := data / "cases" / uid).is_dir()]


def pairs_of_cases(data: Path, pair_uids: Sequence[str]) -> tuple[PairFeatures, ...]:
    """The features of finished cases. Raises BadSettings where there is none."""
    from analysis.cohort.pairs import read_folders

    folders = case_folders(data, pair_uids)
    if not folders:
        raise BadSettings(f"No case below {data} has finished yet; name a file of features with --features.")
    return read_folders(folders, data / "cases")


def clinical_table(path: Path) -> Clinical:
    """The clinical table, checked. Raises BadSettings."""
    from analysis.cohort.clinical import read_clinical

    if not path.is_file():
        raise BadSettings(f"{path}: there is no such file; it is to hold the clinical table (docs/CLINICAL.md).")
    return read_clinical(path, datetime.now().date())


def fingerprint(section: CohortSection, pair_uids: Sequence[str]) -> str:
    """SHA-256 of everything that a version depends on; the same inputs make no second version. Raises OSError."""
    table = hashlib.sha256(section.clinical.read_bytes()).hexdigest() if section.clinical is not None else ""
    named = (section.patient_id, section.patient_name)
    facts = [version("duet-node"), asdict(section.science), named, sorted(pair_uids), table]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
