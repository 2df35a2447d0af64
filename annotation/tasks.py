"""What the scheduler asks of this room."""

from celery import shared_task

from annotation import assigning


@shared_task
def expire_leases() -> int:
    """Open the places whose lease has passed."""
    return assigning.expire_leases()
