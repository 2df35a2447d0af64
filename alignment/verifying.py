"""Whether the files that rows name are there, and are what they were."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings

from alignment.datasets import content_hash, dataset_folder
from alignment.models import Dataset, ModelVersion
from training.engine.events import sha256_of


def verify_artifacts() -> Iterator[tuple[str, str]]:
    """Compare datasets' files and trained model versions' folders with their SHA-256.

    Yields:
        What was looked at, and what is wrong with it in a sentence, or "" where it is as it was.
    """
    for dataset in Dataset.objects.select_related("project").order_by("pk"):
        yield f"Dataset {dataset.version} of {dataset.project}", _trouble_of_dataset(dataset)
    trained = ModelVersion.objects.exclude(form=ModelVersion.Form.BASE).select_related("project")
    for version in trained.order_by("pk"):
        yield f"Model version {version.name} of {version.project}", _trouble_of_version(version)


def _trouble_of_dataset(dataset: Dataset) -> str:
    folder = dataset_folder(dataset)
    try:
        same = content_hash(folder, dataset.settings) == dataset.sha256
    except OSError as error:
        return _unreadable(error)
    return "" if same else f"The Parquet files in {folder} are no longer those that were frozen. {RESTORE}"


def _trouble_of_version(version: ModelVersion) -> str:
    path = settings.RANKLOOP_HOME / version.location
    try:
        if not path.exists():
            return f"{path} is gone. {RESTORE}"
        same = sha256_of(path) == version.sha256
    except OSError as error:
        return _unreadable(error)
    return "" if same else f"What lies in {path} is no longer what the run made. {RESTORE}"


def _unreadable(error: OSError) -> str:
    return f"{error.filename} cannot be read: {error.strerror}. {RESTORE}"


RESTORE = "Restore it from a backup of RANKLOOP_HOME."
