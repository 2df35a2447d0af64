"""What can go wrong, as exceptions whose text is the server's own sentence."""

from __future__ import annotations

from typing import TypedDict

import httpx

LINES_SHOWN = 10


class Fault(TypedDict, total=False):
    """One thing that is wrong with what was sent."""

    line: int
    """Of a file, from 1."""
    field: str
    detail: str


class RankloopError(Exception):
    """Whatever this client raises of its own."""


class Unreachable(RankloopError):
    """No answer came, after as many tries as were allowed."""


class Problem(RankloopError):
    """The server said no, and nothing was changed.

    Args:
        status: of the answer.
        code: for programs: ``invalid``, ``conflict``, ``lease_lost``, …
        sentence: for people: what, where, and what to do.
        faults: each field or line that is wrong.
    """

    def __init__(self, status: int, code: str, sentence: str, faults: list[Fault]) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.sentence = sentence
        self.faults = faults

    def __str__(self) -> str:
        told = [_told(fault) for fault in self.faults if fault.get("detail") != self.sentence]
        more = [f"and {len(told) - LINES_SHOWN} more"] if len(told) > LINES_SHOWN else []
        return "\n".join([self.sentence, *told[:LINES_SHOWN], *more])


class Invalid(Problem):
    """What was sent is malformed, or makes no sense where it is put."""


class NotAuthenticated(Problem):
    """The token is missing, unknown, expired or revoked."""


class NotAllowed(Problem):
    """The token's owner may not do that."""


class NotFound(Problem):
    """There is no such thing, or it is in a project that the token's owner is no member of."""


class Conflict(Problem):
    """It clashes with what is there: a lost lease, a closed batch, a name that is taken."""


class TooManyRequests(Problem):
    """The server asked to wait, for longer than this client does."""


class ServerFault(Problem):
    """The server failed."""


KINDS: dict[int, type[Problem]] = {
    400: Invalid,
    401: NotAuthenticated,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    429: TooManyRequests,
}


def problem_of(response: httpx.Response) -> Problem:
    """Return the exception that an answer is, whose body has been read."""
    kind = KINDS.get(response.status_code, ServerFault if response.status_code >= 500 else Problem)
    try:
        body = response.json()
        sentence, code = str(body["detail"]), str(body["type"]).rpartition(":")[2]
        faults = list(body.get("errors", []))
    except (ValueError, KeyError, TypeError, AttributeError):
        # A proxy's own page, or an address where no Rankloop is.
        sentence = f"{response.request.url} answered {response.status_code} {response.reason_phrase}."
        code, faults = "unknown", []
    return kind(response.status_code, code, sentence, faults)


def _told(fault: Fault) -> str:
    where = [f"line {fault['line']}"] if fault.get("line") else []
    where += [fault["field"]] if fault.get("field") else []
    return f"{', '.join(where)}: {fault.get('detail', '')}" if where else fault.get("detail", "")
