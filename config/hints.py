"""Messages to workers. Each is only a hint that a row wants attention, so sending one may fail and never hangs."""

from __future__ import annotations

import logging

from celery import current_app

SEND_SECONDS = 3.0
"""A web request may wait that long for a broker that does not answer."""

logger = logging.getLogger(__name__)


def send_hint(task: str, *arguments: str | int, queue: str) -> bool:
    """Send the message that runs ``task`` on a worker of ``queue``; return whether the broker took it.

    The connection is this call's own: Celery's pooled producers try for ever to reach a broker that is gone.
    """
    bounds = {"max_retries": 1, "interval_start": 0, "connect_retries_timeout": SEND_SECONDS}
    if current_app.conf.broker_url.startswith("redis"):
        bounds |= {"socket_timeout": SEND_SECONDS, "socket_connect_timeout": SEND_SECONDS}
    try:
        with current_app.connection_for_write(
            connect_timeout=SEND_SECONDS,
            transport_options=dict(current_app.conf.broker_transport_options or {}, **bounds),
        ) as connection:
            current_app.send_task(task, args=arguments, queue=queue, connection=connection, retry=False)
    except Exception as error:  # every transport raises errors of its own; the caller needs none of them
        logger.warning("The broker did not take %s%s: %s. A later sweep sends it.", task, arguments, error)
        return False
    return True
