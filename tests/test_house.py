"""The rules of the house: names, floors, sizes, what a quick start must not load, and that the papers are true."""

from __future__ import annotations

import ast
import importlib.util
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = ("service", "dicom_io", "analysis")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
HEAVY = (
    "torch",
    "nnunetv2",
    "totalsegmentator",
    "SimpleITK",
    "scipy",
    "pandas",
    "matplotlib",
    "dask",
    "distributed",
    "sklearn",
    "shap",
)
COMMANDS = (
    "serve",
    "status",
    "release",
    "check",
    "analyse",
    "suv",
    "show",
    "conformance",
    "models",
    "retrieve",
    "resend",
    "cohort",
    "phantom",
    "demo",
    "backup",
    "restore",
    "retention",
    "scheduler",
    "worker",
)
Function = ast.FunctionDef | ast.AsyncFunctionDef

LONGEST_FILE, LONGEST_FUNCTION, LONG_FUNCTION, MEDIAN_FUNCTION, MOST_PARAMETERS = 400, 60, 30, 8, 6
SELF_EXPLAINING_FUNCTION = 6  # lines; a public one that is longer has a docstring


def none_of(places: Sequence[str] | Mapping[str, int]) -> None:
    """Fails and shows every place, one a line."""
    lines = [f"{place}: {number}" for place, number in places.items()] if isinstance(places, Mapping) else list(places)
    if lines:
        pytest.fail("\n".join(lines), pytrace=False)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions() -> Iterator[tuple[Path, Function]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def length(function: Function) -> int:
    """Lines from `def` to the end, without the docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def parameters(function: Function) -> list[str]:
    a = function.args
    named = [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg)))]
    return [name for name in named if name not in ("self", "cls")]


def is_command(function: Function) -> bool:
    """A typer command: its parameters are the options of the command line and not an interface between modules."""
    return any("command" in ast.unparse(d) or "callback" in ast.unparse(d) for d in function.decorator_list)


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in listed.stdout.split("\0") if line and (ROOT / line).is_file()]


def test_the_three_names_belong_to_duet_node_alone() -> None:
    owners = packages_distributions()
    assert {name: set(owners.get(name, ())) for name in PACKAGES} == {name: {"duet-node"} for name in PACKAGES}


def test_every_package_of_the_tree_is_listed_for_the_wheel() -> None:
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in SOURCES}
    found.add("analysis.segmenters.shipped")  # data alone, which setuptools warns about unless it is named
    assert found == set(PROJECT["tool"]["setuptools"]["packages"])


def test_the_installed_packages_hold_every_file_of_the_tree() -> None:
    missing = []
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        home = Path(spec.origin).parent
        files = [path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        missing += [name_of(path) for path in files if not (home / path.relative_to(ROOT / package)).is_file()]
    none_of(missing)


def test_no_init_file_below_tests() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_every_source_file_has_its_size() -> None:
    sizes = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    none_of({name: lines for name, lines in sizes.items() if lines > LONGEST_FILE})


def test_functions_are_short() -> None:
    sizes = {f"{name_of(path)}:{f.lineno} {f.name}": length(f) for path, f in functions()}
    none_of({name: lines for name, lines in sizes.items() if lines > LONGEST_FUNCTION})
    assert sum(lines > LONG_FUNCTION for lines in sizes.values()) <= 0.1 * len(sizes)
    assert statistics.median(sizes.values()) <= MEDIAN_FUNCTION


def test_functions_take_few_parameters() -> None:
    counts = {f"{name_of(path)}:{f.lineno} {f.name}": len(parameters(f)) for path, f in functions() if not is_command(f)}
    none_of({name: count for name, count in counts.items() if count > MOST_PARAMETERS})


def test_one_broad_except() -> None:
    broad = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type is not None else ""
                if caught == "" or re.search(r"\b(Base)?Exception\b", caught):
                    broad.append(f"{name_of(path)}:{node.lineno}")
    assert len(broad) <= 1, broad


def test_only_the_command_line_prints() -> None:
    printing = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                printing.append(f"{name_of(path)}:{node.lineno}")
    none_of([place for place in printing if not place.startswith("service/cli")])


def undocumented(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if ast.get_docstring(tree) is None:
        yield name_of(path)
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        plain = not isinstance(node, ast.ClassDef) and length(node) <= SELF_EXPLAINING_FUNCTION
        if ast.get_docstring(node) is None and not plain:
            yield f"{name_of(path)}:{node.lineno} {node.name}"


def test_modules_and_public_functions_say_what_they_do() -> None:
    none_of([place for path in SOURCES for place in undocumented(path)])


@pytest.mark.parametrize("module", ["service.cli", "dicom_io.headers", "dicom_io.studies", "analysis.values"])
def test_a_quick_start_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set(m.partition('.')[0] for m in sys.modules) & set({HEAVY!r})))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.split() == []


def test_help_answers_and_names_the_commands(program: Callable[[str], str]) -> None:
    ran = subprocess.run([program("duet"), "--help"], capture_output=True, text=True, check=True, timeout=60)
    assert "research use only" in ran.stdout.lower()
    assert commands_of(ran.stdout) >= {"serve", "analyse", "suv", "phantom", "demo", "check", "status"}


def commands_of(help_text: str) -> set[str]:
    return {name for name in COMMANDS if re.search(rf"^\W*{name}\b", help_text, re.MULTILINE)}


def test_readme_shows_the_commands_that_exist_and_no_others(program: Callable[[str], str]) -> None:
    ran = subprocess.run([program("duet"), "--help"], capture_output=True, text=True, check=True, timeout=60)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL))
    shown = set(re.findall(r"`duet ([a-z]+)", readme)) | set(re.findall(r"^duet ([a-z]+)", blocks, re.MULTILINE))
    assert shown == commands_of(ran.stdout)


def test_readme_begins_with_the_two_commands_and_what_duet_is_not() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:40])
    for words in ("make demo", "make test", "docs/fusion.png", "esearch use only"):
        assert words in first_screen


def test_the_pictures_and_pages_that_the_papers_name_exist() -> None:
    broken = []
    for paper in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / paper).read_text(encoding="utf-8"))
        broken += [f"{paper}: {link}" for link in links if not (ROOT / link).exists()]
    none_of(broken)


def test_changelog_names_the_version() -> None:
    stated = PROJECT["project"]["version"]
    assert f"## [{stated}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert version("duet-node") == stated


def test_every_dependency_is_pinned_and_torch_at_one_release() -> None:
    def plain(requirement: str) -> str:
        return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~ ;]", requirement, maxsplit=1)[0]).lower()

    pins = (ROOT / "deploy" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {plain(line) for line in pins if "==" in line}
    wanted = {plain(r) for r in (*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"])}
    assert wanted - pinned == set()
    assert "torch==2.13.0" in pins
    none_of([line for line in pins if line.startswith("nvidia-")])


def test_no_path_of_a_machine_and_no_registry_in_any_file() -> None:
    # Put together from parts, so that this file does not hold what it looks for.
    hosts = [
        "pypi" + ".org",
        "pythonhosted" + ".org",
        "debian" + ".org",
        "npmjs" + ".org",
        "npmjs" + ".com",
        "pytorch" + ".org",
    ]
    homes = ["/ho" + "me/", "/ro" + "ot/", "/Us" + "ers/", "/wo" + "rk/", "C:" + "\\\\Users"]
    banned = re.compile(
        "|".join([re.escape(word) for word in hosts] + [rf"(?<![\w.}}-]){re.escape(path)}\w" for path in homes])
    )
    found = []
    for path in tracked_files():
        text = path.read_bytes().decode("utf-8", errors="ignore") if path.stat().st_size < 1_000_000 else ""
        found += [f"{name_of(path)}: {hit.group(0)}" for hit in banned.finditer(text)]
    none_of(found)
