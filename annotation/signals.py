"""What this room announces to other rooms: hints, sent on commit, which may be lost, since what counts is in the rows;
and changes, sent within their transaction, for what must be written with them or not at all."""

from django.dispatch import Signal

batch_completed = Signal()
"""A hint: a batch has no place left to rank. Sent with ``batch_id``."""

batch_closing = Signal()
"""A change: a batch is closed. Sent with ``batch``; a receiver that raises undoes it."""

task_reviewed = Signal()
"""A hint: a reviewer gave a verdict on a task. Sent with its ``batch_id``."""
