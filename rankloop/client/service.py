"""Where everything begins: a server and a token."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any

from rankloop.client.projects import Project
from rankloop.client.transport import TRIES, Transport


class Rankloop:
    """A server, as the owner of an API token may use it. For one thread; each of several has its own.

    Args:
        url: of the server, as it stands in the browser: ``https://rankloop.example.org``.
        token: an API token, ``rl_…``, made under *API tokens*.
        timeout: seconds without a sign of life after which a request is given up, or sent again.
        tries: how often a request is sent in all, while the server is busy or away.
    """

    def __init__(self, url: str, token: str, *, timeout: float = 600.0, tries: int = TRIES) -> None:
        self._transport = Transport(url, token, timeout=timeout, tries=tries)

    def __enter__(self) -> Rankloop:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connections."""
        self._transport.close()

    def me(self) -> dict[str, Any]:
        """Return who the token's owner is, and their roles."""
        answer: dict[str, Any] = self._transport.get("me")
        return answer

    def projects(self, **filters: Any) -> Iterator[Project]:
        """Yield the projects that the token's owner may see."""
        return (Project(self._transport, record) for record in self._transport.pages("projects", filters))

    def project(self, slug: str) -> Project:
        """Return a project, by the name in its address.

        Raises:
            NotFound: there is none, or the token's owner is no member of it.
        """
        return Project(self._transport, self._transport.get(f"projects/{slug}"))

    def create_project(self, name: str, **fields: Any) -> Project:
        """Make a project; what it takes beside its name stands in the API's reference."""
        record = self._transport.call("POST", "projects", json={"name": name, **fields})
        return Project(self._transport, record)
