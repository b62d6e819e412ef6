"""Django's settings, all of them derived from `flashdrop.config`."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

import dj_database_url

from flashdrop import zone_rules
from flashdrop.config import BASE_DIR, config
from flashdrop.headers import ASKED_FROM_INSIDE, SECURITY_HEADERS
from flashdrop.large_forms import LARGEST
from flashdrop.logs import logging_settings

zone_rules.pin()

SECRET_KEY = config.secret_key
SECRET_KEY_FALLBACKS = list(config.secret_key_fallbacks)
DEBUG = config.debug
ALLOWED_HOSTS = list(config.allowed_hosts)

INSTALLED_APPS = [
    # First: it replaces runserver with one that speaks ASGI. Loading it is a quarter of `serve`'s start, which has no
    # use for it.
    *(["daphne"] if "runserver" in sys.argv else []),
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "django_htmx",
    "django_prometheus",
    "axes",
    "flashdrop",
    "sales",
    "orders",
]

# The back office's door. The hot views don't come through here (flashdrop/lean.py), unless another server or the test
# client brings them.
MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "flashdrop.request_id.RequestIdMiddleware",
    "flashdrop.headers.SecurityHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "flashdrop.readable.RefuseNul",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "flashdrop.large_forms.LargeFormsMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
    "sales.desk.away.DatabaseAway",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

# Who is not signed in is held to less: flashdrop/large_forms.py.
DATA_UPLOAD_MAX_MEMORY_SIZE = LARGEST

ROOT_URLCONF = "flashdrop.urls"
ADMIN_PATH = config.admin_path
ASGI_APPLICATION = "flashdrop.asgi.application"
APPEND_SLASH = True

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# A connection for each request of the back office, closed with it: under ASGI each request has a thread of its own, so
# none that is kept would ever be found again, and after a hundred of them PostgreSQL would refuse everybody.
DATABASES = {"default": dj_database_url.parse(config.database_url, conn_max_age=0, conn_health_checks=True)}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Write-ahead logging lets the admin read while a worker writes; IMMEDIATE avoids "database is locked" on upgrades.
    DATABASES["default"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL;"}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# Guessing a password: so many tries for a user name from one address, then a pause. Together, because by the name alone
# a stranger could lock a merchandiser out, and by the address alone one colleague the whole office.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_ON_SUCCESS = True
# Tries during the pause are refused unread: they neither lengthen it nor fill the table.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_CLIENT_IP_CALLABLE = "flashdrop.throttle.login_address"
AXES_LOCKOUT_CALLABLE = "flashdrop.throttle.locked_out"
# Kept out of its table and its log lines: people type passwords into the wrong field. flashdrop/throttle.py logs.
AXES_SENSITIVE_PARAMETERS = ["username", "csrfmiddlewaretoken"]
AXES_VERBOSE = False

# What shoppers may read; the back office speaks English. The names stand as their speakers write them.
LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("ar", "العربية")]
LANGUAGE_CODE = "en"
LOCALE_PATHS = [BASE_DIR / "flashdrop" / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
STATIC_ROOT = config.data_dir / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "flashdrop.bundles.BundleFinder",
]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

if config.trusted_proxy_count:
    # Our own proxy says whether a request came by TLS; without one the header is a stranger's claim.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
if config.https_only:
    # With the prefix a browser takes them from this very host and by TLS only.
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = config.https_only
SECURE_REDIRECT_EXEMPT = [f"^{path[1:]}$" for path in ASKED_FROM_INSIDE]
# `SecurityHeadersMiddleware` sends all of them; Django's own find theirs there, and add none.
X_FRAME_OPTIONS = SECURITY_HEADERS["X-Frame-Options"]
SECURE_REFERRER_POLICY = SECURITY_HEADERS["Referrer-Policy"]
SECURE_CROSS_ORIGIN_OPENER_POLICY = SECURITY_HEADERS["Cross-Origin-Opener-Policy"]
SECURE_HSTS_SECONDS = config.hsts_seconds if config.https_only else 0
SILENCED_SYSTEM_CHECKS = [
    # HSTS for all names below this one, and in the browsers' own lists: a promise for other people's hosts, which is
    # hardly ever taken back. Whoever owns the whole domain gives it at the proxy.
    "security.W005",
    "security.W021",
    # No HSTS at all: HSTS_SECONDS=0 is chosen by name, for the first days of a shop's TLS.
    *(["security.W004"] if config.https_only else []),
]
# The admin stays open for a working day; the shop has a cookie of its own (orders/identity.py).
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"

PROMETHEUS_METRICS_EXPORT_PORT = None

LOGGING = logging_settings(config.log_level, config.log_format)
