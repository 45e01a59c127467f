"""Objects that came more than once with different bytes: the first one received is used, and what follows for the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_io.headers import read_instance
from dicom_io.studies import TracerStudy
from dicom_io.versions import differing
from service.arrivals import GONE, InstanceRow, Note
from service.tables import InstanceState

OTHER_FORM = "Received before in another form with the same image; the first one received is used, this one is kept."
NOT_MEASURED = (
    "Differs from an object with the same SOP Instance UID, of a series that is not measured; "
    "the first one received is used, this one is kept."
)
_CHANGES_ITS_PLACE = {"SeriesInstanceUID", "ImageType"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """Two files with one SOP Instance UID that are not the same image. elements: in what they differ."""

    first: InstanceRow
    later: InstanceRow
    later_series: str
    elements: tuple[str, ...]

    def concerns(self, study: TracerStudy) -> bool:
        """Whether the object belongs to the PET or CT that is measured, in either of its versions."""
        measured = (study.pet, study.ct)
        if any(self.first.sop_instance_uid == i.sop_instance_uid for series in measured for i in series.instances):
            return True
        moved = bool(_CHANGES_ITS_PLACE & set(self.elements))
        return moved and any(self.later_series == series.series_instance_uid for series in measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """The files of one study, each object once. notes: what is to be written of every row, where nobody objects."""

    used: tuple[InstanceRow, ...]
    disputes: tuple[Dispute, ...]
    notes: tuple[Note, ...]


def sort(rows: Sequence[InstanceRow], data: Path) -> Sorted:
    """Of each object the first version whose file is there. rows: oldest first. Raises NotDicom, OSError."""
    present = [row for row in rows if (data / row.path).is_file()]
    notes = [Note(row=row, state=InstanceState.IGNORED, sentence=GONE) for row in rows if row not in present]
    used: dict[str, InstanceRow] = {}
    disputes = []
    for row in present:
        first = used.setdefault(row.sop_instance_uid, row)
        if first is row:
            notes.append(Note(row=row, state=InstanceState.FILED))
        elif (dispute := _dispute(first, row, data)) is None:
            notes.append(Note(row=row, state=InstanceState.IGNORED, sentence=OTHER_FORM))
        else:
            disputes.append(dispute)
    return Sorted(used=tuple(used.values()), disputes=tuple(disputes), notes=tuple(notes))


def _dispute(first: InstanceRow, later: InstanceRow, data: Path) -> Dispute | None:
    if later.state is InstanceState.IGNORED and later.sentence == OTHER_FORM:
        return None  # found so when the patient was last judged; decoding a whole series again takes long
    one, other = read_instance(data / first.path), read_instance(data / later.path)
    elements = differing(one, other)
    series = str(other.header.SeriesInstanceUID)
    return Dispute(first=first, later=later, later_series=series, elements=elements) if elements else None


def notes_on(disputes: Iterable[Dispute], open_ones: Sequence[Dispute]) -> tuple[Note, ...]:
    """Later versions stay part of the study while they are disputed, and are only kept where nothing is measured in them."""
    return tuple(
        Note(row=each.later, state=InstanceState.FILED)
        if each in open_ones
        else Note(row=each.later, state=InstanceState.IGNORED, sentence=NOT_MEASURED)
        for each in disputes
    )


def sentence(disputes: Sequence[Dispute]) -> str:
    """What an operator reads and does, every object named at once; paths are relative to the data folder."""
    count = len({each.first.sop_instance_uid for each in disputes})
    pairs = "; ".join(
        f"{each.first.sop_instance_uid} differs in {', '.join(each.elements)}: "
        f"{each.first.path} (received first) and {each.later.path}"
        for each in disputes
    )
    return (
        f"{count} object(s) were received twice with different content; move the wrong file of each pair away and restart "
        f"the node. {pairs}."
    )
