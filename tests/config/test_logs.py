"""Log lines say what they are about."""

from __future__ import annotations

import io
import logging
import logging.config

from config.logs import bind, configuration


def lines_of(level: str = "INFO") -> tuple[logging.Logger, io.StringIO]:
    settings = configuration(level)
    stream = io.StringIO()
    settings["handlers"]["console"]["stream"] = stream
    settings["root"] = {"level": "NOTSET"}
    settings["loggers"] = {"tests.logs": {"handlers": ["console"], "level": level, "propagate": False}}
    logging.config.dictConfig({**settings, "incremental": False})
    return logging.getLogger("tests.logs"), stream


def test_a_line_carries_what_is_bound_around_it_and_nothing_after() -> None:
    logger, stream = lines_of()
    with bind(project=3), bind(run="abc", round=None):
        logger.info("inside")
    logger.info("outside")
    inside, outside = stream.getvalue().splitlines()
    assert inside.endswith("tests.logs project=3 run=abc: inside")
    assert outside.endswith("tests.logs: outside")


def test_an_exception_unbinds() -> None:
    logger, stream = lines_of()
    try:
        with bind(run="abc"):
            raise ValueError
    except ValueError:
        logger.info("after")
    assert "run=" not in stream.getvalue()
