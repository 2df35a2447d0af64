"""Whether this worker is shutting down: known to all of its threads, though only the first gets the signal."""

from __future__ import annotations

import threading

WORKER_STOPS = threading.Event()
"""Set when the worker is asked to stop: runs stop at a checkpoint and are handed back, and none is begun."""
