"""The coded anatomical region of a lesion, from the name that the anatomy gives it.

Sources of the codes: pydicom's copy of the standard's context groups, and TotalSegmentator's own table
(totalsegmentator/resources/totalsegmentator_snomed_mapping.csv, version 2.18). Both were compared, and a test repeats that.
Ribs and S1, which the standard does not name, agree with HL7's list of the structures of AAPM TG-263 (mCODE). Where
TotalSegmentator's table errs it is not followed: its subclavian artery is the right one alone (29700009), its left auricular
appendage has no side, its gluteus maximus is the entire muscle (181674001; 206007 is its structure).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydicom.sr.coding import Code

from analysis.values import Site

LEFT = Code("7771000", "SCT", "Left")
RIGHT = Code("24028007", "SCT", "Right")
BONE = Code("272673000", "SCT", "Bone")
SOFT_TISSUE = Code("87784001", "SCT", "Soft tissue")
SPLEEN = Code("78961009", "SCT", "Spleen")
LIVER = Code("10200004", "SCT", "Liver")
AORTA = Code("15825003", "SCT", "Aorta")

_VERTEBRAE = {
    "C1": "14806007",
    "C2": "39976000",
    "C3": "113205007",
    "C4": "5329002",
    "C5": "36978003",
    "C6": "36054005",
    "C7": "87391001",
    "T1": "64864005",
    "T2": "53733008",
    "T3": "1626008",
    "T4": "73071006",
    "T5": "56401006",
    "T6": "45296009",
    "T7": "62487009",
    "T8": "11068009",
    "T9": "82687006",
    "T10": "7610001",
    "T11": "12989004",
    "T12": "23215003",
    "L1": "66794005",
    "L2": "14293000",
    "L3": "36470004",
    "L4": "11994002",
    "L5": "49668003",
    "S1": "65985001",
}
_RIBS = (
    ("48535007", "First rib"),
    ("78247007", "Second rib"),
    ("25888004", "Third rib"),
    ("25523003", "Fourth rib"),
    ("15339008", "Fifth rib"),
    ("59558009", "Sixth rib"),
    ("24915002", "Seventh rib"),
    ("5953002", "Eighth rib"),
    ("22565002", "Ninth rib"),
    ("77644006", "Tenth rib"),
    ("58830002", "Eleventh rib"),
    ("43993008", "Twelfth rib"),
)

# Name of a region without its side, in words > code.
_NAMED: Mapping[str, Code] = {
    "sacrum": Code("54735007", "SCT", "Sacrum"),
    "skull": Code("89546000", "SCT", "Skull"),
    "sternum": Code("56873002", "SCT", "Sternum"),
    "clavicula": Code("51299004", "SCT", "Clavicle"),
    "scapula": Code("79601000", "SCT", "Scapula"),
    "humerus": Code("85050009", "SCT", "Humerus"),
    "femur": Code("71341001", "SCT", "Femur"),
    "hip": Code("29836001", "SCT", "Hip"),
    "costal cartilages": Code("50016007", "SCT", "Costal Cartilage"),
    "spinal cord": Code("2748008", "SCT", "Spinal cord"),
    "kidney cyst": Code("64033007", "SCT", "Kidney"),
    "esophagus": Code("32849002", "SCT", "Esophagus"),
    "trachea": Code("44567001", "SCT", "Trachea"),
    "thyroid gland": Code("69748006", "SCT", "Thyroid"),
    "prostate": Code("41216001", "SCT", "Prostate"),
    "lung upper lobe": Code("45653009", "SCT", "Upper lobe of lung"),
    "lung middle lobe": Code("72481006", "SCT", "Middle lobe of right lung"),
    "lung lower lobe": Code("90572001", "SCT", "Lower lobe of lung"),
    "atrial appendage": Code("33626005", "SCT", "Left auricular appendage"),
    "pulmonary vein": Code("122972007", "SCT", "Pulmonary vein"),
    "brachiocephalic trunk": Code("12691009", "SCT", "brachiocephalic trunk"),
    "brachiocephalic vein": Code("8887007", "SCT", "Brachiocephalic vein"),
    "subclavian artery": Code("36765005", "SCT", "Subclavian artery"),
    "common carotid artery": Code("32062004", "SCT", "Common carotid artery"),
    "superior vena cava": Code("48345005", "SCT", "Superior vena cava"),
    "inferior vena cava": Code("64131007", "SCT", "Inferior vena cava"),
    "portal vein and splenic vein": Code("110765007", "SCT", "Portal vein and splenic vein"),
    "iliac artery": Code("73634005", "SCT", "Common iliac artery"),
    "iliac vena": Code("46027005", "SCT", "Common iliac vein"),
    "gluteus maximus": Code("206007", "SCT", "Gluteus maximus muscle"),
    "gluteus medius": Code("78333006", "SCT", "Gluteus medius muscle"),
    "gluteus minimus": Code("75297007", "SCT", "Gluteus minimus muscle"),
    "autochthon": Code("244849004", "SCT", "Deep muscle of back"),
    "iliopsoas": Code("68455001", "SCT", "Iliopsoas muscle"),
    "urinary tract": Code("87953007", "SCT", "Ureter"),
    "pharynx": Code("54066008", "SCT", "Pharynx"),
    **{f"vertebra {level.lower()}": Code(value, "SCT", f"{level} vertebra") for level, value in _VERTEBRAE.items()},
    **{f"rib {number}": Code(value, "SCT", meaning) for number, (value, meaning) in enumerate(_RIBS, start=1)},
}
# What the standard has no code for. The test compares ribs and S1 with TG-263; the rest are TotalSegmentator's codes.
BEYOND_THE_STANDARD = tuple(
    code for name, code in _NAMED.items() if re.match(r"rib \d|vertebra s1|gluteus|autochthon|iliopsoas|portal vein and", name)
)
_SIDED = frozenset({"72481006", "33626005"})  # codes that say the side themselves

# Word in a region's name > code; the first word that occurs wins, so the narrower stands first.
_WORDS = {
    "lymph": Code("59441001", "SCT", "Lymph Node"),
    "vertebra": Code("51282000", "SCT", "Vertebra"),
    "cervical": Code("122494005", "SCT", "Cervical spine"),
    "thoracic spine": Code("122495006", "SCT", "Thoracic spine"),
    "lumbar": Code("122496007", "SCT", "Lumbar spine"),
    "sacrum": Code("54735007", "SCT", "Sacrum"),
    "spine": Code("421060004", "SCT", "Spine"),
    "skull": Code("89546000", "SCT", "Skull"),
    "mandible": Code("91609006", "SCT", "Mandible"),
    "clavic": Code("51299004", "SCT", "Clavicle"),
    "scapula": Code("79601000", "SCT", "Scapula"),
    "stern": Code("56873002", "SCT", "Sternum"),
    "rib": Code("113197003", "SCT", "Rib"),
    "humer": Code("85050009", "SCT", "Humerus"),
    "femur": Code("71341001", "SCT", "Femur"),
    "femora": Code("71341001", "SCT", "Femur"),
    "hip": Code("29836001", "SCT", "Hip"),
    "pelvi": Code("816092008", "SCT", "Pelvis"),
    "brain": Code("12738006", "SCT", "Brain"),
    "spleen": SPLEEN,
    "liver": LIVER,
    "kidney": Code("64033007", "SCT", "Kidney"),
    "ureter": Code("87953007", "SCT", "Ureter"),
    "gallbladder": Code("28231008", "SCT", "Gallbladder"),
    "bladder": Code("89837001", "SCT", "Bladder"),
    "adrenal": Code("23451007", "SCT", "Adrenal gland"),
    "pancreas": Code("15776009", "SCT", "Pancreas"),
    "stomach": Code("69695003", "SCT", "Stomach"),
    "duodenum": Code("38848004", "SCT", "Duodenum"),
    "small bowel": Code("30315005", "SCT", "Small intestine"),
    "colon": Code("71854001", "SCT", "Colon"),
    "lung": Code("39607008", "SCT", "Lung"),
    "pleura": Code("3120008", "SCT", "Pleura"),
    "heart": Code("80891009", "SCT", "Heart"),
    "aorta": AORTA,
    "mediast": Code("72410000", "SCT", "Mediastinum"),
    "muscle": Code("71616004", "SCT", "Muscle"),
    "neck": Code("45048000", "SCT", "Neck"),
    "head": Code("69536005", "SCT", "Head"),
    "chest": Code("816094009", "SCT", "Chest"),
    "thora": Code("816094009", "SCT", "Chest"),
    "abdom": Code("818981001", "SCT", "Abdomen"),
    "arm": Code("40983000", "SCT", "Upper arm"),
    "leg": Code("61685007", "SCT", "Lower limb"),
    "soft tissue": SOFT_TISSUE,
    "marrow": Code("14016003", "SCT", "Bone Marrow"),
    "bone": BONE,
}


def region_code(region: str, site: Site | None = None) -> tuple[Code, Code | None]:
    """The anatomical region's name (as anatomy gives it) -> its code and laterality.

    A name that is not known is looked through for words that are; without any it falls back to bone or soft tissue by the
    lesion's site.
    """
    words = [word for word in re.split(r"[_\s]+", region.lower().replace("vertebrae", "vertebra")) if word != "near"]
    side = RIGHT if "right" in words else LEFT if "left" in words else None
    name = " ".join(word for word in words if word not in ("left", "right"))
    level = re.search(r"\b([ctls]\d{1,2})\b", name)
    code = _NAMED.get(name) or (_NAMED.get(f"vertebra {level[1]}") if level else None)
    code = code or next((code for word, code in _WORDS.items() if re.search(rf"\b{word}", name)), None)
    code = code or (BONE if site is Site.MEDULLARY else SOFT_TISSUE)
    return code, None if code.value in _SIDED else side


def region_codes() -> tuple[Code, ...]:
    """Every code that region_code can give, each once."""
    return tuple(dict.fromkeys([LEFT, RIGHT, BONE, SOFT_TISSUE, *_NAMED.values(), *_WORDS.values()]))
