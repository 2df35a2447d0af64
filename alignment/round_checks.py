"""What a round is told beside its recipe's settings, checked before it starts."""

from __future__ import annotations

from alignment.archiving import require_in_use
from alignment.models import Round
from alignment.sources import draws_for_itself
from annotation.models import MAX_RESPONSES, MIN_RESPONSES, Project, Source, User
from annotation.refusals import Refusal
from training.engine.oracles import parse_oracle
from training.engine.refusal import Refused


def check_sources(project: Project, sources: list[Source]) -> None:
    """Refuse sources that a round of the project cannot draw from."""
    if not sources:
        raise Refusal("invalid", "A round needs at least one source of responses.", field="sources")
    for source in sources:
        if source.project_id != project.pk:
            raise Refusal("invalid", f"{source} is a source of another project.", field="sources")
        if source.kind == Source.Kind.MODEL:
            require_in_use(source.model_source.model_version, field="sources")
    if not any(draws_for_itself(source) or source.responses.exists() for source in sources):
        raise Refusal("invalid", "None of the sources has responses yet; import some first.", field="sources")


def check_numbers(*, responses_per_task: int, overlap: int, tasks: int | None, seed: int) -> None:
    """Refuse a number that is out of its range."""
    ranges = {
        "responses_per_task": (responses_per_task, MIN_RESPONSES, MAX_RESPONSES),
        "overlap": (overlap, 1, 100),
        "tasks": (tasks, 1, 2**31 - 1),
        "seed": (seed, 0, 2**32 - 1),
    }
    for name, (value, low, high) in ranges.items():
        if value is not None and not low <= value <= high:
            raise Refusal("invalid", f"`{name}` must be from {low} to {high}, not {value}.", field=name)


def check_judge(judge: str, oracle: str, decision: str, created_by: User | None) -> None:
    """Refuse a judge or a way to decide that there is not, and an oracle that this person may not name."""
    if judge not in Round.Judge.values:
        raise Refusal("invalid", f"The judge must be one of {', '.join(Round.Judge.values)}.", field="judge")
    if decision not in Round.Decision.values:
        raise Refusal(
            "invalid", f"The decision must be one of {', '.join(Round.Decision.values)}.", field="decision"
        )
    if (judge == Round.Judge.ORACLE) != bool(oracle):
        raise Refusal("invalid", "Name an oracle where an oracle judges, and only there.", field="oracle")
    if oracle and created_by is not None and not created_by.is_superuser:
        raise Refusal(
            "forbidden",
            "An oracle is code that this server runs; only an administrator may name one.",
            field="oracle",
        )
    if oracle:
        try:
            # Its form alone: the run imports it, on its own machine and with what that has installed.
            parse_oracle(oracle)
        except Refused as refused:
            raise Refusal("invalid", str(refused), field="oracle") from refused
