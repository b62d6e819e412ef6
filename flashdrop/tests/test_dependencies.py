"""What the project needs from outside stands in one place: packages in pyproject.toml, the system's in one module."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import uv
import yaml

from flashdrop import __version__
from flashdrop.config import BASE_DIR

PROJECT = tomllib.loads((BASE_DIR / "pyproject.toml").read_text())
LOCK = tomllib.loads((BASE_DIR / "uv.lock").read_text())
EXPORTED = {
    "requirements.txt": ["--no-default-groups"],
    "flashdrop/embedded/requirements.txt": ["--no-default-groups", "--only-group", "stores"],
    "requirements-dev.txt": ["--group", "dev"],
}
GROUPS = PROJECT["dependency-groups"]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lines: list[Any]) -> dict[str, str]:
    """Name to version of what stands in pyproject.toml."""
    found = [re.match(r"([\w.-]+)(?:\[[\w,-]+\])?==([^;\s]+)", line) for line in lines if isinstance(line, str)]
    assert all(found), "each is pinned by =="
    return {plain(match[1]): match[2] for match in found if match}


def required(entries: list[dict[str, str]]) -> dict[str, str]:
    """The same of the lock's record of what was asked for."""
    return {entry["name"]: entry["specifier"].removeprefix("==") for entry in entries}


def test_the_lock_is_of_what_pyproject_asks_for() -> None:
    (root,) = [package for package in LOCK["package"] if package["name"] == "flashdrop"]
    metadata = root["metadata"]
    assert pins(PROJECT["project"]["dependencies"]) == required(metadata["requires-dist"])
    assert pins(GROUPS["stores"]) == required(metadata["requires-dev"]["stores"])
    assert pins(GROUPS["dev"]) | pins(GROUPS["stores"]) == required(metadata["requires-dev"]["dev"])
    locked = {package["name"]: package["version"] for package in LOCK["package"] if "version" in package}
    everything = pins([*PROJECT["project"]["dependencies"], *GROUPS["stores"], *GROUPS["dev"]])
    assert everything.items() <= locked.items()


@pytest.mark.parametrize("file", EXPORTED)
def test_the_requirements_files_are_what_the_lock_exports(file: str, tmp_path: Path) -> None:
    command = [uv.find_uv_bin(), "export", "--quiet", "--frozen", "--offline", "--no-annotate", *EXPORTED[file]]
    out = tmp_path / "exported.txt"
    subprocess.run([*command, "--output-file", str(out)], cwd=BASE_DIR, check=True, capture_output=True, timeout=60)

    def requirements(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith("#")]

    assert requirements((BASE_DIR / file).read_text()) == requirements(out.read_text()), "run `make lock`"
    assert all("--hash=sha256:" in block for block in re.split(r"\n(?=\S)", out.read_text()) if "==" in block)


def test_each_package_has_its_reason_beside_it() -> None:
    text = (BASE_DIR / "pyproject.toml").read_text()
    bare = [line for line in text.splitlines() if re.match(r'\s+"[\w.\[\]-]+==', line) and not re.search(r"# \S", line)]
    assert bare == []


INSTALLS = re.compile(
    r"apt(?:-get)? install|apt-get.*install|pip3? install|dnf install|apk add|brew install|npm install"
)
# Who installs, and who only names the one command that does (a test may look for its words).
PLACES = {"Makefile", "deploy/Dockerfile", "flashdrop/embedded/system_packages.py"}


def test_nothing_is_installed_outside_of_the_one_place() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=BASE_DIR, check=True, capture_output=True, text=True)
    found = set()
    for name in listed.stdout.splitlines():
        path = BASE_DIR / name
        if path.suffix in (".png", ".mo", ".woff2", ".lock") or "/tests/" in name or name.startswith("docs/reference/"):
            continue
        if path.is_file() and INSTALLS.search(path.read_text(errors="replace")):
            found.add(name)
    assert found - PLACES == set()


def test_one_version_is_told_everywhere() -> None:
    tag = yaml.safe_load((BASE_DIR / "deploy/kubernetes/overlays/production/kustomization.yaml").read_text())
    released = re.search(r"^## (\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d$", (BASE_DIR / "CHANGELOG.md").read_text(), re.M)
    (ours,) = (package["version"] for package in LOCK["package"] if package["name"] == "flashdrop")
    assert released is not None
    told = {PROJECT["project"]["version"], ours, released[1], tag["images"][0]["newTag"]}
    assert told == {__version__}
