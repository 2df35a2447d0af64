"""A client of Rankloop's API: prompts in, tasks out, datasets down.

    from rankloop.client import Rankloop

    project = Rankloop("https://rankloop.example.org", token="rl_…").project("demo")
    project.import_prompts("prompts.jsonl")
    project.dataset().download("pairs.parquet", shape="pairs")

What the server refuses is a `Problem` with its sentence; requests that may be repeated are, when the server is busy or
the connection breaks.
"""

from rankloop.client.datasets import Dataset
from rankloop.client.problems import (
    Conflict,
    Invalid,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Problem,
    RankloopError,
    ServerFault,
    TooManyRequests,
    Unreachable,
)
from rankloop.client.projects import Project
from rankloop.client.service import Rankloop

__all__ = [
    "Conflict",
    "Dataset",
    "Invalid",
    "NotAllowed",
    "NotAuthenticated",
    "NotFound",
    "Problem",
    "Project",
    "Rankloop",
    "RankloopError",
    "ServerFault",
    "TooManyRequests",
    "Unreachable",
]
