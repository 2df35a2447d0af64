"""Real concurrency: one thread and one database connection a caller, all starting together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from django.db import connections

from annotation.refusals import Refusal


def all_at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run the calls in threads of their own. Returns each one's result, or the Refusal that it raised.

    Any other exception is raised here: a deadlock or a broken constraint is never a fair outcome.
    """
    start = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)
    failures: list[BaseException] = []

    def run(position: int, call: Callable[[], Any]) -> None:
        try:
            start.wait()
            results[position] = call()
        except Refusal as refusal:
            results[position] = refusal
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=item) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return results
