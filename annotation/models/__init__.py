"""People's nouns: who, what is asked, what is answered. Constraints stand here; workflow does not."""

from annotation.models.answers import AspectRating, Demonstration, Flag, Ranking, Review
from annotation.models.imports import Import, ImportedAnnotator
from annotation.models.material import Prompt, Response, Source
from annotation.models.people import ApiToken, Aspect, Membership, Project, User
from annotation.models.tasks import (
    CONTROL_SHARE,
    MAX_CONTROL_SHARE,
    MAX_OVERLAP,
    MAX_RESPONSES,
    MIN_RESPONSES,
    Assignment,
    Batch,
    Skip,
    Task,
    TaskResponse,
)

__all__ = [
    "CONTROL_SHARE",
    "MAX_CONTROL_SHARE",
    "MAX_OVERLAP",
    "MAX_RESPONSES",
    "MIN_RESPONSES",
    "ApiToken",
    "Aspect",
    "AspectRating",
    "Assignment",
    "Batch",
    "Demonstration",
    "Flag",
    "Import",
    "ImportedAnnotator",
    "Membership",
    "Project",
    "Prompt",
    "Ranking",
    "Response",
    "Review",
    "Skip",
    "Source",
    "Task",
    "TaskResponse",
    "User",
]
