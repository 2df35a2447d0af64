"""Log lines that say what they are about: ``with bind(run=run.pk): …`` adds ``run=…`` to every line inside.

Stdlib only, so that any room may use it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_bound: ContextVar[dict[str, Any]] = ContextVar("bound", default={})  # noqa: B039 - never mutated


@contextmanager
def bind(**context: Any) -> Iterator[None]:
    """Add ``context`` (``run``, ``project``, …) to the log lines of this thread or coroutine; None adds nothing."""
    token = _bound.set(
        {**_bound.get(), **{name: value for name, value in context.items() if value is not None}}
    )
    try:
        yield
    finally:
        _bound.reset(token)


class BoundContext(logging.Filter):
    """Gives a record the attribute ``context``: what is bound, as `` name=value …``, or ""."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.context = "".join(f" {name}={value}" for name, value in _bound.get().items())
        return True


class OneLineRefusals(logging.Filter):
    """Takes the traceback off Django's warnings of refused requests (403, 404, …): no code of ours went wrong."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.WARNING:
            record.exc_info = record.exc_text = None
        return True


def configuration(level: str) -> dict[str, Any]:
    """The ``dictConfig`` of every process: one handler, to the standard error, which the supervisor keeps."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"context": {"()": BoundContext}, "one line": {"()": OneLineRefusals}},
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s%(context)s: %(message)s"}},
        "handlers": {
            "console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["context"]}
        },
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            "django": {"handlers": ["console"], "level": level, "propagate": False},
            # Where records begin, since a logger's filters see only its own.
            "django.request": {"filters": ["one line"]},
            # A line for each tick of the scheduler, several times a minute, hides the lines that matter.
            "celery.app.trace": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
            "celery.worker.strategy": {"level": "WARNING"},
        },
    }
