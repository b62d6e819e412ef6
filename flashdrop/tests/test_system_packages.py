"""What the system lacks is named with its reason; it is installed where that can be done, else the line is printed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flashdrop.config import BASE_DIR
from flashdrop.embedded import system_packages
from flashdrop.embedded.system_packages import Need, main, missing_libraries, needs_to_run, needs_to_test, set_up


def run(purpose: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flashdrop.embedded.system_packages", purpose],
        cwd=BASE_DIR, env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_machine_that_has_everything_hears_nothing() -> None:
    assert needs_to_test(os.environ) == []
    done = run("test", PATH=os.environ["PATH"], SETUP="no")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


LISTED = """\
\tlinux-vdso.so.1 (0x00007fff0d1e2000)
\tlibcurl.so.4 => not found
\tlibssl.so.3 => /lib/x86_64-linux-gnu/libssl.so.3 (0x00007f7a0b1e6000)
\tlibodd.so.7 => not found
\t/lib64/ld-linux-x86-64.so.2 (0x00007f7a0e8c5000)
"""


def test_a_library_that_the_dynamic_linker_does_not_find_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What it says on a bare machine; `bare_machine.sh` has the real one say it.
    (tmp_path / "listed").write_text(LISTED)
    (tmp_path / "ldd").write_text(f"#!/bin/sh\n[ $1 = /srv/mongod ] && cat {tmp_path}/listed\n")
    (tmp_path / "ldd").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    curl, odd = missing_libraries(Path("/srv/mongod"))
    assert curl == Need("libcurl.so.4", "libcurl4", "mongod is linked with it")
    assert (odd.name, odd.package) == ("libodd.so.7", None)


def test_without_programs_the_one_line_is_printed_and_nothing_is_installed(tmp_path: Path) -> None:
    """A path with nothing on it but the interpreter: no package manager either."""
    (tmp_path / "python3").symlink_to(sys.executable)
    done = run("test", PATH=str(tmp_path))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "chromium" in done.stderr and "the pages' tests drive a real browser" in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "apt-get install" in line]
    assert "gettext" in line and line.count("gettext") == 1 and "prometheus" in line


def test_setup_no_installs_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(system_packages, "install", lambda packages: pytest.fail("it installed"))
    lacks = [Need("wrk", "wrk", "benchmarks")]
    assert set_up(lambda _: lacks, {"SETUP": "no"}) == 1
    assert "apt-get install -y --no-install-recommends wrk" in capsys.readouterr().err
    assert set_up(lambda _: [Need("redis-server", "redis-server", "more tests", False)], {"SETUP": "no"}) == 0


@pytest.mark.skipif(shutil.which("apt-get") is None or os.geteuid() != 0, reason="installs as root, by apt-get")
def test_what_is_missing_is_named_before_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed: list[str] = []
    monkeypatch.setattr(system_packages, "install", lambda packages: installed.extend(packages) or True)
    assert set_up(lambda _: [] if installed else [Need("wrk", "wrk", "benchmarks")], {}) == 0
    assert installed == ["wrk"]
    err = capsys.readouterr().err
    assert err.index("benchmarks") < err.index("Installing it")
    # What apt-get says it has done is looked at once more.
    assert set_up(lambda _: [Need("wrk", "wrk", "benchmarks")], {}) == 1
    assert "Still missing: wrk" in capsys.readouterr().err


def test_a_library_of_unknown_package_is_not_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    assert set_up(lambda _: [Need("libodd.so.7", None, "mongod is linked with it")], {}) == 1
    assert "Find the packages that have libodd.so.7." in capsys.readouterr().err


def test_a_shop_with_a_mongodb_of_its_own_needs_no_library() -> None:
    assert needs_to_run({"MONGODB_URL": "mongodb://db/flashdrop"}) == []


def test_wrong_words_are_told() -> None:
    assert main([]) == main(["both"]) == 2
