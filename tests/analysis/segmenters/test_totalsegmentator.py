"""The true TotalSegmentator in its true child process, on a weights folder whose answer is known for every voxel."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from fake_totalsegmentator import hu_of, nearest_label, write_weights
from scipy import ndimage
from totalsegmentator.map_to_binary import class_map

from analysis.errors import ModelUnavailable
from analysis.segmenters import totalsegmentator_child as child
from analysis.segmenters import totalsegmentator_process as process
from analysis.segmenters.anatomy_names import Kind, is_bone, kind_of
from analysis.segmenters.model_settings import ModelSettings
from analysis.segmenters.totalsegmentator import TotalSegmentatorAnatomy, relevant
from analysis.segmenters.totalsegmentator_process import Run, TotalSegmentatorFailed, run_child, whole_hu
from analysis.segmenters.totalsegmentator_settings import TotalSegmentatorSettings
from analysis.segmenters.totalsegmentator_weights import needed_networks, verified_weights, weights_present
from analysis.values import (
    AlignedPair,
    Anatomy,
    Body,
    Grid,
    Labelmap,
    Model,
    PetCt,
    RegistrationQuality,
    Tracer,
    Transform,
    Unit,
    Volume,
)

COARSE = TotalSegmentatorSettings(resolution_mm=6.0)
CT_SPACING = (4.0, 3.0, 3.0)
GOOD = RegistrationQuality(method="rigid", bone_dice=1.0, bone_dice_rigid=1.0, body_dice=1.0, error_mm=1.0)


def grid(shape: tuple[int, int, int], spacing: tuple[float, float, float], origin: tuple[float, float, float]) -> Grid:
    """Upright: k to the head, j to the back, i to the left."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = spacing
    affine[:3, 3] = origin
    affine[3, 3] = 1.0
    return Grid(shape=shape, affine=affine)


def study(tracer: Tracer, seed: int) -> PetCt:
    """A body of blocks of 24 mm, each with the HU of some class, in air; the PET covers all but its lowest slices."""
    blocks = np.random.default_rng(seed).integers(1, 118, (5, 5, 5))
    hu = np.full((36, 46, 48), hu_of(0), dtype=np.float32)
    hu[3:33, 3:43, 4:44] = hu_of(0) + 17.0 * np.kron(blocks, np.ones((6, 8, 8)))
    pet = grid((30, 36, 36), (4.0, 4.0, 4.0), (-70.0, -70.0, 24.0))
    return PetCt(
        tracer=tracer,
        pet=Volume(grid=pet, values=np.ones(pet.shape, dtype=np.float32), unit=Unit.SUV),
        ct=Volume(grid=grid(hu.shape, CT_SPACING, (-70.0, -68.0, 0.0)), values=hu, unit=Unit.HU),
        body=Body(weight_kg=70.0),
        facts={"ct_series_instance_uid": f"1.2.3.{seed}"},
    )


@dataclass(frozen=True)
class NoRules:
    """An AnatomySegmenter that finds nothing."""

    def segment_anatomy(self, pair: AlignedPair) -> Mapping[Tracer, Anatomy]:
        """Empty regions on each PET grid."""
        found = {}
        for tracer in Tracer:
            pet = pair.study(tracer).pet.grid
            empty = Labelmap(grid=pet, labels=np.zeros(pet.shape, dtype=np.int32))
            bone = np.zeros(pet.shape, dtype=np.float32)
            found[tracer] = Anatomy(regions=empty, bone=bone, model=Model(name="none", version="1"))
        return found


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p.relative_to(folder)): (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*")}


@dataclass(frozen=True)
class First:
    """What one run gave, and what it left."""

    pair: AlignedPair
    segmenter: TotalSegmentatorAnatomy
    found: Mapping[Tracer, Anatomy]
    before: dict[str, tuple[int, int]]
    after: dict[str, tuple[int, int]]
    left: list[str]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelSettings:
    folder = tmp_path_factory.mktemp("models")
    sums = write_weights(folder / "totalsegmentator", 6.0)
    return ModelSettings(folder=folder, allow=tuple(sums.values()), device="cpu", threads=1)


@pytest.fixture(scope="module")
def first(models: ModelSettings, tmp_path_factory: pytest.TempPathFactory) -> First:
    """The one run of this file: both CTs of a pair in one child process."""
    pair = AlignedPair(
        fdg=study(Tracer.FDG, 1), pentixafor=study(Tracer.PENTIXAFOR, 2), transform=Transform(rigid=np.eye(4)), quality=GOOD
    )
    cache, temporary = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("temporary")
    segmenter = TotalSegmentatorAnatomy(models=models, settings=COARSE, cache=cache, rules=NoRules())
    before = files_of(models.folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process.tempfile, "tempdir", str(temporary))
        found = segmenter.segment_anatomy(pair)
    left = [p.name for p in temporary.iterdir()]
    return First(pair=pair, segmenter=segmenter, found=found, before=before, after=files_of(models.folder), left=left)


def truth(ct: Volume, resolution_mm: float) -> np.ndarray:
    """The labels that the net must give, after TotalSegmentator's resampling: scipy's zoom of RAS voxels, there and back."""
    hu = whole_hu(ct.values)[:, ::-1, ::-1].astype(np.float64)
    small = ndimage.zoom(hu, np.array(ct.grid.spacing) / resolution_mm, mode="nearest", order=1).astype(np.int32)
    labels = nearest_label(small)
    back = ndimage.zoom(labels, np.array(hu.shape) / np.array(labels.shape), mode="nearest", order=0)
    return np.asarray(back[:, ::-1, ::-1])


@pytest.mark.parametrize("tracer", list(Tracer))
def test_every_voxel_has_the_label_of_the_nearest_hu(first: First, tracer: Tracer) -> None:
    """By name, on the PET's grid: the truth is taken at the CT voxel in which each PET voxel's centre lies."""
    image = relevant(first.pair.study(tracer))
    expected = truth(image, 6.0)
    names = class_map["total"]
    regions = first.found[tracer].regions
    index = image.grid.to_index(regions.grid.to_world(np.argwhere(np.ones(regions.grid.shape, dtype=bool))))
    nearest = np.rint(index).astype(int)
    clear = (np.abs(np.abs(index - np.floor(index)) - 0.5) > 1e-6).all(axis=1)  # not half way between two CT voxels
    inside = ((nearest >= 0) & (nearest < expected.shape)).all(axis=1)
    wanted = np.zeros(len(nearest), dtype=int)
    wanted[inside] = expected[tuple(nearest[inside].T)]
    found = regions.labels.ravel()
    table = dict(regions.names) | {0: ""}
    got = np.array([table[n] for n in found])
    assert set(got[clear]) == {names.get(n, "") for n in np.unique(wanted[clear])}
    assert (got[clear] == np.array([names.get(n, "") for n in wanted])[clear]).all()
    assert len(set(got)) > 60


def test_five_networks_of_fewer_parts(tmp_path: Path) -> None:
    """At 1.5 mm, bones and organs: five networks and the 6 mm one, which crops to the parts; 20 mm around them is all of it."""
    sums = {mm: write_weights(tmp_path / "totalsegmentator", mm) for mm in (1.5, 6.0)}
    allow = tuple(digest for each in sums.values() for digest in each.values())
    settings = TotalSegmentatorSettings(parts=(Kind.BONE, Kind.ORGAN))
    models = ModelSettings(folder=tmp_path, allow=allow, device="cpu", threads=1)
    blocks = np.random.default_rng(5).integers(1, 118, (3, 4, 5))
    hu = np.full((15, 26, 32), hu_of(0), dtype=np.float32)
    hu[1:13, 3:23, 1:31] = hu_of(0) + 17.0 * np.kron(blocks, np.ones((4, 5, 6)))
    ct = Volume(grid=grid(hu.shape, (3.0, 2.0, 2.0), (0.0, 0.0, 0.0)), values=hu, unit=Unit.HU)
    run = Run(weights=verified_weights(models, settings), models=models, settings=settings)
    (labels,), names = run.label([ct])
    assert names == class_map["total"]
    expected = truth(ct, 1.5)
    wanted = [n for n, name in names.items() if kind_of(name) in (Kind.BONE, Kind.ORGAN)]
    assert (labels == np.where(np.isin(expected, wanted), expected, 0)).all()
    assert len(np.unique(labels)) > 25


@pytest.mark.parametrize("tracer", list(Tracer))
def test_bone_is_the_part_of_each_voxel_in_the_skeleton(first: First, tracer: Tracer) -> None:
    """In the middle of blocks of 24 mm; beside borders the skeleton is closed, so there is at least what the labels say."""
    anatomy = first.found[tracer]
    bones = anatomy.regions.mask(*filter(is_bone, anatomy.regions.names.values()))
    around = ndimage.uniform_filter(bones.astype(np.float32), 5)
    assert (around > 0.999).sum() > 100
    assert anatomy.bone[around > 0.999] == pytest.approx(1.0, abs=1e-5)
    assert anatomy.bone[around < 0.001].max() < 0.2
    assert anatomy.bone.dtype == np.float32
    assert {"vertebrae_L3", "rib_left_7", "costal_cartilages", "spinal_cord"} <= set(class_map["total"].values())
    assert not is_bone("costal_cartilages")
    assert not is_bone("spinal_cord")


def test_the_model_names_task_version_and_weights(first: First, models: ModelSettings) -> None:
    model = first.found[Tracer.FDG].model
    assert model.name == "TotalSegmentator total 6 mm"
    assert model.version.startswith("2.")
    folder = models.folder / "totalsegmentator" / "nnunet" / "results"
    files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    lines = subprocess.run(["sha256sum", *files], cwd=folder, capture_output=True, check=True).stdout
    summed = subprocess.run(["sha256sum"], input=lines, capture_output=True, check=True).stdout.decode().split()[0]
    assert model.weights_sha256 == summed


def test_the_operators_folder_is_as_it_was_and_nothing_is_left(first: First) -> None:
    assert first.before == first.after
    assert first.left == []


def test_a_ct_that_was_seen_needs_no_child(first: First, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr(process, "run_child", never)
    again = first.segmenter.segment_anatomy(first.pair)
    for tracer in Tracer:
        assert (again[tracer].regions.labels == first.found[tracer].regions.labels).all()
        assert again[tracer].regions.names == first.found[tracer].regions.names
        assert (again[tracer].bone == first.found[tracer].bone).all()
    changed = replace(first.pair, fdg=study(Tracer.FDG, 3))
    with pytest.raises(AssertionError, match="a child was started"):
        first.segmenter.segment_anatomy(changed)
    one_voxel = first.pair.fdg.ct.values.copy()
    one_voxel[20, 20, 20] += 1.0
    lying = replace(first.pair.fdg, ct=replace(first.pair.fdg.ct, values=one_voxel))
    with pytest.raises(AssertionError, match="a child was started"):
        first.segmenter.segment_anatomy(replace(first.pair, fdg=lying))


# Weights


def test_missing_weights_are_named(tmp_path: Path) -> None:
    models = ModelSettings(folder=tmp_path)
    assert not weights_present(models, COARSE)
    with pytest.raises(ModelUnavailable, match=r"Dataset298_TotalSegmentator_total_6mm_1559subj.*No such file"):
        verified_weights(models, COARSE)


def test_weights_lie_as_totalsegmentator_puts_them_or_at_once_in_the_folder(models: ModelSettings, tmp_path: Path) -> None:
    shutil.copytree(models.folder / "totalsegmentator" / "nnunet" / "results", tmp_path / "totalsegmentator")
    moved = replace(models, folder=tmp_path)
    assert weights_present(moved, COARSE)
    assert verified_weights(moved, COARSE).sha256 == verified_weights(models, COARSE).sha256


@pytest.mark.parametrize("file", ["plans.json", "dataset.json", "checkpoint_final.pth"])
def test_a_file_that_is_not_on_the_list_is_not_loaded(models: ModelSettings, tmp_path: Path, file: str) -> None:
    shutil.copytree(models.folder, tmp_path, dirs_exist_ok=True)
    path = next(tmp_path.rglob(file))
    path.write_bytes(path.read_bytes() + b" ")
    changed = replace(models, folder=tmp_path)
    with pytest.raises(ModelUnavailable, match=rf"{file} \([0-9a-f]{{64}}\) is not in \[models\] allow"):
        TotalSegmentatorAnatomy(models=changed, settings=COARSE, rules=NoRules()).segment_anatomy(None)  # type: ignore[arg-type]


def test_the_child_itself_loads_nothing_else(tmp_path: Path) -> None:
    """A file that is exchanged after the parent looked: the very bytes that are loaded are hashed."""
    inference = pytest.importorskip("nnunetv2.inference.predict_from_raw_data")
    good, other = tmp_path / "plans.json", tmp_path / "other.json"
    good.write_text('{"a": 1}', encoding="utf-8")
    other.write_text('{"a": 2}', encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "load", torch.load)
        patch.setattr(inference, "load_json", inference.load_json)
        child.load_only(frozenset({sum_of(good)}))
        assert inference.load_json(str(good)) == {"a": 1}
        for load in (inference.load_json, torch.load):
            with pytest.raises(RuntimeError, match="is not the file that was allowed"):
                load(str(other))


def sum_of(path: Path) -> str:
    return subprocess.run(["sha256sum", path], capture_output=True, check=True, text=True).stdout.split()[0]


def test_networks_of_each_resolution_and_of_fewer_parts() -> None:
    """Numbers of the datasets as TotalSegmentator documents them: 291 to 295 at 1.5 mm, 297 at 3 mm, 298 at 6 mm."""

    def numbers(**settings: object) -> list[int]:
        networks = needed_networks(TotalSegmentatorSettings(**settings))  # type: ignore[arg-type]
        return [int(network.dataset.removeprefix("Dataset")[:3]) for network in networks]

    assert numbers() == [291, 292, 293, 294, 295]
    assert numbers(resolution_mm=3.0) == [297]
    assert numbers(resolution_mm=6.0) == [298]
    assert numbers(parts=(Kind.BONE,)) == [292, 294, 295, 298]  # TotalSegmentator crops by its 6 mm network
    assert numbers(parts=(Kind.BONE,), resolution_mm=6.0) == [298]
    with pytest.raises(ValueError, match="bones"):
        TotalSegmentatorSettings(parts=(Kind.ORGAN,))
    with pytest.raises(ValueError, match="resolution_mm"):
        TotalSegmentatorSettings(resolution_mm=2.0)


def test_kinds_of_all_classes() -> None:
    """The skeleton: what TotalSegmentator's own class maps call vertebrae, ribs and bones, without cartilage and cord."""
    names = list(class_map["total"].values())
    assert (
        sum(is_bone(n) for n in names) == 26 + 10 + 1 + 24 + 1
    )  # vertebrae and sacrum, limbs and girdles, skull, ribs, sternum
    assert [n for n in names if kind_of(n) is Kind.MUSCLE] == names[79:89]
    vessels = [n for n in names if kind_of(n) is Kind.VESSEL]
    assert len(vessels) == 15
    assert {"aorta", "heart", "atrial_appendage_left"}.isdisjoint(vessels)
    assert kind_of("a name of tomorrow") is Kind.ORGAN


# The process


def test_a_network_access_fails_at_once_and_is_told() -> None:
    code = (
        "import sys, socket, requests; from analysis.segmenters import totalsegmentator_child as child\n"
        "sys.addaudithook(child.refuse_network)\n"
        "a, b = socket.socketpair(); a.sendall(b'x'); assert b.recv(1) == b'x'\n"
        "requests.get('http://127.0.0.1:9', timeout=5)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 1
    assert ran.stderr.strip().splitlines()[-1] == f"RuntimeError: {child.OFFLINE}"


def test_threads_never_exceed_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(torch, "set_num_threads", torch.set_num_threads)
    child.cap_threads(1)
    torch.set_num_threads(64)
    assert torch.get_num_threads() == 1
    monkeypatch.undo()
    torch.set_num_threads(before)


def test_what_the_child_said_last_is_the_reason(tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_text("{", encoding="utf-8")
    with pytest.raises(TotalSegmentatorFailed, match=r"exit status 1: json\.decoder\.JSONDecodeError: Expecting property name"):
        run_child(request, dict(os.environ), 60.0)


SLOW = "import subprocess, sys, time\nopen('pids', 'w').write(str(subprocess.Popen(['sleep', '60']).pid))\ntime.sleep(60)"


def wait_for(condition: object, seconds: float = 20.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_a_child_that_takes_too_long_is_ended_with_what_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text(SLOW, encoding="utf-8")
    monkeypatch.setattr(child, "__file__", str(slow))
    with pytest.raises(TotalSegmentatorFailed, match="not done after 1 s"):
        run_child(tmp_path / "request.json", dict(os.environ), 1.0)
    grandchild = int((tmp_path / "pids").read_text(encoding="utf-8"))
    wait_for(lambda: not alive(grandchild))


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_the_child_ends_where_its_parent_is_killed(tmp_path: Path) -> None:
    """The true child, which waits for a request that is a pipe nobody writes to."""
    home = tmp_path / f"{child.HOME_PREFIX}x"
    home.mkdir()
    (tmp_path / "weights").mkdir()
    (home / "link").symlink_to(tmp_path / "weights")
    request = home / "request.json"
    os.mkfifo(request)
    code = (
        "import os, sys; from pathlib import Path; from analysis.segmenters.totalsegmentator_process import run_child\n"
        "run_child(Path(sys.argv[1]), dict(os.environ), 60.0)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(request)])
    try:
        wait_for(lambda: psutil.Process(parent.pid).children())
        (running,) = psutil.Process(parent.pid).children()
        wait_for(lambda: len(running.threads()) > 1 or not running.is_running())  # it watches its parent
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_for(lambda: not alive(running.pid))
    assert not home.exists()  # no CT is left
    assert (tmp_path / "weights").is_dir()
