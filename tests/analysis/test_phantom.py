"""The phantom against the figures it was asked to have: the table of docs/METHOD.md 6, an anatomist's volumes, and geometry."""

from __future__ import annotations

import json
from itertools import combinations, product

import numpy as np
import pytest

from analysis.errors import BadSettings
from analysis.phantom import DigitalPatient, PhantomSettings, Preset, Trap, make_patient
from analysis.phantom.lesions import cap_distance, mixture
from analysis.phantom.motion import Motion, Wave
from analysis.phantom.truth import du_bois
from analysis.values import Concordance, FloatArray, Site, Tracer

BONY = ("vertebrae", "rib", "hip", "sacrum", "femur", "sternum", "scapula", "clavicula", "humerus", "skull")


@pytest.fixture(scope="module")
def exact() -> DigitalPatient:
    """Neither blur nor noise: every voxel holds its tissue's value."""
    return make_patient(PhantomSettings(seed=3, lesions=24, noise=False, blur=False, arms="up"))


@pytest.fixture(scope="module")
def real() -> DigitalPatient:
    """As scanners see it; of the height and weight that the body was drawn for."""
    return make_patient(PhantomSettings(seed=4, lesions=5, arms="down", height_m=1.75, weight_kg=75.0))


def trapped(*traps: Trap, seed: int = 5, lesions: int | None = None) -> DigitalPatient:
    settings = PhantomSettings(
        seed=seed, lesions=lesions, traps=frozenset(traps), noise=False, blur=False, preset=Preset.COARSE
    )
    return make_patient(settings)


def mean_in(patient: DigitalPatient, tracer: Tracer, organ: str) -> float:
    inside = patient.organs[tracer].mask(organ) & (patient.lesions[tracer].labels == 0)
    return float(patient.study(tracer).pet.values[inside].mean())


def centre(patient: DigitalPatient, organ: str) -> FloatArray:
    organs = patient.organs[Tracer.FDG]
    return np.asarray(organs.grid.to_world(np.argwhere(organs.mask(organ))).mean(axis=0))


def shown(patient: DigitalPatient, tracer: Tracer) -> list[dict[str, object]]:
    return [x for x in patient.truth["lesions"] if x[f"{tracer.name.lower()}_suv"] is not None]


def test_the_same_seed_gives_the_same_patient_bit_for_bit(real: DigitalPatient) -> None:
    again = make_patient(real.settings)
    for tracer in Tracer:
        assert np.array_equal(again.study(tracer).pet.values, real.study(tracer).pet.values)
        assert np.array_equal(again.study(tracer).ct.values, real.study(tracer).ct.values)
    assert json.dumps(again.truth) == json.dumps(real.truth)


def test_another_seed_gives_another_patient(real: DigitalPatient, exact: DigitalPatient) -> None:
    for key in ("weight_kg", "height_m", "sDmax", "motion", "lesions"):
        assert real.truth[key] != exact.truth[key]


@pytest.mark.parametrize("tracer", Tracer)
def test_lesions_are_their_truth_up_to_voxels(exact: DigitalPatient, tracer: Tracer) -> None:
    name, pet, labels = tracer.name.lower(), exact.study(tracer).pet, exact.lesions[tracer].labels
    voxels_ml, truth_ml = [], []
    for lesion in shown(exact, tracer):
        mask = labels == lesion["id"]
        assert np.allclose(pet.values[mask], lesion[f"{name}_suv"])
        place = pet.grid.to_world(np.argwhere(mask)).mean(axis=0)
        assert np.linalg.norm(place - lesion[f"centre_{name}_mm"]) < 1.6
        voxels_ml.append(mask.sum() * pet.grid.voxel_ml)
        truth_ml.append(lesion["volume_ml" if tracer is Tracer.FDG else "volume_pentixafor_ml"])
    assert np.allclose(voxels_ml, truth_ml, rtol=0.1, atol=0.6)
    assert sum(voxels_ml) == pytest.approx(sum(truth_ml), rel=0.03)  # what one ball gains by voxels another loses


@pytest.mark.parametrize("tracer", Tracer)
def test_sdmax_is_the_largest_distance_over_the_body_surface(exact: DigitalPatient, tracer: Tracer) -> None:
    labels, grid = exact.lesions[tracer].labels, exact.study(tracer).pet.grid
    places = [grid.to_world(np.argwhere(labels == x["id"])).mean(axis=0) for x in shown(exact, tracer)]
    farthest = max(np.linalg.norm(a - b) for a, b in combinations(places, 2))
    assert exact.truth["sDmax"][tracer.bracket] == pytest.approx(farthest / 1000 / exact.truth["bsa_m2"], rel=0.005)


def test_body_surface_is_du_bois() -> None:
    # 70 kg and 170 cm: 1.81 m2 in the usual nomograms of the formula of 1916.
    assert du_bois(70, 1.70) == pytest.approx(1.81, abs=0.005)


@pytest.mark.parametrize(
    ("organ", "fdg", "pentixafor"),
    [("liver", 1.9, 1.7), ("spleen", 1.7, 6.0), ("kidney_left", 3, 5), ("urinary_bladder", 15, 30), ("heart", 2.2, 1.9)],
)
def test_uptake_is_the_table(exact: DigitalPatient, organ: str, fdg: float, pentixafor: float) -> None:
    assert mean_in(exact, Tracer.FDG, organ) == pytest.approx(fdg, rel=1e-5)
    assert mean_in(exact, Tracer.PENTIXAFOR, organ) == pytest.approx(pentixafor, rel=1e-5)


def test_hu_are_the_table(exact: DigitalPatient) -> None:
    for organ, hu in {"liver": 58, "spleen": 48, "lung_left": -780, "aorta": 45, "kidney_right": 32}.items():
        inside = exact.ct_organs[Tracer.FDG].mask(organ)
        assert np.median(exact.fdg.ct.values[inside]) == hu
    bone = exact.ct_organs[Tracer.FDG].mask("vertebrae_L3")
    assert set(np.unique(exact.fdg.ct.values[bone])) == {180.0, 650.0}


def test_organs_are_as_large_as_in_people(real: DigitalPatient) -> None:
    """Ranges of adults in ml, as in ICRP publication 89's reference man with room on either side."""
    expected = {
        "liver": (1000, 2000),
        "spleen": (100, 250),
        "kidney_left": (100, 200),
        "brain": (1200, 1600),
        "lung_right": (1400, 3200),
        "heart": (330, 800),
        "urinary_bladder": (80, 300),
        "vertebrae_L3": (35, 90),
        "hip_left": (200, 500),
    }
    organs = real.ct_organs[Tracer.FDG]
    for organ, (low, high) in expected.items():
        assert low < organs.mask(organ).sum() * organs.grid.voxel_ml < high, organ


def test_organs_lie_where_they_lie_in_people(exact: DigitalPatient) -> None:
    """LPS: x to the left, y to the back, z to the head."""
    assert centre(exact, "liver")[0] < 0 < centre(exact, "spleen")[0]
    assert centre(exact, "kidney_left")[1] > centre(exact, "liver")[1]
    assert centre(exact, "sternum")[1] < centre(exact, "heart")[1] < centre(exact, "vertebrae_T8")[1]
    column = ["femur_left", "sacrum", "vertebrae_L5", "vertebrae_L1", "vertebrae_T6", "vertebrae_C4", "brain"]
    heights = [centre(exact, organ)[2] for organ in column]
    assert heights == sorted(heights)
    assert centre(exact, "lung_right")[2] > centre(exact, "liver")[2] > centre(exact, "urinary_bladder")[2]


def test_scan_two_is_scan_one_through_the_motion(exact: DigitalPatient) -> None:
    """At random places of scan two lies the organ that scan one has where the motion says."""
    second, first = exact.ct_organs[Tracer.PENTIXAFOR], exact.ct_organs[Tracer.FDG]
    index = np.random.default_rng(0).integers(0, second.grid.shape, (20000, 3))
    source = np.rint(first.grid.to_index(exact.motion.to_fdg(second.grid.to_world(index)))).astype(int)
    covered = np.all((source >= 0) & (source < first.grid.shape), axis=1)
    here, there = second.labels[tuple(index[covered].T)], first.labels[tuple(source[covered].T)]
    solid = here > 0
    # Voxel centres miss each other by up to 2.5 mm, so thin walls disagree here and there.
    assert (here == there)[solid].mean() > 0.93
    assert not second.grid.same_as(first.grid)


def test_the_motion_can_be_undone(exact: DigitalPatient) -> None:
    grid = exact.pentixafor.ct.grid
    points = grid.to_world(np.random.default_rng(1).uniform(0, grid.shape, (2000, 3)))
    home = exact.motion.to_pentixafor(exact.motion.to_fdg(points))
    assert np.abs(home - points).max() < 1e-3
    assert exact.motion.growth(points).min() > 0.5
    rigid = points @ exact.motion.rigid[:3, :3].T + exact.motion.rigid[:3, 3]
    assert 3 < np.abs(exact.motion.to_fdg(points) - rigid).max() <= exact.settings.deformation_mm


def test_a_deformation_that_cannot_be_undone_is_refused() -> None:
    steep = Wave(amplitude=(40.0, 0.0, 0.0), length=(100.0, 100.0, 100.0), phase=(0.0, 0.0, 0.0))
    with pytest.raises(BadSettings, match="too steep"):
        Motion(rigid=np.eye(4), waves=(steep,))


def test_volumes_in_scan_two_follow_the_deformation() -> None:
    """A map that stretches by exactly 1.25 along x makes 1.25 ml of 1 ml."""
    stretch = np.diag([0.8, 1.0, 1.0, 1.0])
    assert Motion(rigid=stretch).growth([[10.0, 20.0, 30.0]])[0] == pytest.approx(0.8)


def test_the_mixture_is_the_papers() -> None:
    """1,352 lesions: 520 concordant, 420 and 241 CXCR4-only, 60 and 111 FDG-only (medullary, extramedullary)."""
    lesions = mixture(1352)
    fdg, pentixafor = frozenset({Tracer.FDG}), frozenset({Tracer.PENTIXAFOR})
    counts = {(s, t): sum(x.site is s and x.tracers == t for x in lesions) for s, t in product(Site, (fdg, pentixafor))}
    assert counts == {
        (Site.MEDULLARY, pentixafor): 420,
        (Site.EXTRAMEDULLARY, pentixafor): 241,
        (Site.MEDULLARY, fdg): 60,
        (Site.EXTRAMEDULLARY, fdg): 111,
    }
    assert sum(x.tracers == fdg | pentixafor for x in lesions) == 520


def test_lesions_keep_clear_of_each_other_and_of_doubt(exact: DigitalPatient) -> None:
    lesions = exact.truth["lesions"]
    for a, b in combinations(lesions, 2):
        apart = np.linalg.norm(np.subtract(a["centre_fdg_mm"], b["centre_fdg_mm"]))
        assert apart >= a["radius_mm"] + b["radius_mm"] + 12
    for lesion in lesions:
        in_bone = lesion["region"].startswith(BONY)
        assert in_bone == (lesion["site"] == "medullary")
        assert lesion["bone_fraction"] > 0.3 if in_bone else lesion["bone_fraction"] == 0


def test_blur_lowers_the_small_and_keeps_the_whole(exact: DigitalPatient) -> None:
    blurred = make_patient(PhantomSettings(seed=3, lesions=24, noise=False, arms="up"))
    assert blurred.fdg.pet.values.sum() == pytest.approx(exact.fdg.pet.values.sum(), rel=0.01)
    for lesion in shown(exact, Tracer.FDG):
        mask = exact.lesions[Tracer.FDG].labels == lesion["id"]
        assert 0.45 < blurred.fdg.pet.values[mask].max() / float(str(lesion["fdg_suv"])) < 1.02


def test_noise_is_as_asked(real: DigitalPatient) -> None:
    deep = real.ct_organs[Tracer.FDG].mask("liver")
    hu = real.fdg.ct.values[deep]
    spread = 1.4826 * np.median(np.abs(hu - np.median(hu)))
    assert spread == pytest.approx(12, rel=0.15)
    suv = real.fdg.pet.values[real.organs[Tracer.FDG].mask("liver")]
    assert 1.6 < np.median(suv) < 2.0
    assert real.fdg.pet.values.min() >= 0
    assert np.array_equal(real.fdg.ct.values, np.rint(real.fdg.ct.values))


def test_the_table_lies_elsewhere_in_scan_two(exact: DigitalPatient) -> None:
    tops = []
    for tracer in Tracer:
        ct, organs = exact.study(tracer).ct, exact.ct_organs[tracer].labels
        table = (ct.values > -980) & (organs == 0)
        assert table.any()
        tops.append(ct.grid.to_world(np.argwhere(table)).min(axis=0)[1])
    assert abs(tops[0] - tops[1]) > 0.5


@pytest.mark.parametrize(("trap", "overlap"), [(Trap.OVERLAP_9, 0.09), (Trap.OVERLAP_10, 0.10), (Trap.OVERLAP_11, 0.11)])
def test_overlap_traps(trap: Trap, overlap: float) -> None:
    patient = trapped(trap, lesions=0)
    lesions = patient.truth["lesions"]
    assert {x["overlap"] for x in lesions} == {overlap}
    concordant = [x["concordance"] for x in lesions] == [Concordance.CONCORDANT.value]
    assert concordant == (overlap > 0.10)
    # Both balls counted by points in scan one's space.
    balls = {t: next(x for x in lesions if x[f"{t.name.lower()}_suv"]) for t in Tracer}
    radius = balls[Tracer.FDG]["radius_mm"]
    a = np.array(balls[Tracer.FDG]["centre_fdg_mm"])
    b = patient.motion.to_fdg(balls[Tracer.PENTIXAFOR]["centre_pentixafor_mm"])[0]
    points = a + np.random.default_rng(0).uniform(-radius, radius, (400000, 3))
    in_a = np.linalg.norm(points - a, axis=1) <= radius
    both = (np.linalg.norm(points - b, axis=1) <= radius) & in_a
    assert both.sum() / in_a.sum() == pytest.approx(overlap, abs=0.004)


def test_two_equal_balls_share_a_tenth_at_1_46_radii() -> None:
    """docs/METHOD.md 2."""
    assert cap_distance(0.10) == pytest.approx(1.46, abs=0.005)


def test_bone_fraction_traps() -> None:
    traps = {Trap.BONE_9: 0.09, Trap.BONE_10: 0.10, Trap.BONE_11: 0.11}
    settings = PhantomSettings(seed=2, lesions=0, noise=False, blur=False, traps=frozenset(traps))
    patient = make_patient(settings)
    femur = patient.organs[Tracer.FDG].mask("femur_right")
    for lesion in patient.truth["lesions"]:
        fraction = traps[Trap(lesion["trap"])]
        assert lesion["bone_fraction"] == pytest.approx(fraction, abs=0.001)
        assert lesion["site"] == ("medullary" if fraction >= 0.10 else "extramedullary")
        mask = patient.lesions[Tracer.FDG].labels == lesion["id"]
        assert (femur & mask).sum() / mask.sum() == pytest.approx(fraction, abs=0.05)


def test_splenic_lesion_lies_in_the_spleen() -> None:
    patient = trapped(Trap.SPLENIC_LESION, lesions=0)
    mask = patient.lesions[Tracer.PENTIXAFOR].labels > 0
    assert mask.any()
    assert patient.organs[Tracer.PENTIXAFOR].mask("spleen")[mask].all()


@pytest.mark.parametrize(("trap", "number"), [(Trap.NO_LESION, 0), (Trap.ONE_LESION, 1), (Trap.MANY_LESIONS, 109)])
def test_loads(trap: Trap, number: int) -> None:
    truth = trapped(trap).truth
    assert len(truth["lesions"]) == number
    if number < 2:
        assert truth["sDmax"] == dict.fromkeys(("FDG", "CXCR4"), None if number == 0 else 0.0)


def test_swapped_tracers_show_a_cold_brain_on_fdg() -> None:
    patient = make_patient(PhantomSettings(seed=6, lesions=2, traps=frozenset({Trap.SWAPPED_TRACERS}), preset=Preset.COARSE))
    assert mean_in(patient, Tracer.FDG, "brain") < 0.5
    assert mean_in(patient, Tracer.PENTIXAFOR, "brain") > 5
    assert patient.truth["swapped"]


def test_truncated_field_leaves_lesions_that_cannot_be_compared() -> None:
    patient = trapped(Trap.TRUNCATED_FIELD, seed=7, lesions=25)
    outside = {x["id"] for x in patient.truth["lesions"] if not x["comparable"]}
    assert 0 < len(outside) < 25
    assert not outside & set(np.unique(patient.lesions[Tracer.PENTIXAFOR].labels))


@pytest.mark.parametrize(("trap", "higher"), [(Trap.ARMS_UP, True), (Trap.ARMS_DOWN, False)])
def test_arms(trap: Trap, higher: bool) -> None:
    patient = trapped(trap, lesions=0)
    assert (centre(patient, "humerus_left")[2] > centre(patient, "scapula_left")[2]) == higher


def test_settings_that_cannot_be_met() -> None:
    with pytest.raises(BadSettings, match="arms"):
        PhantomSettings(arms="folded")
    with pytest.raises(BadSettings, match="room for"):
        make_patient(PhantomSettings(seed=1, lesions=2000))
