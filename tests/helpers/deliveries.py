"""Cases whose objects are on their way, without an analysis behind them."""

from __future__ import annotations

from typing import Any

from pydicom import dcmwrite

from service import postings
from service.tables import jobs


def posted(folder: Any, scan: Any, cases: int = 1, destinations: tuple[str, ...] = ("pacs",)) -> list[list[str]]:
    """Cases of three objects each, on their way to each destination; returns their UIDs."""
    found = []
    for case in range(cases):
        words = {"StudyInstanceUID": f"1.2.{case + 1}", "SeriesInstanceUID": f"1.2.{case + 1}.9"}
        datasets = scan(slices=3, modalities=("CT",), words=words).datasets()
        for number, ds in enumerate(datasets):
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.{case + 1}.9.{number + 1}"
            dcmwrite(folder.data / f"{ds.SOPInstanceUID}.dcm", ds, enforce_file_format=True)
        uids = [str(ds.SOPInstanceUID) for ds in datasets]
        post(folder, case, uids, destinations)
        found.append(uids)
    return found


def post(folder: Any, case: int, uids: list[str], destinations: tuple[str, ...] = ("pacs",)) -> int:
    """A finished case of these objects, whose files lie in the data folder under their UIDs; returns its number."""
    with folder.journal.writing() as connection:
        job_id = connection.execute(jobs.insert().values(**job(case))).inserted_primary_key[0]
        rows = [
            postings.Posting(destination=name, sop_instance_uid=uid, path=f"{uid}.dcm") for name in destinations for uid in uids
        ]
        postings.post(connection, job_id, rows, 0.0)
        return int(job_id)


def job(number: int) -> dict[str, Any]:
    """The row of a case that is done."""
    words = dict.fromkeys(("issuer", "fdg_study", "pentixafor_study", "inputs", "reason", "sentence", "progress"), "")
    numbers = {"version": 1, "failures": 0, "next_try_at": 0.0, "created_at": 0.0}
    return {**words, **numbers, "pair_uid": str(number), "patient_id": "P1", "state": "done"}
