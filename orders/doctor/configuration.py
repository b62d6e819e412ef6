"""The environment, judged without asking any store."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from flashdrop import zone_rules
from flashdrop.config import BASE_DIR, Config
from orders.doctor.finding import Area, Finding, Notes

# Keys that stand in examples, tutorials, tests and CI files.
PLACEHOLDERS = ("change-me", "changeme", "django-insecure", "secret", "insecure", "example", "tests-only")
SHORTEST_KEY = 32
FEWEST_CHARACTERS = 8
NEW_KEY = "python -c 'import secrets; print(secrets.token_urlsafe(48))'"
MANIFEST = "staticfiles.json"
OLDEST_ZONE_RULES = timedelta(days=365)


def check_configuration(config: Config) -> list[Finding]:
    """Everything that can be said from `config` and this host's files."""
    notes = Notes(Area.CONFIGURATION)
    _debug(config, notes)
    _allowed_hosts(config, notes)
    _secret_key(config, notes)
    _user_id_header(config, notes)
    _rate_limiter(config, notes)
    _database(config, notes)
    _data_dir(config, notes)
    _static_files(config, notes)
    _zone_rules(datetime.now(UTC), notes)
    return notes.findings


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _debug(config: Config, notes: Notes) -> None:
    if not config.debug:
        return notes.ok("DEBUG", "off")
    if is_loopback(config.host) and "*" not in config.allowed_hosts:
        return notes.advice("DEBUG", f"on, at {config.host} only", "leave DEBUG unset wherever strangers can reach it")
    return notes.at_risk(
        "DEBUG",
        f"on, with HOST={config.host} and ALLOWED_HOSTS={','.join(config.allowed_hosts)}: error pages show settings "
        "and code to strangers (promise 8: an error is a clear status)",
        "unset DEBUG, or set DEBUG=false",
    )


def _allowed_hosts(config: Config, notes: Notes) -> None:
    if "*" not in config.allowed_hosts:
        return notes.ok("ALLOWED_HOSTS", ", ".join(config.allowed_hosts) or "none")
    return notes.advice(
        "ALLOWED_HOSTS",
        "*: other sites' pages may open websockets here, since their Origin is checked against it",
        "set ALLOWED_HOSTS to the shop's own names, such as shop.example.com",
    )


def _secret_key(config: Config, notes: Notes) -> None:
    key = config.secret_key
    placeholder = next((word for word in PLACEHOLDERS if key.lower().startswith(word)), None)
    if placeholder:
        found = f"a placeholder ({placeholder}...) that anybody can look up"
    elif len(key) < SHORTEST_KEY:
        found = f"too short, {len(key)} of at least {SHORTEST_KEY} characters"
    elif len(set(key)) < FEWEST_CHARACTERS:
        found = f"only {len(set(key))} different characters"
    else:
        return notes.ok("SECRET_KEY", f"{len(key)} characters, no known placeholder")
    return notes.at_risk(
        "SECRET_KEY",
        f"{found}: whoever guesses it signs cookies of any shopper and of the admin (promise 2: the limit per shopper)",
        f"set SECRET_KEY to the output of {NEW_KEY}, the same on every host; not during a sale, it makes every shopper "
        "a new one",
    )


def _user_id_header(config: Config, notes: Notes) -> None:
    name = "TRUST_USER_ID_HEADER"
    if not config.trust_user_id_header:
        return notes.ok(name, "off")
    if config.trusted_proxy_count:
        return notes.advice(
            name,
            "on: safe only while no request comes past the proxy",
            "make the proxy set or remove X-User-Id on every request, and let nothing else reach this host's PORT",
        )
    return notes.at_risk(
        name,
        "on, and no proxy is declared: whoever can reach this process is any shopper they like (promise 2: the limit "
        "per shopper)",
        "unset TRUST_USER_ID_HEADER; or, behind a proxy that authenticates, set TRUSTED_PROXY_COUNT=1",
    )


def _rate_limiter(config: Config, notes: Notes) -> None:
    name = "rate limiter"
    if not config.rate_limiter_enabled:
        return notes.ok(name, "off")
    limits = f"{config.rate_limit_max} requests in {config.rate_limit_window_seconds} s"
    if config.trusted_proxy_count:
        return notes.ok(name, f"{limits}, behind {config.trusted_proxy_count} proxies")
    return notes.advice(
        name,
        f"{limits}, and no proxy is declared: behind one, all shoppers count as one address and are refused together",
        "behind proxies, set TRUSTED_PROXY_COUNT to how many there are; without one, nothing is to do",
    )


def _database(config: Config, notes: Notes) -> None:
    if not config.database_url.startswith("sqlite"):
        return notes.ok("DATABASE_URL", "PostgreSQL")
    if is_loopback(config.host):
        return notes.ok("DATABASE_URL", "SQLite, on one host")
    return notes.advice(
        "DATABASE_URL",
        "SQLite: on more than one host each has a back office of its own, and a worker publishes only its host's sales",
        "with more than one host, set DATABASE_URL=postgres://user:password@host:5432/flashdrop and run "
        "`manage.py migrate`",
    )


def _data_dir(config: Config, notes: Notes) -> None:
    try:
        with tempfile.TemporaryFile(dir=config.data_dir):
            pass
    except OSError as error:
        if not config.database_url.startswith("sqlite"):
            return notes.ok("data folder", f"{config.data_dir} is read-only, and nothing is written there")
        return notes.at_risk(
            "data folder",
            f"{config.data_dir} can't be written: {error.strerror or error}; the back office saves nothing there",
            f"`mkdir -p {config.data_dir} && chown <the shop's user> {config.data_dir}`, or set FLASHDROP_DATA_DIR",
        )
    return notes.ok("data folder", f"{config.data_dir} can be written")


def _static_files(config: Config, notes: Notes) -> None:
    manifest = config.data_dir / "static" / MANIFEST
    advice = "run `manage.py collectstatic --noinput`, at each deployment"
    try:
        collected = set(json.loads(manifest.read_text(encoding="utf-8"))["paths"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return notes.at_risk(
            "static files",
            f"not collected, no manifest at {manifest} ({type(error).__name__}): pages can't name their files and "
            "answer 500 (promise 8)",
            advice,
        )
    missing = sorted(_own_static_files() - collected)
    if missing:
        return notes.at_risk(
            "static files",
            f"collected before {len(missing)} of them were there, such as {missing[0]}: pages that name one answer 500 "
            "(promise 8)",
            advice,
        )
    return notes.ok("static files", f"{len(collected)} collected")


def _zone_rules(now: datetime, notes: Notes) -> None:
    released = zone_rules.at_least_as_new_as()
    found = f"tzdata {zone_rules.version()}, not older than {released:%B %Y}; the system's own are not used"
    if now - released <= OLDEST_ZONE_RULES:
        return notes.ok("time zone rules", found)
    return notes.advice(
        "time zone rules",
        f"{found}. Governments change their clocks several times a year: a time planned on a local clock may be read "
        "an hour wrong",
        "raise `tzdata` in pyproject.toml, `make lock`, and deploy it to every host",
    )


def _own_static_files() -> set[str]:
    folder: Path = BASE_DIR / "static"
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
