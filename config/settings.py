"""Settings of every Rankloop process, from environment variables alone (see ``config.environment``)."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from config import environment, logs

BASE_DIR = environment.ROOT
RANKLOOP_HOME = environment.home()
try:
    RANKLOOP_HOME.mkdir(parents=True, exist_ok=True)
except OSError as error:
    raise ImproperlyConfigured(
        f"RANKLOOP_HOME, {RANKLOOP_HOME}, cannot be made: {error.strerror}. Set it to a folder that you may write to."
    ) from error
RANKLOOP_DEFAULT_MODEL = environment.read("RANKLOOP_DEFAULT_MODEL")
RANKLOOP_SIGNUP = environment.read_switch("RANKLOOP_SIGNUP")
RANKLOOP_ANYONE_CREATES_PROJECTS = environment.read_switch("RANKLOOP_ANYONE_CREATES_PROJECTS")
RANKLOOP_ENDPOINTS = environment.read("RANKLOOP_ENDPOINTS")
RANKLOOP_UPLOAD_MIB = environment.read_upload_mib()
RANKLOOP_WEBHOOK_NETWORKS = environment.read_webhook_networks()
RANKLOOP_URL = environment.read_url()


def _secret_key() -> str:
    key = environment.read("RANKLOOP_SECRET_KEY")
    file = RANKLOOP_HOME / "secret_key"
    if not key and not file.exists():
        # Written whole and linked into place, so that processes that start together agree on one key.
        with tempfile.NamedTemporaryFile("w", dir=RANKLOOP_HOME, delete=False) as draft:
            draft.write(secrets.token_urlsafe(50))
        try:
            os.link(draft.name, file)
        except FileExistsError:
            pass  # another process was first
        finally:
            Path(draft.name).unlink()
    return key or file.read_text().strip()


def _database() -> dict[str, Any]:
    parts = environment.read_database()
    if not parts:
        raise ImproperlyConfigured(
            "DATABASE_URL is not set. `make run` and `manage.py` start the embedded PostgreSQL and set it; "
            "other commands need it in the environment."
        )
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.pop("dbname", "rankloop"),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        # A server that vanishes without a word is noticed before a run's lease (30 s) has run out.
        # Only cursors that ask for it prepare statements; Django's own bind in the client, which prepares nothing.
        "OPTIONS": {"connect_timeout": "10", "tcp_user_timeout": "15000", "prepare_threshold": 5} | parts,
        # Several suites may run on one server at a time; each has a database of its own.
        "TEST": {"NAME": f"test_rankloop_{os.getpid()}"},
    }


SECRET_KEY = _secret_key()
DEBUG = environment.read_switch("RANKLOOP_DEBUG")
ALLOWED_HOSTS = environment.read_hosts()
if RANKLOOP_URL:
    ALLOWED_HOSTS.append(urlsplit(RANKLOOP_URL).hostname or "")
if RANKLOOP_URL.startswith("https://"):
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    # TLS ends at a proxy in front, which must set X-Forwarded-Proto and drop the one that a client sends.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = False  # other hosts under this name are not ours to decide for
    SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
CSRF_TRUSTED_ORIGINS = [RANKLOOP_URL] if RANKLOOP_URL else []

INSTALLED_APPS = [
    "frontend",  # first: its templates stand before allauth's and Django's
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "csp",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.mfa",
    "annotation",
    "training",
    "alignment",
]

MIDDLEWARE = [
    "config.health.answer_health",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "config.uploads.limit_uploads",
    "config.addresses.refuse_unstorable",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "config" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "frontend.navigation.page",
            ]
        },
    }
]

FORM_RENDERER = "frontend.forms.Renderer"

DATABASES = {"default": _database()}
# Shared by all web processes, since the limits on asking and on logging in are counted in it.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "shared_cache",
        # A row for each caller and limit; far more than come in an hour.
        "OPTIONS": {"MAX_ENTRIES": 20_000},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "annotation.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_REDIRECT_URL = "/"
LOGIN_URL = "account_login"
# Both limits of requests, log-in's and the API's, must count the same address.
ALLAUTH_TRUSTED_PROXY_COUNT = RANKLOOP_PROXIES = environment.read_proxies()
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_ADAPTER = "frontend.accounts.AccountAdapter"
ACCOUNT_FORMS = {"login": "frontend.accounts.LoginForm"}

_mail = environment.read_mail()
EMAIL_BACKEND = _mail.backend
EMAIL_HOST, EMAIL_PORT = _mail.host, _mail.port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail.user, _mail.password
EMAIL_USE_SSL, EMAIL_USE_TLS = _mail.use_ssl, _mail.use_tls
EMAIL_TIMEOUT = 10  # seconds: one who asked for a link waits meanwhile
DEFAULT_FROM_EMAIL = SERVER_EMAIL = _mail.sender

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

STATIC_URL = "/static/"
# Served from where the packages hold them, so nothing is collected before a start.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
FILE_UPLOAD_TEMP_DIR = None
DATA_UPLOAD_MAX_MEMORY_SIZE = 20 * 2**20

X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "manifest-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "config.api_authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    # Each view brings its own; what forgets to is closed to everyone but the signed-in.
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["config.api_parsing.StorableJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "config.api_paging.Pages",
    "DEFAULT_FILTER_BACKENDS": [
        "annotation.api_filters.Filters",
        "annotation.api_filters.Ordering",
    ],
    "DEFAULT_THROTTLE_CLASSES": ["config.api_throttling.ByPurpose"],
    "NUM_PROXIES": RANKLOOP_PROXIES,
    "DEFAULT_SCHEMA_CLASS": "config.api_schema.EndpointSchema",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "config.api_problems.problem_of",
    # `?format=` is the exports' own.
    "URL_FORMAT_OVERRIDE": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
# How often one caller may ask, by what for: see config.api_throttling.
RANKLOOP_API_RATES = {
    "anonymous": "60/minute",
    "reading": "1200/minute",
    "ranking": "600/minute",
    "files": "120/minute",
    "importing": "30/minute",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Rankloop",
    "DESCRIPTION": (
        "People rank model outputs; models learn from the rankings; the new models' outputs come back to be ranked.\n\n"
        "Send `Authorization: Bearer rl_…` with a token, or use the session of the pages. "
        "Errors are RFC 9457 problem details."
    ),
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "PREPROCESSING_HOOKS": ["config.api_schema.without_trailing_slashes"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "config.api_schema.with_problems",
    ],
    "ENUM_NAME_OVERRIDES": {
        "MemberRole": "annotation.models.Membership.Role",
        "MessageRole": "annotation.api_prompts.MESSAGE_ROLES",
        "BatchKind": "annotation.models.Batch.Kind",
        "BatchState": "annotation.models.Batch.State",
        "AssignmentState": "annotation.models.Assignment.State",
        "FlagKind": "annotation.models.Flag.Kind",
        "SourceKind": "annotation.models.Source.Kind",
        **{f"{kind.title()}SourceKind": [kind] for kind in ("model", "endpoint", "import", "person")},
        "ImportState": "annotation.models.Import.State",
        "ImportForm": "annotation.api_imports.FORM_CHOICES",
        "JudgeKind": "alignment.models.Judge.Kind",
        "JudgeOrders": "alignment.models.Judge.Orders",
        "RewardJudgeKind": ["reward"],
        "RunKind": "training.models.Run.Kind",
        "RunState": "training.models.Run.State",
        "RoundState": "alignment.models.Round.State",
        "ModelVersionForm": "alignment.models.ModelVersion.Form",
        "ModelVersionState": "alignment.models.ModelVersion.State",
        "EventType": "alignment.models.Event.Type",
        "DeliveryState": "alignment.models.Delivery.State",
        "HubPushState": "alignment.models.HubPush.State",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {
        "deepLinking": True,
        "persistAuthorization": False,
        "displayRequestDuration": True,
    },
}

CELERY_BROKER_URL = environment.read_broker() or "filesystem://localhost"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# The default gives up after 100 tries, and with it the worker.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# The run's row is the truth and the message a hint, so messages are acknowledged early: a lost one is sent
# again by the sweep, and a late acknowledgement would only double work.
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# Tasks wait for child processes and for the database, so threads do. Of forked processes, one that is killed while it
# waits for a task takes the lock on the queue with it: with files as the broker nothing is carried out any more, and
# nobody notices, since the worker itself lives on.
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = {"training.tasks.supervise_run": {"queue": "accelerator"}}
CELERY_BEAT_SCHEDULE = {
    "sweep runs": {"task": "training.tasks.sweep_runs", "schedule": 10.0, "options": {"expires": 10}},
    "advance rounds": {
        "task": "alignment.tasks.advance_rounds",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "deliver to webhooks": {"task": "alignment.tasks.deliver", "schedule": 10.0, "options": {"expires": 10}},
    "record events": {"task": "alignment.tasks.record_events", "schedule": 30.0, "options": {"expires": 30}},
    "take in judgings": {
        "task": "alignment.tasks.take_in_judgings",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "resend pushes": {"task": "alignment.tasks.resend_pushes", "schedule": 60.0, "options": {"expires": 60}},
    "expire leases": {"task": "annotation.tasks.expire_leases", "schedule": 60.0, "options": {"expires": 60}},
    "sweep imports": {"task": "annotation.tasks.sweep_imports", "schedule": 10.0, "options": {"expires": 10}},
}
CELERY_BEAT_SCHEDULE_FILENAME = str(RANKLOOP_HOME / "celerybeat-schedule")
if CELERY_BROKER_URL.startswith("filesystem://"):
    _broker = RANKLOOP_HOME / "broker"
    for _name in ("messages", "control"):
        (_broker / _name).mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_broker / "messages"),
        "data_folder_out": str(_broker / "messages"),
        "control_folder": str(_broker / "control"),
    }

LOGGING = logs.configuration(environment.read_log_level())
