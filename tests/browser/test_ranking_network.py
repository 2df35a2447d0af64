"""The ranking page when the network, the lease or the browser go away, and its way back to the answer before."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Page, Route, expect

from annotation.assigning import next_assignment
from annotation.batching import close_batch
from annotation.models import Assignment, Project, Ranking, Skip, User
from annotation.projects import add_member, create_project
from tests.browser.conftest import Visit
from tests.browser.ranking import Picture, Rank, number_of, sent, submitted, tiers_on_board

pytestmark = pytest.mark.browser
Begin = Callable[..., Page]
People = dict[str, User]


@pytest.fixture
def begin(rank: Rank) -> Begin:
    """Opens the ranking page and waits until it has the task after the shown one, of two."""

    def go(**options: object) -> Page:
        page = rank(**options)
        wait_for(lambda: Assignment.objects.filter(state="leased").count() == 2)
        # The place is taken; the page has it once its answer was read.
        page.wait_for_load_state("networkidle")
        return page

    return go


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < end, "it does not come to that"
        time.sleep(0.05)


def shown(page: Page) -> str:
    return page.locator("[data-workbench]").get_attribute("data-assignment")


def gone(page: Page, assignment: str) -> None:
    expect(page.locator(f"[data-assignment='{assignment}']")).to_have_count(0)


def press(page: Page, keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def log_in(page: Page, user: User) -> None:
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    url = re.match("https?://[^/]+", page.url).group()
    page.context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": url}])


# The task ahead


def test_the_next_task_is_there_at_once_while_the_answer_is_on_its_way(begin: Begin) -> None:
    page = begin()
    first = shown(page)
    held_up: list[Route] = []
    page.route("**/submit/", lambda route: held_up.append(route))
    press(page, "1234")

    page.keyboard.press("Enter")
    gone(page, first)
    expect(page.locator("[data-count]")).to_have_text("0 of 4 ranked")
    expect(page.locator("[data-progress]")).to_contain_text("1 done by you")
    assert not Ranking.objects.exists()

    wait_for(lambda: bool(held_up) or not page.wait_for_timeout(20))
    held_up[0].continue_()
    sent(page)
    assert str(Ranking.objects.get().assignment.public_id) == first
    expect(page.locator("[data-progress]")).to_have_text("1 done by you, 1 today")


def test_a_task_ahead_is_not_timed_before_it_is_shown(begin: Begin) -> None:
    page = begin()
    page.clock.install()
    page.reload()
    expect(page.locator("[data-workbench]")).to_be_visible()
    page.clock.run_for(40_000)
    press(page, "1234")
    submitted(page)
    page.clock.run_for(5_000)
    press(page, "1234")
    submitted(page)

    first, second = Ranking.objects.order_by("pk")
    assert 40 <= first.seconds < 50
    assert 5 <= second.seconds < 15


def test_time_in_a_hidden_tab_or_away_from_it_is_not_counted(begin: Begin) -> None:
    page = begin()
    page.clock.install()
    page.reload()
    expect(page.locator("[data-workbench]")).to_be_visible()
    page.clock.run_for(10_000)
    see = (
        "(state) => Object.defineProperty(document, 'visibilityState', { value: state, configurable: true })"
    )
    page.evaluate(see, "hidden")
    page.clock.run_for(600_000)
    page.evaluate(see, "visible")
    page.keyboard.press("ArrowDown")
    page.clock.run_for(600_000)  # nobody presses anything: a minute of it may have been reading
    press(page, "1")
    press(page, "1234")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    sent(page)

    assert 70 <= Ranking.objects.get().seconds < 85


def test_a_task_ahead_that_went_to_somebody_else_gives_way_before_anything_is_done_of_it(
    begin: Begin, project: Project, people: People
) -> None:
    page = begin()
    first = shown(page)
    ahead = Assignment.objects.filter(state="leased").exclude(public_id=first).get()
    Assignment.objects.filter(pk=ahead.pk).update(leased_until=timezone.now() - timedelta(minutes=1))
    taken = next_assignment(annotator=people["reviewer"], project=project)
    assert taken == ahead

    page.clock.install()
    page.clock.fast_forward(60_000)  # long enough ago that the page asks whether it is still theirs
    press(page, "1234")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name="Nothing is left for you right now")).to_be_visible()
    sent(page)
    assert str(Ranking.objects.get().assignment.public_id) == first


def test_a_task_ahead_whose_time_ran_out_is_asked_for_before_it_is_shown(begin: Begin) -> None:
    page = begin()
    first = shown(page)
    page.clock.install()
    page.clock.fast_forward(45 * 60_000)
    with page.expect_response("**/renew/") as renewed:
        press(page, "1234")
        page.keyboard.press("Enter")
    gone(page, first)

    assert f"/{shown(page)}/renew/" in renewed.value.url or f"/{first}/renew/" in renewed.value.url
    sent(page)
    assert Assignment.objects.get(public_id=shown(page)).leased_until > timezone.now()


def test_who_leaves_gives_the_task_ahead_back_and_keeps_the_present_one(
    begin: Begin, project: Project
) -> None:
    page = begin()
    first = shown(page)

    page.goto(f"/projects/{project.slug}/")

    wait_for(lambda: Assignment.objects.filter(state="leased").count() == 1)
    assert str(Assignment.objects.get(state="leased").public_id) == first


def test_a_task_is_given_back_and_what_was_done_of_it_stays_in_the_browser(
    begin: Begin, project: Project
) -> None:
    page = begin()
    page.keyboard.press("2")

    page.get_by_role("button", name="Give back").click()

    expect(page.get_by_text("Given back")).to_be_visible()
    assert not Assignment.objects.filter(state="leased").exists(), "the one ahead neither"
    page.goto(f"/projects/{project.slug}/rank/")
    assert tiers_on_board(page) == [["A"]]


# Sending


def test_a_double_enter_is_one_ranking(begin: Begin) -> None:
    page = begin()
    first = shown(page)
    page.route("**/submit/", lambda route: (page.wait_for_timeout(300), route.continue_()))
    press(page, "1234")

    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    gone(page, first)
    page.keyboard.press("Enter")

    sent(page)
    assert Ranking.objects.count() == 1


def test_without_a_network_one_goes_on_and_each_answer_is_sent_once(begin: Begin, picture: Picture) -> None:
    page = begin()
    first = shown(page)
    page.context.set_offline(True)
    press(page, "1123")
    page.keyboard.press("Enter")
    gone(page, first)
    expect(page.get_by_text("1 answer waits to be sent")).to_be_visible()
    picture(page, "rank-offline")
    expect(page.get_by_role("alert")).to_have_count(0)

    press(page, "1234")
    page.keyboard.press("Enter")
    told = page.get_by_role("alert")
    expect(told).to_contain_text("No connection to the server. Your answers are kept in this browser")
    expect(told).to_contain_text("No other task is here until then.")
    expect(page.get_by_text("2 answers wait to be sent")).to_be_visible()
    picture(page, "rank-offline-nothing-left")
    assert not Ranking.objects.exists()
    page.context.set_offline(False)

    expect(page.get_by_text("You have ranked 2 tasks")).to_be_visible()
    assert Ranking.objects.count() == 2
    assert str(Ranking.objects.first().assignment.public_id) == first


def test_a_server_that_fails_each_time_is_told_from_no_connection_and_asked_again_by_hand(
    begin: Begin, picture: Picture
) -> None:
    page = begin()
    press(page, "1234")
    submitted(page)
    asked = []
    page.route("**/submit/", lambda route: (asked.append(route), route.fulfill(status=500, body="fault")))
    press(page, "1123")

    page.keyboard.press("Enter")
    for _ in range(3):
        page.get_by_role("alert").get_by_role("button", name="Send now").click()
    told = page.get_by_role("alert")
    expect(told).to_contain_text("kept in this browser. Try again in a few minutes")
    expect(told).not_to_contain_text("No connection")
    assert tiers_on_board(page) == [["A", "B"], ["C"], ["D"]]
    picture(page, "rank-failing")
    assert len(asked) == 4, "it goes on asking by itself"

    page.unroute("**/submit/")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="Nothing is left for you right now")).to_be_visible()
    assert Ranking.objects.count() == 2


def test_a_server_that_fails_is_told_too_where_one_can_go_on(begin: Begin) -> None:
    page = begin()
    first = shown(page)
    asked = []
    page.route("**/submit/", lambda route: (asked.append(route), route.fulfill(status=500, body="fault")))
    press(page, "1234")
    page.keyboard.press("Enter")
    gone(page, first)
    for times in range(1, 4):
        wait_for(lambda times=times: len(asked) == times or not page.wait_for_timeout(20))
        page.get_by_role("button", name="Send now").click()

    expect(page.get_by_role("alert")).to_contain_text("The server fails at this each time (error 500)")
    press(page, "12")
    assert tiers_on_board(page) == [["A"], ["B"]]
    page.unroute("**/submit/")
    page.get_by_role("button", name="Try again").click()
    sent(page)
    assert str(Ranking.objects.get().assignment.public_id) == first


def test_an_answer_whose_receipt_was_lost_is_not_taken_twice(begin: Begin) -> None:
    page = begin()
    lost = []

    def swallow(route: Route) -> None:
        if lost:
            route.continue_()
        else:
            lost.append(route.fetch())  # the server has it; the page never hears so
            route.abort()

    page.route("**/submit/", swallow)
    press(page, "1234")
    page.keyboard.press("Enter")

    page.get_by_role("button", name="Send now").click()
    sent(page)
    assert lost[0].ok
    assert Ranking.objects.count() == 1


def test_a_skip_whose_receipt_was_lost_is_not_refused(begin: Begin) -> None:
    page = begin()
    lost = []

    def swallow(route: Route) -> None:
        if lost:
            route.continue_()
        else:
            lost.append(route.fetch())
            route.abort()

    page.route("**/skip/", swallow)
    page.keyboard.press("s")
    page.keyboard.press("Enter")

    page.get_by_role("button", name="Send now").click()
    sent(page)
    expect(page.get_by_role("alert")).to_have_count(0)
    assert Skip.objects.count() == 1


def test_an_answer_left_behind_by_a_closed_tab_is_sent_by_any_page_of_the_project(
    begin: Begin, project: Project
) -> None:
    page = begin()
    page.route("**/submit/", lambda route: route.abort())
    press(page, "1234")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 answer waits to be sent")).to_be_visible()
    other = page.context.new_page()
    page.close()
    assert not Ranking.objects.exists()

    other.goto(f"/projects/{project.slug}/")

    expect(other.get_by_text("An answer that waited here was sent.")).to_be_visible()
    assert Ranking.objects.count() == 1


def test_an_answer_to_another_project_is_sent_and_brings_none_of_its_tasks(
    begin: Begin, project: Project, people: People
) -> None:
    page = begin()
    page.route("**/submit/", lambda route: route.abort())
    press(page, "1234")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 answer waits to be sent")).to_be_visible()
    page.unroute("**/submit/")
    other = create_project(name="Other answers", created_by=people["manager"])
    add_member(project=other, user=people["annotator"], role="annotator")

    page.goto(f"/projects/{other.slug}/rank/")

    sent(page)
    expect(page.get_by_role("heading", name="Nothing to rank yet")).to_be_visible()
    assert Ranking.objects.get().task.batch.project == project


def test_after_a_reload_an_answer_that_waits_is_sent_and_its_task_not_asked_again(begin: Begin) -> None:
    page = begin()
    first = shown(page)
    page.route("**/submit/", lambda route: route.abort())
    press(page, "1234")
    page.keyboard.press("Enter")
    gone(page, first)
    expect(page.get_by_text("1 answer waits to be sent")).to_be_visible()
    page.unroute("**/submit/")

    page.reload()

    gone(page, first)
    expect(page.locator("[data-count]")).to_have_text("0 of 4 ranked")
    assert str(Ranking.objects.get().assignment.public_id) == first


def test_of_two_tabs_one_sends(begin: Begin) -> None:
    page = begin()
    page.route("**/submit/", lambda route: route.abort())
    press(page, "1234")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 answer waits to be sent")).to_be_visible()
    other = page.context.new_page()
    other.route("**/submit/", lambda route: route.abort())
    other.goto(page.url)
    expect(other.get_by_text("1 answer waits to be sent")).to_be_visible()
    reached = []
    for tab in (page, other):
        tab.unroute("**/submit/")
        tab.on("request", lambda request: reached.append(request.url) if "/submit/" in request.url else None)

    for tab in (page, other):
        tab.evaluate("setTimeout(() => dispatchEvent(new Event('online')), 200)")

    sent(page)
    other.wait_for_timeout(500)
    assert len(reached) == 1
    assert Ranking.objects.count() == 1
    assert shown(other) == shown(page), "both go on with the same task"


def test_an_answer_survives_a_log_out_and_is_sent_after_the_next_log_in(begin: Begin, people: People) -> None:
    page = begin()
    page.context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
    press(page, "1234")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("You were logged out.")

    log_in(page, people["reviewer"])
    page.get_by_role("alert").get_by_role("button", name="Send now").click()
    expect(page.get_by_role("alert")).to_contain_text("logged in as reviewer now")
    assert not Ranking.objects.exists()

    log_in(page, people["annotator"])
    page.get_by_role("alert").get_by_role("button", name="Send now").click()
    sent(page)
    assert Ranking.objects.get().annotator == people["annotator"]


# Refusals


def skipped_too_late(page: Page, people: People, project: Project) -> Page:
    """Another page of the project, after the ranking page was closed with a skip in it that the server will refuse."""
    page.route("**/skip/", lambda route: route.abort())
    page.keyboard.press("s")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 answer waits to be sent")).to_be_visible()
    Assignment.objects.filter(state="leased").update(leased_until=timezone.now() - timedelta(minutes=1))
    other = page.context.new_page()
    page.close()
    for _ in range(2):
        place = next_assignment(annotator=people["reviewer"], project=project)
        Assignment.objects.filter(pk=place.pk).update(state="submitted", lease=None, leased_until=None)
    return other


def test_a_skip_that_was_left_behind_and_came_too_late_is_told_calmly(
    begin: Begin, project: Project, people: People
) -> None:
    other = skipped_too_late(begin(), people, project)

    other.goto(f"/projects/{project.slug}/")

    told = other.locator(
        ".toast", has_text="came too late: its time had run out, so it may come to you again."
    )
    expect(told).to_contain_text("Nothing is lost by that.")
    expect(told).to_have_class(re.compile("toast--info"))
    other.goto(f"/projects/{project.slug}/rank/")
    expect(other.locator("[data-refused] .notice")).to_have_count(0)
    assert not Skip.objects.exists()


def test_on_the_ranking_page_too_a_skip_that_came_too_late_is_told_calmly(
    begin: Begin, project: Project, people: People
) -> None:
    other = skipped_too_late(begin(), people, project)

    other.goto(f"/projects/{project.slug}/rank/")

    expect(other.locator(".toast--info", has_text="came too late")).to_be_visible()
    expect(other.get_by_role("alert")).to_have_count(0)
    expect(other.locator("[data-refused] .notice")).to_have_count(0)


def test_a_refused_skip_that_nobody_was_told_of_yet_stands_there_without_alarm(
    begin: Begin, people: People, picture: Picture
) -> None:
    page = begin()
    entry = {
        "key": "left", "at": 1, "kind": "skip", "title": "Why is the sky blue?", "project": "", "assignment": "gone",
        "tiers": [], "letters": {}, "body": {}, "refusal": {"code": "closed", "sentence": "This batch was closed."},
    }  # fmt: skip
    name = f"rankloop:outbox:{people['annotator'].pk}:left"
    page.evaluate("([name, entry]) => localStorage.setItem(name, JSON.stringify(entry))", [name, entry])

    page.reload()

    told = page.locator("[data-refused] .notice")
    expect(told).to_contain_text("Your skip of “Why is the sky blue?” came too late: its batch was closed.")
    expect(told).to_have_class(re.compile("notice--info"))
    expect(page.get_by_role("alert")).to_have_count(0)
    picture(page, "rank-skip-too-late")
    told.get_by_role("button", name="Dismiss").click()
    expect(told).to_have_count(0)


def test_an_answer_to_a_place_that_went_to_somebody_else_is_told_and_can_be_looked_at(
    begin: Begin, project: Project, people: People, picture: Picture
) -> None:
    page = begin()
    first = shown(page)
    press(page, "1223")
    page.locator(".why summary").click()
    page.get_by_label("Why you ranked them so").fill("C repeats B.")
    Assignment.objects.filter(state="leased").update(leased_until=timezone.now() - timedelta(minutes=1))
    for _ in range(2):
        place = next_assignment(annotator=people["reviewer"], project=project)
        Assignment.objects.filter(pk=place.pk).update(state="submitted", lease=None, leased_until=None)

    page.keyboard.press("Control+Enter")

    told = page.get_by_role("alert")
    expect(told).to_contain_text("was not taken. Your time for this task ran out")
    expect(told).to_contain_text("still in this browser")
    gone(page, first)
    picture(page, "rank-refused")
    told.get_by_role("button", name="Look at it").click()
    given = page.get_by_role("dialog", name="Your answer")
    expect(given).to_contain_text("C repeats B.")
    expect(given.locator("dd").nth(2)).to_contain_text(re.compile(r"B: .*C: ", re.DOTALL))
    picture(page, "rank-refused-answer")
    page.keyboard.press("Escape")
    told.get_by_role("button", name="Dismiss").click()
    expect(told).to_have_count(0)
    page.reload()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_refused_answer_stays_a_draft_should_its_task_come_back(
    begin: Begin, project: Project, people: People
) -> None:
    page = begin()
    first = Assignment.objects.get(public_id=shown(page))
    Assignment.objects.filter(pk=first.pk).update(leased_until=timezone.now() - timedelta(minutes=1))
    other = next_assignment(annotator=people["reviewer"], project=project)
    assert other == first
    press(page, "2134")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("was not taken")
    Assignment.objects.filter(pk=first.pk).update(
        state="open", annotator=None, lease=None, leased_until=None, shown_order=None
    )

    press(page, "1234")
    page.keyboard.press("Enter")
    expect(page.locator(f"[data-assignment='{first.public_id}']")).to_be_visible()
    assert tiers_on_board(page) == [["B"], ["A"], ["C"], ["D"]]


def test_when_the_batch_was_closed_the_next_task_comes_by_itself(begin: Begin, project: Project) -> None:
    page = begin()
    press(page, "1234")
    close_batch(project.batches.get())

    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name="Nothing to rank yet")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("This batch was closed")


def test_an_answer_that_breaks_a_new_rule_is_gone_back_to(begin: Begin, project: Project) -> None:
    page = begin()
    first = shown(page)
    project.allow_ties = False
    project.save()
    press(page, "1123")
    page.keyboard.press("Enter")
    gone(page, first)
    told = page.get_by_role("alert")
    expect(told).to_contain_text("this project asks for an order without ties")
    page.keyboard.press("2")
    second = shown(page)

    told.get_by_role("button", name="Go back to it").click()
    expect(page.locator(f"[data-assignment='{first}']")).to_be_visible()
    expect(told).to_have_count(0)
    page.locator("[data-response]").first.focus()
    page.keyboard.press("4")
    page.keyboard.press("Enter")

    expect(page.locator(f"[data-assignment='{second}']")).to_be_visible()
    assert tiers_on_board(page) == [["A"]], "what was done of it meanwhile is there"
    sent(page)
    assert str(Ranking.objects.get().assignment.public_id) == first


# Undoing


def test_the_last_answer_is_undone_changed_in_place_and_the_present_task_kept(
    begin: Begin, picture: Picture
) -> None:
    page = begin()
    first = shown(page)
    a, b, c, d = (number_of(page, letter) for letter in "ABCD")
    press(page, "1234")
    submitted(page)
    second = shown(page)
    page.keyboard.press("2")
    picture(page, "rank-may-undo")

    page.keyboard.press("u")
    expect(page.locator(f"[data-assignment='{first}']")).to_be_visible()
    assert tiers_on_board(page) == [["A"], ["B"], ["C"], ["D"]]
    picture(page, "rank-undone")
    page.locator("[data-response]").first.focus()
    page.keyboard.press("4")
    page.keyboard.press("Enter")

    expect(page.locator(f"[data-assignment='{second}']")).to_be_visible()
    assert tiers_on_board(page) == [["A"]]
    sent(page)
    assert [ranking.tiers for ranking in Ranking.objects.order_by("revision")] == [
        [[a], [b], [c], [d]],
        [[b], [c], [order for order in Ranking.objects.first().shown_order if order in (a, d)]],
    ]
    assert Assignment.objects.get(public_id=second).state == "leased"


def test_an_undone_answer_is_left_as_it_is(begin: Begin) -> None:
    page = begin()
    press(page, "1234")
    submitted(page)
    second = shown(page)
    page.get_by_role("button", name="Undo answer").click()
    expect(page.get_by_text("You ranked it")).to_be_visible()
    page.locator("[data-response]").first.focus()
    page.keyboard.press("4")

    page.get_by_role("link", name="Leave it as it is").click()
    expect(page.locator(f"[data-assignment='{second}']")).to_be_visible()

    assert Ranking.objects.count() == 1
    assert page.url.endswith("/rank/")


def test_an_answer_that_was_not_sent_yet_is_taken_out_again_and_is_one_ranking_in_the_end(
    begin: Begin,
) -> None:
    page = begin()
    first = shown(page)
    a, b, c, d = (number_of(page, letter) for letter in "ABCD")
    page.context.set_offline(True)
    press(page, "1234")
    page.keyboard.press("Enter")
    gone(page, first)

    page.keyboard.press("u")
    expect(page.locator(f"[data-assignment='{first}']")).to_be_visible()
    expect(page.get_by_text("waits to be sent")).to_have_count(0)
    assert tiers_on_board(page) == [["A"], ["B"], ["C"], ["D"]]
    page.locator("[data-response]").first.focus()
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    gone(page, first)
    page.context.set_offline(False)

    sent(page)
    ranking = Ranking.objects.get()
    assert (ranking.tiers, ranking.revision) == ([[b], [c], sorted([a, d], key=ranking.shown_order.index)], 1)


def test_an_undone_answer_that_had_arrived_all_the_same_is_amended(begin: Begin) -> None:
    page = begin()
    first = shown(page)
    lost = []
    page.route("**/submit/", lambda route: (lost.append(route.fetch()), route.abort()))
    press(page, "1234")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 answer waits to be sent")).to_be_visible()
    page.unroute("**/submit/")
    page.context.set_offline(True)

    page.keyboard.press("u")
    expect(page.locator(f"[data-assignment='{first}']")).to_be_visible()
    page.context.set_offline(False)
    page.locator("[data-response]").first.focus()
    page.keyboard.press("4")
    page.keyboard.press("Enter")

    sent(page)
    assert lost[0].ok
    before, after = Ranking.objects.order_by("revision")
    (a,), b, c, (d,) = before.tiers
    assert after.tiers == [b, c, sorted([a, d], key=before.shown_order.index)]
    expect(page.get_by_role("alert")).to_have_count(0)


def test_time_adds_up_over_an_undone_answer(begin: Begin) -> None:
    page = begin()
    page.clock.install()
    page.reload()
    expect(page.locator("[data-workbench]")).to_be_visible()
    page.clock.run_for(20_000)
    press(page, "1234")
    submitted(page)
    page.keyboard.press("u")
    expect(page.get_by_text("You ranked it")).to_be_visible()
    page.clock.run_for(10_000)
    page.keyboard.press("Enter")
    expect(page.get_by_text("You ranked it")).to_have_count(0)
    sent(page)

    before, after = Ranking.objects.order_by("revision")
    assert 20 <= before.seconds < 30
    assert 10 <= after.seconds - before.seconds < 20


def test_an_answer_whose_batch_was_closed_cannot_be_undone_and_the_page_says_so(
    begin: Begin, project: Project
) -> None:
    page = begin()
    press(page, "1234")
    submitted(page)
    second = shown(page)
    close_batch(project.batches.get())

    page.keyboard.press("u")

    expect(page.get_by_text("its rankings stay as they are")).to_be_visible()
    assert shown(page) == second


# Drafts and leases


def test_a_reload_keeps_what_was_done(begin: Begin) -> None:
    page = begin()
    page.keyboard.press("2")
    page.keyboard.press("1")
    page.locator(".why summary").click()
    page.get_by_label("Why you ranked them so").fill("B says how long.")

    page.reload()

    assert tiers_on_board(page) == [["B"], ["A"]]
    expect(page.get_by_label("Why you ranked them so")).to_have_value("B says how long.")
    expect(page.locator("[data-letter=C]")).to_be_focused()
    page.keyboard.press("=")
    assert tiers_on_board(page) == [["B", "C"], ["A"]], "tied with the one before it"


def test_a_browser_that_keeps_nothing_is_told_of_and_can_be_worked_in(begin: Begin) -> None:
    page = begin()
    page.add_init_script(
        "Storage.prototype.setItem = () => { throw new DOMException('', 'QuotaExceededError'); }"
    )
    page.reload()
    expect(page.get_by_text("This browser keeps nothing for this page")).to_be_visible()
    first = shown(page)

    press(page, "1234")
    page.keyboard.press("Enter")

    gone(page, first)
    wait_for(lambda: Ranking.objects.count() == 1 or bool(page.wait_for_timeout(20)))


def test_a_lease_is_renewed_while_somebody_works(rank: Rank, project: Project) -> None:
    rank().context.close()
    place = Assignment.objects.order_by("leased_at").filter(state="leased").first()
    nearly_over = timezone.now() + timedelta(minutes=project.lease_minutes / 3)
    Assignment.objects.filter(pk=place.pk).update(leased_until=nearly_over)
    page = rank()
    expect(page.locator("[data-clock]")).to_have_text("10 min left")

    with page.expect_response("**/renew/"):
        page.keyboard.press("ArrowDown")

    expect(page.locator("[data-clock]")).to_have_text("30 min left")
    place.refresh_from_db()
    assert place.leased_until > nearly_over


def test_what_is_changed_from_the_history_without_a_network_is_sent_once_it_is_back(
    begin: Begin, visit: Visit, project: Project
) -> None:
    page = begin()
    press(page, "1234")
    submitted(page)
    page.goto(f"/projects/{project.slug}/history/")
    page.get_by_role("link", name="Change").click()
    page.context.set_offline(True)
    page.locator("[data-response]").first.focus()
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("No connection to the server.")

    page.context.set_offline(False)

    expect(page.get_by_text("Your ranking is changed.")).to_be_visible()
    assert Ranking.objects.count() == 2
