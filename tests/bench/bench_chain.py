"""`duet analyse` with networks beside the chain of command-line tools that a researcher runs, with the same model folders.

The chain, for each tracer: dcm2niix for both series, TotalSegmentator on the CT, nnUNetv2_predict_from_modelfolder on CT and
SUV. What a researcher scripts between them (SUV, the CT on the PET's grid) is done here and not counted; nor does the chain
register, match, measure or write DICOM. The networks are hand-set and small, so both sides show what is around them.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import SimpleITK as sitk
from cost import BIN, DUET, Cost, run
from results import Figure, keep

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))

from fake_totalsegmentator import write_weights
from nets import Net, write_net

from analysis.grids import resample, to_image
from analysis.values import PetCt
from dicom_io.headers import group, read_folder
from dicom_io.tracers import recognise
from dicom_io.volumes import load

RESOLUTION_MM, MODE = 6.0, "--fastest"
HALF = 0.5
NET = Net(patch=(64, 64, 64))
Step = tuple[str, Cost]


def config(folder: Path) -> tuple[Path, Path, Path]:
    """duet.toml, the network's folder and TotalSegmentator's home, all below one folder of models."""
    models = folder / "models"
    nets = write_net(models, NET)
    sums = write_weights(models / "totalsegmentator", RESOLUTION_MM)
    allow = json.dumps([*nets.allow, *sums.values()])
    toml = folder / "duet.toml"
    toml.write_text(
        f'[node]\ndata = "{folder / "data"}"\n'
        f'[models]\nfolder = "{models}"\nallow = {allow}\ndevice = "cpu"\n'
        f"[totalsegmentator]\nresolution_mm = {RESOLUTION_MM}\n"
        f'[segmentation]\nanatomy = "totalsegmentator"\nfdg_network = "{NET.name}"\npentixafor_network = "{NET.name}"\n'
    )
    return toml, models / NET.name, models / "totalsegmentator"


def study_of(folder: Path) -> PetCt:
    return load(recognise(group(read_folder(folder)[0])[0]))


def images(study: PetCt, folder: Path) -> tuple[Path, Path]:
    """The CT as NIfTI, and a folder with the network's channels on the PET's grid: not counted."""
    given, ct = folder / "given", folder / "ct.nii.gz"
    given.mkdir(parents=True)
    on_pet = resample(study.ct.grid, study.ct.values, study.pet.grid, outside=-1024.0)
    sitk.WriteImage(to_image(study.ct.grid, study.ct.values), str(ct))
    sitk.WriteImage(to_image(study.pet.grid, on_pet), str(given / "case_0000.nii.gz"))
    sitk.WriteImage(to_image(study.pet.grid, study.pet.values), str(given / "case_0001.nii.gz"))
    return ct, given


SITE = """from analysis.segmenters.totalsegmentator_child import bear_other_torchvision

bear_other_torchvision()
"""


def environment(home: Path) -> dict[str, str]:
    """Offline and with statistics off, as duet runs it.

    nnU-Net imports all its trainers, and with them torchvision, which fails beside a torch for processors where it was
    built for CUDA; the tools get the same remedy as duet's own child.
    """
    (home / "config.json").write_text(json.dumps({"totalseg_id": "x", "send_usage_stats": False, "prediction_counter": 0}))
    site = home / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE)
    names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH", ""))))
    return {"TOTALSEG_HOME_DIR": str(home), "PYTHONPATH": path} | {name: str(home / "nnunet" / "results") for name in names}


def chain(folder: Path, series: Path, network: Path, around: Mapping[str, str]) -> list[Step]:
    """The commands for one tracer, with what each cost. Raises RuntimeError where one fails."""
    ct, given = images(study_of(series), folder)
    commands: dict[str, Sequence[str | Path]] = {
        "dcm2niix, PET": (BIN / "dcm2niix", "-z", "y", "-f", "pet", "-o", folder, series / "pet"),
        "dcm2niix, CT": (BIN / "dcm2niix", "-z", "y", "-f", "ct_dcm", "-o", folder, series / "ct"),
        "TotalSegmentator": (BIN / "TotalSegmentator", "-i", ct, "-o", folder / "total.nii.gz", "--ml", MODE, "-d", "cpu"),
        "nnUNetv2_predict": (
            *(BIN / "nnUNetv2_predict_from_modelfolder", "-i", given, "-o", folder / "found", "-m", network),
            *("-f", "0", "-step_size", "0.5", "--disable_tta", "-device", "cpu", "--disable_progress_bar"),
        ),
    }
    steps = []
    for name, command in commands.items():
        log = folder / "log.txt"
        cost = run(*command, environment=around, log=log)
        if cost.exit_status:
            raise RuntimeError(f"{name} failed: {log.read_text()[-2000:]}")
        steps.append((name, cost))
    return steps


def main() -> int:
    os.environ.setdefault("nnUNet_def_n_proc", str(os.cpu_count() or 1))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        toml, network, home = config(folder)
        run(DUET, "phantom", "--out", folder / "phantom", "--seed", "1")
        pair = folder / "phantom" / "patient-001"
        ours = run(
            *(DUET, "analyse", pair / "fdg", pair / "pentixafor", "--out", folder / "out", "--config", toml),
            log=folder / "duet.txt",
        )
        if ours.exit_status:
            raise RuntimeError((folder / "duet.txt").read_text()[-2000:])
        around = environment(home)
        steps = [
            step for each in ("fdg", "pentixafor") for step in chain(folder / f"chain-{each}", pair / each, network, around)
        ]
    theirs = sum(cost.seconds for _, cost in steps)
    figures = [
        Figure(
            what="one pair, both tracers, to all objects",
            ours=ours.seconds,
            unit="s",
            peer="the chain of tools, to NIfTI masks",
            theirs=theirs,
            target="half",
            met=ours.seconds <= HALF * theirs,
        ),
        Figure(
            what="its memory",
            ours=ours.memory_mb,
            unit="MB",
            peer="the largest of the chain",
            theirs=max(cost.memory_mb for _, cost in steps),
        ),
    ]
    for step in dict.fromkeys(name for name, _ in steps):
        spent = sum(cost.seconds for name, cost in steps if name == step)
        figures.append(Figure(what=f"... chain: {step}, both tracers", ours=spent, unit="s"))
    note = f"Digital patient of `duet phantom`; TotalSegmentator at {RESOLUTION_MM:g} mm and one network for lesions, hand-set."
    keep("With networks, beside the command-line tools", figures, note)
    return 0


if __name__ == "__main__":
    sys.exit(main())
