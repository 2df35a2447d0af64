"""A person's own API tokens, for programs."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from annotation import tokens as api_tokens
from annotation.models import ApiToken
from annotation.refusals import Refusal
from frontend.access import LoggedInRequest
from frontend.forms import TokenForm, refuse


@login_required
@never_cache
def tokens(request: LoggedInRequest) -> HttpResponse:
    """They are listed by their first characters; a new one is shown in the answer that makes it, and never again."""
    form = TokenForm(request.POST or None)
    secret = ""
    if request.method == "POST" and form.is_valid():
        try:
            _, secret = api_tokens.issue_token(user=request.user, **form.cleaned_data)
        except Refusal as refusal:
            refuse(form, refusal)
        else:
            form = TokenForm()
    own = ApiToken.objects.filter(user=request.user).order_by("-pk")
    context = {"form": form, "secret": secret, "tokens": own}
    return render(request, "tokens.html", context, status=422 if form.errors else 200)


@login_required
@require_POST
def revoke(request: LoggedInRequest, token_id: int) -> HttpResponse:
    token = get_object_or_404(ApiToken, pk=token_id, user=request.user)
    api_tokens.revoke(token)
    messages.success(request, f"{token.name} no longer opens anything.")
    return redirect("tokens")
