"""The environment: what is read, what is assumed, and how each mistake is named."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flashdrop import urls
from flashdrop.config import BASE_DIR, TAKEN_PATHS, ConfigError, read_config

EXAMPLE = BASE_DIR / ".env.example"
REFERENCE = BASE_DIR / "docs" / "reference" / "configuration.md"
SOURCE = (BASE_DIR / "flashdrop" / "config.py").read_text()
NAMES = re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', SOURCE)
MALFORMED = {
    "SECRET_KEY": " ",
    "DEBUG": "perhaps",
    "PORT": "eighty",
    "WEB_WORKERS": "0",
    "WORKER_METRICS_PORT": "-1",
    "REDIS_URL": "",
    "MONGODB_URL": " ",
    "DATABASE_URL": "",
    "ENABLE_GLOBAL_RATE_LIMITER": "2",
    "RATE_LIMIT_MAX": "0",
    "RATE_LIMIT_WINDOW_SECONDS": "1.5",
    "TRUSTED_PROXY_COUNT": "-1",
    "TRUSTED_PROXIES": "10.0.0.1/8",
    "TRUST_USER_ID_HEADER": "ja",
    "SOCKETS_MAX": "0",
    "SOCKETS_PER_ADDRESS": "-1",
    "HTTPS_ONLY": "mostly",
    "HSTS_SECONDS": "-1",
    "ADMIN_PATH": "/admin",
    "LOG_LEVEL": "LOUD",
    "LOG_FORMAT": "xml",
    "DEMO_SKU": "Demo Sale",
    "DEMO_STOCK": "0",
    "DEMO_OPENS_IN_SECONDS": "-1",
    "DEMO_LASTS_SECONDS": "soon",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Nothing set but the two that every process has here: a key, and a folder without a shop."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SECRET_KEY", "k")
    monkeypatch.setenv("FLASHDROP_DATA_DIR", str(tmp_path))
    return monkeypatch


def complaint() -> str:
    with pytest.raises(ConfigError) as refused:
        read_config()
    return str(refused.value)


def named(told: str) -> set[str]:
    """The variables that an error is about."""
    return set(re.findall(r"\b([A-Z_]{4,})\b['\"]?: \[", told))


def read_elsewhere(folder: Path, **environment: str) -> dict[str, Any]:
    """The configuration as a new process reads it when it starts."""
    program = (
        "import dataclasses, json; from flashdrop.config import config;"
        "print(json.dumps(dataclasses.asdict(config), default=str))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        cwd=BASE_DIR,
        env={"PATH": os.environ["PATH"], "FLASHDROP_DATA_DIR": str(folder)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(found.stdout))


def example() -> dict[str, str]:
    """`.env.example`: its names and values, in order."""
    lines = EXAMPLE.read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    assert len({name for name, _ in pairs}) == len(pairs), "a variable is listed twice"
    return dict(pairs)


def test_the_regex_finds_what_is_read() -> None:
    assert {"SECRET_KEY", "FLASHDROP_DATA_DIR", "DEMO_LASTS_SECONDS", "ALLOWED_HOSTS"} <= set(NAMES)
    assert len(NAMES) == len(set(NAMES)) >= 20


def test_what_is_not_set_has_a_default(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = read_config()
    assert found.debug is False
    assert (found.host, found.port, found.web_workers) == ("127.0.0.1", 8000, 2)
    assert set(found.allowed_hosts) == {"127.0.0.1", "localhost", "[::1]"}
    assert (found.rate_limiter_enabled, found.trust_user_id_header, found.trusted_proxy_count) == (False, False, 0)
    assert (found.demo_sku, found.demo_stock) == ("demo", 100)
    assert found.database_url == f"sqlite:///{tmp_path}/db.sqlite3"
    assert found.data_dir == tmp_path


def test_the_folder_defaults_to_one_in_the_checkout(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("FLASHDROP_DATA_DIR")
    assert read_config().data_dir == BASE_DIR / ".flashdrop"


def test_a_list_is_separated_by_commas(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALLOWED_HOSTS", "shop.example,www.shop.example")
    assert read_config().allowed_hosts == ("shop.example", "www.shop.example")


def test_spaces_after_the_commas_are_not_part_of_a_host(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALLOWED_HOSTS", "shop.example, www.shop.example")
    assert read_config().allowed_hosts == ("shop.example", "www.shop.example")


def test_a_missing_secret_key_is_named_with_the_next_step(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("SECRET_KEY")
    told = complaint()
    assert "SECRET_KEY" in told
    assert ".env.example" in told


@pytest.mark.parametrize(("name", "value"), MALFORMED.items())
def test_a_malformed_variable_is_named(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(name, value)
    assert named(complaint()) == {name}


@pytest.mark.parametrize(
    ("name", "value"),
    [("REDIS_URL", "localhost:6379"), ("MONGODB_URL", "localhost:27017"), ("DATABASE_URL", "db.sqlite3")],
)
def test_an_address_without_a_scheme_is_malformed(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(name, value)
    assert named(complaint()) == {name}


def test_all_that_is_malformed_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    for name, value in MALFORMED.items():
        environment.setenv(name, value)
    assert named(complaint()) == set(MALFORMED)


def test_every_variable_that_can_be_malformed_is_tried_here() -> None:
    takes_anything = {"SECRET_KEY_FALLBACKS", "SHOPPER_ID_KEY", "ALLOWED_HOSTS", "HOST", "FLASHDROP_DATA_DIR"}
    assert set(NAMES) - set(MALFORMED) == takes_anything


@pytest.mark.parametrize("path", ["", "admin", "/admin/", "a//", "über/", "a.b/", "api/", "api/admin/", "static/x/"])
def test_the_admin_is_not_put_where_it_cant_be(environment: pytest.MonkeyPatch, path: str) -> None:
    environment.setenv("ADMIN_PATH", path)
    assert named(complaint()) == {"ADMIN_PATH"}


@pytest.mark.parametrize("path", ["admin/", "Back-Office/2/", "apis/"])
def test_the_admin_may_be_elsewhere(environment: pytest.MonkeyPatch, path: str) -> None:
    environment.setenv("ADMIN_PATH", path)
    assert read_config().admin_path == path


def test_every_address_of_the_shops_own_is_kept_from_the_admin() -> None:
    routes = [str(pattern.pattern) for pattern in [*urls.urlpatterns, *urls.websocket_urlpatterns]]
    firsts = {route.partition("/")[0] for route in routes if route}
    assert firsts == {*TAKEN_PATHS, "admin"}


def test_https_alone_needs_a_proxy_that_speaks_it(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTPS_ONLY", "true")
    assert "TRUSTED_PROXY_COUNT" in complaint()
    environment.setenv("TRUSTED_PROXY_COUNT", "1")
    assert read_config().https_only


def networks() -> list[str]:
    return [str(network) for network in read_config().trusted_proxies]


def test_only_this_machine_is_a_proxy_unless_others_are_named(environment: pytest.MonkeyPatch) -> None:
    assert networks() == ["127.0.0.0/8", "::1/128"]
    environment.setenv("TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7, fd00::/8")
    assert networks() == ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"]


@pytest.mark.parametrize("name", ["TRUSTED_PROXY_COUNT", "TRUST_USER_ID_HEADER"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "shop.internal"])
def test_a_proxy_elsewhere_has_to_be_named(environment: pytest.MonkeyPatch, name: str, host: str) -> None:
    environment.setenv(name, "1")
    for loopback in ("127.0.0.1", "::1", "[::1]", "localhost"):
        environment.setenv("HOST", loopback)
        assert read_config().host == loopback
    environment.setenv("HOST", host)
    assert name in (told := complaint()) and "TRUSTED_PROXIES" in told
    environment.setenv("TRUSTED_PROXIES", "10.0.0.0/8")
    assert read_config().host == host


# From files


def put(environment: pytest.MonkeyPatch, folder: Path, name: str, content: str | bytes) -> Path:
    """Have `name` stand in a file."""
    file = folder / name.lower()
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    environment.delenv(name, raising=False)
    environment.setenv(f"{name}_FILE", str(file))
    return file


def test_every_variable_may_stand_in_a_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = example() | {"WEB_WORKERS": "7", "DEBUG": "true", "ADMIN_PATH": "desk/", "LOG_LEVEL": "ERROR"}
    for name, value in values.items():
        environment.setenv(name, value)
    by_value = read_config()
    for name, value in values.items():
        put(environment, tmp_path, name, value + "\n")
    assert read_config() == by_value
    assert by_value.web_workers == 7


def test_only_the_line_end_is_not_part_of_the_value(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put(environment, tmp_path, "SECRET_KEY", " two words \r\n")
    assert read_config().secret_key == " two words "


def test_what_is_wrong_in_a_file_is_named_and_not_quoted(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put(environment, tmp_path, "PORT", "hunter2\n")
    put(environment, tmp_path, "MONGODB_URL", "mongodb://shop:hunter2/hunter2@localhost:27017/flashdrop")
    told = complaint()
    assert named(told) == {"PORT", "MONGODB_URL"}
    assert "hunter2" not in told


@pytest.mark.parametrize("what", ["missing", "a folder", "not text"])
def test_a_file_that_cant_be_read_is_named(environment: pytest.MonkeyPatch, tmp_path: Path, what: str) -> None:
    file = put(environment, tmp_path, "REDIS_URL", b"\xff\xfe")
    if what != "not text":
        file.unlink()
    if what == "a folder":
        file.mkdir()
    told = complaint()
    assert named(told) == {"REDIS_URL"}
    assert f"REDIS_URL_FILE: {file}" in told


def test_a_value_and_a_file_at_once_are_refused(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put(environment, tmp_path, "SECRET_KEY", "from the file")
    environment.setenv("SECRET_KEY", "hunter2")
    told = complaint()
    assert "SECRET_KEY and SECRET_KEY_FILE are both set" in told
    assert "hunter2" not in told
    environment.setenv("SECRET_KEY", "")  # as Compose passes on what nobody has set
    assert read_config().secret_key == "from the file"
    environment.setenv("SECRET_KEY", "by value")
    environment.setenv("SECRET_KEY_FILE", "")
    assert read_config().secret_key == "by value"


def test_a_file_wins_over_the_stores_that_make_run_has_started(tmp_path: Path) -> None:
    (tmp_path / "shop.env").write_text("SECRET_KEY=kept\nREDIS_URL=redis://127.0.0.1:7001/0\n")
    (tmp_path / "redis_url").write_text("redis://elsewhere:6379/0\n")
    found = read_elsewhere(tmp_path, REDIS_URL_FILE=str(tmp_path / "redis_url"))
    assert (found["secret_key"], found["redis_url"]) == ("kept", "redis://elsewhere:6379/0")


# Addresses


@pytest.mark.parametrize("secret", ["hun/ter2", "hun?ter2", "hun#ter2", "12/ter2", "12?ter2", "h@n:ter2/x"])
@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("REDIS_URL", "redis://:{}@localhost:6379/0"),
        ("REDIS_URL", "redis+sentinel://shop:{}@one:1,two:2/gate/0"),
        ("MONGODB_URL", "mongodb://shop:{}@one:1,two:2/flashdrop?replicaSet=rs0"),
        ("DATABASE_URL", "postgres://shop:{}@localhost:5432/flashdrop"),
    ],
)
def test_an_address_that_cant_be_taken_apart_is_not_quoted(
    environment: pytest.MonkeyPatch, name: str, address: str, secret: str
) -> None:
    environment.setenv(name, address.format(secret))
    told = complaint()
    assert named(told) == {name}
    assert "ter2" not in told


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("REDIS_URL", "redis://:p%40ss%2F@[::1]:6379/0"),
        ("REDIS_URL", "unix:///run/redis.sock?db=1"),
        ("REDIS_URL", "redis+cluster://one:1,two,three:3"),
        ("MONGODB_URL", "mongodb+srv://shop:p%3Fss@cluster.example/flashdrop?appName=a@b"),
        ("MONGODB_URL", "mongodb://mongo-0.mongo:27017,mongo_1:27018/flashdrop?replicaSet=rs0"),
        ("DATABASE_URL", "postgres:///flashdrop"),
        ("DATABASE_URL", "sqlite:////srv/a@b/db.sqlite3"),
    ],
)
def test_other_forms_of_addresses_are_taken(environment: pytest.MonkeyPatch, name: str, address: str) -> None:
    environment.setenv(name, address)
    read_config()


def test_manage_py_says_what_is_wrong_without_a_traceback(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=BASE_DIR,
        env={"PATH": os.environ["PATH"], "FLASHDROP_DATA_DIR": str(tmp_path), "PORT": "eighty"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode != 0
    assert "SECRET_KEY" in found.stderr
    assert "PORT" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_new_process_finds_the_stores_that_make_run_has_started(tmp_path: Path) -> None:
    (tmp_path / "shop.env").write_text("SECRET_KEY=from the file\nREDIS_URL=redis://127.0.0.1:7001/0\n")
    found = read_elsewhere(tmp_path)
    assert (found["secret_key"], found["redis_url"]) == ("from the file", "redis://127.0.0.1:7001/0")


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "shop.env").write_text("SECRET_KEY=from the file\nREDIS_URL=redis://127.0.0.1:7001/0\n")
    found = read_elsewhere(tmp_path, REDIS_URL="redis://elsewhere:6379/0")
    assert (found["secret_key"], found["redis_url"]) == ("from the file", "redis://elsewhere:6379/0")


def test_the_example_lists_exactly_what_is_read() -> None:
    assert sorted(example()) == sorted(NAMES)


def test_the_reference_lists_all_of_them() -> None:
    rows = [line for line in REFERENCE.read_text().splitlines() if line.startswith("| `")]
    listed = [name for row in rows for name in re.findall(r"`([A-Z_]+)`", row.split("|")[1])]
    assert sorted(listed) == sorted(NAMES)


def test_every_value_of_the_example_is_taken(environment: pytest.MonkeyPatch) -> None:
    for name, value in example().items():
        environment.setenv(name, value)
    read_config()


def test_the_examples_defaults_are_the_real_ones(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    defaults = read_config()
    not_defaults = {"SECRET_KEY", "DATABASE_URL", "FLASHDROP_DATA_DIR"}
    for name, value in example().items():
        if name not in not_defaults:
            environment.setenv(name, value)
    assert read_config() == defaults
