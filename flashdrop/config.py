"""The one place that reads the environment.

Every setting the product has is a field of `Config`. A malformed or missing variable is named in the error, all of
them at once. A checkout that ran `make run` keeps the addresses of its own stores in `<data dir>/shop.env`; what the
environment says wins over that file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from environs import Env, EnvError, ValidationError, validate

from flashdrop import ConfigError

__all__ = ["BASE_DIR", "SHOP_ENV", "Config", "ConfigError", "config", "read_config"]

BASE_DIR = Path(__file__).resolve().parent.parent
SHOP_ENV = "shop.env"


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, typed. Units stand in the names."""

    secret_key: str
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
    trust_user_id_header: bool
    log_level: str
    data_dir: Path
    demo_sku: str
    demo_stock: int
    demo_opens_in_seconds: int
    demo_lasts_seconds: int


def _text(value: str) -> None:
    if not value.strip():
        raise ValidationError("must not be empty")


def _address(*schemes: str) -> validate.Regexp:
    listed = ", ".join(f"{scheme}://" for scheme in schemes)
    return validate.Regexp(rf"({'|'.join(map(re.escape, schemes))})://\S", error=f"must begin with one of {listed}")


def read_config() -> Config:
    """Read the environment once.

    Raises:
        ConfigError: a variable is malformed, or `SECRET_KEY` is missing.
    """
    env = Env(eager=False)
    data_dir = env.path("FLASHDROP_DATA_DIR", BASE_DIR / ".flashdrop")
    if data_dir is not None and (data_dir / SHOP_ENV).is_file():
        env.read_env(str(data_dir / SHOP_ENV), recurse=False)
    positive = validate.Range(min=1)
    config = Config(
        secret_key=env.str("SECRET_KEY", validate=_text),
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
        trust_user_id_header=env.bool("TRUST_USER_ID_HEADER", False),
        log_level=env.str("LOG_LEVEL", "INFO", validate=validate.OneOf(["DEBUG", "INFO", "WARNING", "ERROR"])),
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
    return config


config = read_config()
