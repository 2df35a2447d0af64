"""Hints to other rooms, sent on commit. They may be lost: what counts is in the rows."""

from django.dispatch import Signal

batch_completed = Signal()
"""A batch has no place left to rank. Sent with ``batch_id``."""

task_reviewed = Signal()
"""A reviewer gave a verdict on a task. Sent with its ``batch_id``."""
