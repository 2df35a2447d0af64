"""A project's webhooks: making them, what was delivered, and changing them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from alignment import webhooks as activities
from alignment.delivering import send_test
from alignment.models import Delivery, Webhook
from annotation.refusals import Refusal
from frontend.access import ProjectRequest, Role, project_page
from frontend.forms import refuse
from frontend.forms_webhooks import SAID, WebhookForm

A_PAGE = 25


@never_cache
@project_page(Role.MANAGER)
def webhooks(request: ProjectRequest) -> HttpResponse:
    """They are listed; a new one's secret is shown in the answer that makes it, and never again."""
    form = WebhookForm(request.POST or None, initial={"events": list(SAID)})
    made = None
    if request.method == "POST" and form.is_valid():
        try:
            made = activities.create_webhook(
                project=request.project, created_by=request.user, **form.cleaned_data
            )
        except Refusal as refusal:
            refuse(form, refusal)
        else:
            form = WebhookForm(initial={"events": list(SAID)})
    context = {"form": form, "made": made, "webhooks": request.project.webhooks.order_by("pk"), "said": SAID}
    return render(request, "webhooks/list.html", context, status=422 if form.errors else 200)


@project_page(Role.MANAGER)
def webhook(request: ProjectRequest, webhook_id: int) -> HttpResponse:
    shown = _webhook(request, webhook_id)
    given = {"name": shown.name, "url": shown.url, "events": shown.events}
    form = WebhookForm(request.POST or None, initial=given)
    if request.method == "POST" and form.is_valid():
        try:
            activities.change_webhook(shown, **form.cleaned_data)
        except Refusal as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, "Saved. What waits goes to the address that stands here now.")
            return redirect("webhook", request.project.slug, shown.pk)
    return _page(request, shown, form)


@never_cache
@require_POST
@project_page(Role.MANAGER)
def rotate(request: ProjectRequest, webhook_id: int) -> HttpResponse:
    """The new secret is shown in this answer, and never again."""
    try:
        shown = activities.rotate_secret(_webhook(request, webhook_id))
    except Refusal as refusal:
        messages.error(request, refusal.sentence)
        return redirect("webhooks", request.project.slug)
    given = {"name": shown.name, "url": shown.url, "events": shown.events}
    return _page(request, shown, WebhookForm(initial=given), made=shown)


@require_POST
@project_page(Role.MANAGER)
def change_webhook(request: ProjectRequest, webhook_id: str, change: str) -> HttpResponse:
    shown = _webhook(request, int(webhook_id))
    try:
        told = CHANGES[change](shown)
    except Refusal as refusal:
        messages.error(request, refusal.sentence)
    else:
        (messages.success if told.good else messages.error)(request, told.sentence)
    if change == "delete":
        return redirect("webhooks", request.project.slug)
    return redirect("webhook", request.project.slug, shown.pk)


@require_POST
@project_page(Role.MANAGER)
def resend(request: ProjectRequest, webhook_id: int, delivery_id: int) -> HttpResponse:
    shown = _webhook(request, webhook_id)
    try:
        activities.send_again(get_object_or_404(shown.deliveries, pk=delivery_id))
    except Refusal as refusal:
        messages.error(request, refusal.sentence)
        return redirect("webhooks", request.project.slug)
    messages.success(
        request,
        "It waits until the webhook is resumed." if shown.paused_at else "It is sent once more, in a moment.",
    )
    return redirect("webhook", request.project.slug, shown.pk)


@dataclass(frozen=True, slots=True)
class Told:
    """What a change came to, in a sentence, and whether it is good."""

    sentence: str
    good: bool = True


def _pause(webhook: Webhook) -> Told:
    activities.pause_webhook(webhook)
    return Told(f"{webhook.name} is paused; what happens meanwhile waits.")


def _resume(webhook: Webhook) -> Told:
    activities.resume_webhook(webhook)
    return Told(f"{webhook.name} is sent events again, what waited first.")


def _test(webhook: Webhook) -> Told:
    attempt = send_test(webhook)
    if attempt is None:
        return Told("The webhook was deleted at this moment.", good=False)
    if attempt.error:
        return Told(f"The test failed. {attempt.error}", good=False)
    return Told(f"It answered {attempt.status} in {attempt.seconds:.2f} seconds.")


def _delete(webhook: Webhook) -> Told:
    activities.delete_webhook(webhook)
    return Told(f"{webhook.name} is deleted.")


CHANGES: dict[str, Callable[[Webhook], Told]] = {
    "pause": _pause,
    "resume": _resume,
    "test": _test,
    "delete": _delete,
}


def _webhook(request: ProjectRequest, webhook_id: int) -> Webhook:
    return get_object_or_404(request.project.webhooks.select_related("project"), pk=webhook_id)


def _page(
    request: ProjectRequest, shown: Webhook, form: WebhookForm, *, made: Webhook | None = None
) -> HttpResponse:
    rows = shown.deliveries.select_related("event").prefetch_related("log").order_by("-pk")
    chosen = request.GET.get("state", "")
    if chosen in Delivery.State.values:
        rows = rows.filter(state=chosen)
    context = {
        "webhook": shown,
        "form": form,
        "made": made,
        "state": chosen,
        "states": Delivery.State.choices,
        "page": Paginator(rows, A_PAGE).get_page(request.GET.get("page")),
    }
    return render(request, "webhooks/webhook.html", context, status=422 if form.errors else 200)
