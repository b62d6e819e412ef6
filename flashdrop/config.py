"""The one place that reads the environment.

Every setting the product has is a field of `Config`. A malformed or missing variable is named in the error, all of
them at once, and never quoted: it may be a secret. Each may also stand in a file that `<NAME>_FILE` names. A checkout
that ran `make run` keeps the addresses of its own stores in `<data dir>/shop.env`; what the environment says wins over
that file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

from environs import EnvError, FileAwareEnv, ValidationError, validate

from flashdrop import ConfigError

__all__ = ["BASE_DIR", "SHOP_ENV", "Config", "ConfigError", "config", "given", "read_config"]

BASE_DIR = Path(__file__).resolve().parent.parent
SHOP_ENV = "shop.env"
# First parts of the shop's own addresses, and of what stands beside it: the admin's may be none of them.
TAKEN_PATHS = ("api", "healthz", "language", "metrics", "orders", "readyz", "sales", "session", "static", "ws")
LOOPBACK = ("127.0.0.0/8", "::1/128")
ONE_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:@/\[\]]+)(:\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, typed. Units stand in the names."""

    secret_key: str
    secret_key_fallbacks: tuple[str, ...]
    shopper_id_key: str
    debug: bool
    allowed_hosts: tuple[str, ...]
    host: str
    port: int
    web_workers: int
    worker_metrics_port: int
    redis_url: str
    mongodb_url: str
    database_url: str
    rate_limiter_enabled: bool
    rate_limit_max: int
    rate_limit_window_seconds: int
    trusted_proxy_count: int
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    trust_user_id_header: bool
    sockets_max: int
    sockets_per_address: int
    https_only: bool
    hsts_seconds: int
    admin_path: str
    log_level: str
    log_format: str
    data_dir: Path
    demo_sku: str
    demo_stock: int
    demo_opens_in_seconds: int
    demo_lasts_seconds: int


def _text(value: str) -> None:
    if not value.strip():
        raise ValidationError("must not be empty")


def _address(*schemes: str) -> Callable[[str], None]:
    """Whether an address can be taken apart. A client would quote the part of a password that it takes for a port."""
    listed = ", ".join(f"{scheme}://" for scheme in schemes)

    def check(value: str) -> None:
        scheme, _, rest = value.partition("://")
        if scheme not in schemes or not rest.strip():
            raise ValidationError(f"must begin with one of {listed}")
        if scheme in ("unix", "sqlite"):
            return
        authority, *more = re.split("[/?#]", rest, maxsplit=1)
        hosts = authority.rpartition("@")[2].split(",")
        if (authority and not all(map(ONE_HOST.fullmatch, hosts))) or ("@" not in authority and "@" in "".join(more)):
            raise ValidationError(
                "can't be taken apart; in a user's name or password write %40 for @, %3A for :, %2F for /, %3F for ?, "
                "%23 for # and %25 for %"
            )

    return check


def _admin_path(value: str) -> None:
    if re.fullmatch(r"([A-Za-z0-9-]+/)+", value) is None:
        raise ValidationError("must be letters, digits, - and /, without a / in front and with one at the end")
    if value.partition("/")[0] in TAKEN_PATHS:
        raise ValidationError(f"must not begin with an address of the shop's own: {', '.join(TAKEN_PATHS)}")


def _networks(value: Iterable[str]) -> None:
    for text in value:
        try:
            ip_network(text.strip())
        except ValueError:
            raise ValidationError("must be addresses or networks such as 10.0.0.0/8, without host bits") from None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def given(name: str) -> str | None:
    """What the environment says by `name`, or in the file that `<name>_FILE` names; None when neither is set.

    The line end after a file's text is not part of it.

    Raises:
        ConfigError: both are set, or the file can't be read.
    """
    value, path = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if not path:
        return value
    if value:
        raise ConfigError(f"{name} and {name}_FILE are both set; unset one of them")
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(f"{name}_FILE: {path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}_FILE: {path} is not text") from error


class _Environment(FileAwareEnv):
    """Environs' reader of files quotes none of what `given` refuses beside the other errors, and keeps line ends."""

    def _get_value(self, env_key: str, default: Any) -> Any:
        try:
            value = given(env_key)
        except ConfigError as error:
            self._errors[env_key].append(str(error))
            return default
        return self._environ.get(env_key, default) if value is None else value


def read_config() -> Config:
    """Read the environment once.

    Raises:
        ConfigError: a variable is malformed, or `SECRET_KEY` is missing.
    """
    env = _Environment(eager=False)
    data_dir = env.path("FLASHDROP_DATA_DIR", BASE_DIR / ".flashdrop")
    if data_dir is not None and (data_dir / SHOP_ENV).is_file():
        env.read_env(str(data_dir / SHOP_ENV), recurse=False)
    positive = validate.Range(min=1)
    config = Config(
        secret_key=env.str("SECRET_KEY", validate=_text),
        secret_key_fallbacks=tuple(filter(None, env.list("SECRET_KEY_FALLBACKS", [""], subcast=str) or ())),
        shopper_id_key=env.str("SHOPPER_ID_KEY", ""),
        debug=env.bool("DEBUG", False),
        allowed_hosts=tuple(
            host.strip()
            for host in env.list("ALLOWED_HOSTS", ["127.0.0.1", "localhost", "[::1]"]) or ()
            if host.strip()
        ),
        host=env.str("HOST", "127.0.0.1"),
        port=env.int("PORT", 8000, validate=validate.Range(min=1, max=65535)),
        web_workers=env.int("WEB_WORKERS", 2, validate=validate.Range(min=1, max=256)),
        worker_metrics_port=env.int("WORKER_METRICS_PORT", 0, validate=validate.Range(min=0, max=65535)),
        redis_url=env.str(
            "REDIS_URL",
            "redis://127.0.0.1:6379/0",
            validate=_address("redis", "rediss", "unix", "redis+sentinel", "redis+cluster"),
        ),
        mongodb_url=env.str(
            "MONGODB_URL",
            "mongodb://127.0.0.1:27017/flashdrop?replicaSet=rs0",
            validate=_address("mongodb", "mongodb+srv"),
        ),
        database_url=env.str(
            "DATABASE_URL", f"sqlite:///{data_dir}/db.sqlite3", validate=_address("sqlite", "postgres", "postgresql")
        ),
        rate_limiter_enabled=env.bool("ENABLE_GLOBAL_RATE_LIMITER", False),
        rate_limit_max=env.int("RATE_LIMIT_MAX", 100, validate=positive),
        rate_limit_window_seconds=env.int("RATE_LIMIT_WINDOW_SECONDS", 60, validate=positive),
        trusted_proxy_count=env.int("TRUSTED_PROXY_COUNT", 0, validate=validate.Range(min=0, max=10)),
        trusted_proxies=tuple(
            ip_network(text.strip())
            for text in env.list("TRUSTED_PROXIES", list(LOOPBACK), validate=_networks) or LOOPBACK
        ),
        trust_user_id_header=env.bool("TRUST_USER_ID_HEADER", False),
        sockets_max=env.int("SOCKETS_MAX", 8000, validate=positive),
        sockets_per_address=env.int("SOCKETS_PER_ADDRESS", 1000, validate=positive),
        https_only=env.bool("HTTPS_ONLY", False),
        hsts_seconds=env.int("HSTS_SECONDS", 31_536_000, validate=validate.Range(min=0)),
        admin_path=env.str("ADMIN_PATH", "admin/", validate=_admin_path),
        log_level=env.str("LOG_LEVEL", "INFO", validate=validate.OneOf(["DEBUG", "INFO", "WARNING", "ERROR"])),
        log_format=env.str("LOG_FORMAT", "auto", validate=validate.OneOf(["auto", "line", "json"])),
        data_dir=data_dir,
        demo_sku=env.str("DEMO_SKU", "demo", validate=validate.Regexp(r"^[a-z0-9][a-z0-9-]{0,63}\Z")),
        demo_stock=env.int("DEMO_STOCK", 100, validate=positive),
        demo_opens_in_seconds=env.int("DEMO_OPENS_IN_SECONDS", 30, validate=validate.Range(min=0)),
        demo_lasts_seconds=env.int("DEMO_LASTS_SECONDS", 3600, validate=positive),
    )
    try:
        env.seal()
    except EnvError as error:
        raise ConfigError(
            f"The environment can't be used: {error}. .env.example lists every variable; "
            "`make run` writes the ones a local shop needs by itself."
        ) from error
    if config.https_only and not config.trusted_proxy_count:
        raise ConfigError(
            "HTTPS_ONLY needs TRUSTED_PROXY_COUNT, at least 1: `serve` itself speaks plain HTTP, so without a proxy "
            "that ends TLS every page would lead to itself."
        )
    trusting = "TRUST_USER_ID_HEADER" if config.trust_user_id_header else "TRUSTED_PROXY_COUNT"
    if (config.trust_user_id_header or config.trusted_proxy_count) and not (
        given("TRUSTED_PROXIES") or _is_loopback(config.host)
    ):
        raise ConfigError(
            f"{trusting} needs TRUSTED_PROXIES where HOST is not loopback: the addresses or networks that your proxies "
            "connect from, such as 10.0.0.0/8. The headers of a proxy are believed from there, and from nobody else."
        )
    return config


config = read_config()
