"""How often one caller may ask. Counts are in the cache that all web processes share; requests of the very same moment
may count as one."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle


class ByPurpose(SimpleRateThrottle):
    """A rate for each ``throttle_scope`` of a view (see ``RANKLOOP_API_RATES``), counted by user, or by address."""

    def __init__(self) -> None:
        """The rate depends on the view, which is known only in `allow_request`."""

    def allow_request(self, request: Request, view: Any) -> bool:
        signed_in = bool(request.user and request.user.is_authenticated)
        scope = getattr(view, "throttle_scope", None) or "reading"
        self.scope = scope if signed_in else "anonymous"
        self.rate = settings.RANKLOOP_API_RATES[self.scope]
        self.num_requests, self.duration = self.parse_rate(self.rate)
        return super().allow_request(request, view)

    def get_cache_key(self, request: Request, view: Any) -> str:
        caller = request.user.pk if self.scope != "anonymous" else self.get_ident(request)
        return self.cache_format % {"scope": self.scope, "ident": caller}
