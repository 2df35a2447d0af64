"""Pages of quality: who may open them, that each figure leads to its tasks, and that sources stay out of sight."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from annotation import remembering
from annotation.batching import close_batch
from annotation.models import Assignment, Batch, Flag, Project, Ranking, Review, Skip, Source, Task, User
from frontend.heat import heat_map
from frontend.quality_files import FILES
from frontend.time_scale import in_words
from tests.annotation.answered import give
from tests.frontend.quality import fill

pytestmark = pytest.mark.django_db

AsRole = Callable[[str], Client]
Compose = Callable[..., Batch]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, figures do not rest."""
    monkeypatch.setattr(remembering, "QUICK_SECONDS", 600.0)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    cache.clear()


@pytest.fixture
def batch(project: Project) -> Batch:
    return fill(project, tasks=60, ranked=0.8)


def address(name: str, batch: Batch, *more: object) -> str:
    return reverse(name, args=[batch.project.slug, batch.pk, *more])


def pages_of(batch: Batch) -> list[str]:
    slug = batch.project.slug
    return [
        *(
            address(f"batch_{name}", batch)
            for name in ("quality", "quality_live", "quality_figures", "tasks")
        ),
        address("batch_quality_summary", batch),
        *(address("batch_quality_file", batch, what) for what in FILES),
        address("batch_task", batch, batch.tasks.first().pk),
        *(
            reverse(name, args=[slug])
            for name in ("quality", "quality_live", "quality_figures", "quality_tasks")
        ),
        *(reverse("quality_file", args=[slug, what]) for what in FILES),
    ]


@pytest.mark.parametrize(
    ("role", "status"),
    [("manager", 200), ("reviewer", 200), ("annotator", 403), ("outsider", 404), ("", 302)],
)
def test_reviewers_and_managers_open_all_of_it_and_nobody_else(
    batch: Batch, as_role: AsRole, role: str, status: int
) -> None:
    client = as_role(role)
    assert {page: client.get(page).status_code for page in pages_of(batch)} == dict.fromkeys(
        pages_of(batch), status
    )


def test_a_batch_of_another_project_is_not_there(batch: Batch, as_role: AsRole) -> None:
    from annotation.projects import create_project

    other = create_project(name="Other", created_by=User.objects.get(username="manager"))
    task = batch.tasks.first()
    for name, more in (("batch_quality", ()), ("batch_tasks", ()), ("batch_task", (task.pk,))):
        wrong = reverse(name, args=[other.slug, batch.pk, *more])
        assert as_role("manager").get(wrong).status_code == 404


def test_the_page_of_a_batch_without_rankings_says_what_to_wait_for(
    as_role: AsRole, compose: Callable[..., Batch]
) -> None:
    batch = compose(2)
    for page in (address("batch_quality", batch), reverse("quality", args=[batch.project.slug])):
        shown = as_role("manager").get(page).content.decode()
        assert "Nothing has been ranked yet" in shown
    assert all(as_role("manager").get(page).status_code == 200 for page in pages_of(batch))


def test_every_figure_leads_to_its_tasks(batch: Batch, as_role: AsRole) -> None:
    client = as_role("reviewer")
    page = client.get(address("batch_quality", batch)).content.decode()
    tasks = address("batch_tasks", batch)
    jonas, kofi = "annotator=jonas", "annotator=kofi"
    old, new = Source.objects.order_by("pk")
    golden = batch.tasks.exclude(gold_tiers=None)
    unsafe = Flag.objects.filter(kind="unsafe").values("ranking__task").distinct().count()
    for query, expected in (
        ("twice=true", 48),
        (f"pattern=too-fast&{jonas}", Ranking.objects.filter(annotator__username="jonas").count()),
        (f"pattern=as-shown&{kofi}", Ranking.objects.filter(annotator__username="kofi").count()),
        (jonas, Ranking.objects.filter(annotator__username="jonas").count()),
        ("flag=any", Flag.objects.values("ranking__task").distinct().count()),
        ("skipped=true", 4),
        ("aspect=accuracy", 48),
        ("order=newest", 60),
        (f"{jonas}&twice=true", Ranking.objects.filter(annotator__username="jonas").count()),
        (f"{jonas}&gold=true", golden.filter(rankings__annotator__username="jonas").count()),
        (f"{jonas}&tied=true", tied("jonas")),
        ("tied=true", tied()),
        ("stretch=2", 24),
        (f"source={new.pk}&against={old.pk}", 60),
    ):
        link = f'"{tasks}?{query}"'.replace("&", "&amp;")
        assert link in page, query
        found = client.get(f"{tasks}?{query}")
        assert found.context["page"].paginator.count == expected, query
    days = re.findall(rf'"{tasks}\?(since=[^"]+)">([\d,]+)<', page)
    assert sum(int(count) for _, count in days) == 48 * 3
    for day, count in days:
        found = client.get(f"{tasks}?{day}".replace("&amp;", "&")).context["page"].paginator.count
        assert 0 < found <= int(count)
    assert client.get(f"{tasks}?flag=unsafe").context["page"].paginator.count == unsafe
    together = Task.objects.filter(rankings__annotator__username="jonas").filter(
        rankings__annotator__username="kofi"
    )
    both = client.get(f"{tasks}?{jonas}&other=kofi")
    assert both.context["page"].paginator.count == together.count()


def tied(annotator: str = "") -> int:
    """How many tasks have a ranking with a tie."""
    rankings = Ranking.objects.filter(annotator__username=annotator) if annotator else Ranking.objects.all()
    return len({each.task_id for each in rankings if any(len(tier) > 1 for tier in each.tiers)})


def test_what_a_figures_link_chose_is_kept_in_the_form_and_can_be_taken_away(
    batch: Batch, as_role: AsRole
) -> None:
    query = "annotator=jonas&tied=true&measures=true&stretch=2&since=2026-03-01T10:00:00Z"
    page = as_role("manager").get(f"{address('batch_tasks', batch)}?{query}").content.decode()
    for name, words in (
        ("tied", "with a tie"),
        ("measures", "that gold accuracy rests on"),
        ("stretch", "of the 2nd stretch of agreement"),
        ("since", "ranked from 2026-03-01 10:00"),
    ):
        assert re.search(rf'name="{name}" value="[^"]+" checked> {words}', page), name


def test_a_filter_that_is_not_understood_is_left_out_and_breaks_nothing(
    batch: Batch, as_role: AsRole
) -> None:
    client = as_role("reviewer")
    for query in (
        "flag=purple",
        "order=sideways",
        "source=x",
        "source=99999999999999999999",
        "page=x",
        "since=yesterday",
        "stretch=0",
        "against=x",
        "skipped=?",
    ):
        answer = client.get(f"{address('batch_tasks', batch)}?{query}")
        assert (answer.status_code, answer.context["page"].paginator.count) == (200, 60), query
    nobody = client.get(f"{address('batch_tasks', batch)}?annotator=nobody")
    assert "No task is like that" in nobody.content.decode()


def test_only_annotation_batches_are_in_the_projects_figures(
    batch: Batch, project: Project, as_role: AsRole
) -> None:
    page = as_role("manager").get(reverse("quality", args=[project.slug]))
    assert page.context["quality"].rankings == 48 * 3
    Batch.objects.filter(pk=batch.pk).update(kind=Batch.Kind.GOLD)
    cache.clear()
    page = as_role("manager").get(reverse("quality", args=[project.slug]))
    assert page.context["quality"].rankings == 0


def test_the_live_part_comes_only_when_something_was_ranked(batch: Batch, as_role: AsRole) -> None:
    client = as_role("manager")
    stamp = client.get(address("batch_quality", batch)).context["stamp"]
    live = address("batch_quality_live", batch)
    assert client.get(f"{live}?seen={stamp}&page={stamp}").status_code == 204
    task = batch.tasks.filter(rankings=None).first()
    give(task, User.objects.get(username="ada"), [[0], [1], [2], [3]])
    newer = client.get(f"{live}?seen={stamp}&page={stamp}")
    assert newer.status_code == 200 and "Show the newest" in newer.content.decode()
    assert f"page={stamp}" in newer.content.decode(), "the tables are still the old ones"


def test_a_skip_a_review_and_a_gold_ranking_wake_the_page_too(
    batch: Batch, project: Project, as_role: AsRole, compose: Callable[..., Batch]
) -> None:
    client, live = as_role("manager"), address("batch_quality_live", batch)
    golden = compose(1)
    Batch.objects.filter(pk=golden.pk).update(kind=Batch.Kind.GOLD)
    Task.objects.filter(batch=golden).update(gold_tiers=[[0], [1], [2], [3]])
    ada, task = User.objects.get(username="ada"), batch.tasks.filter(rankings=None).first()
    by = {"reviewer": User.objects.get(username="reviewer"), "verdict": "accepted"}
    for wake in (
        lambda: Skip.objects.create(task=task, annotator=ada),
        lambda: Review.objects.create(task=task, **by),
        lambda: give(golden.tasks.get(), ada, [[0], [1], [2], [3]]),
    ):
        seen = client.get(address("batch_quality", batch)).context["stamp"]
        assert client.get(f"{live}?seen={seen}&page={seen}").status_code == 204
        wake()
        newer = client.get(f"{live}?seen={seen}&page={seen}")
        assert newer.status_code == 200 and "Show the newest" in newer.content.decode()


def test_an_empty_page_fills_itself_with_the_first_ranking_or_skip(
    project: Project, as_role: AsRole, compose: Callable[..., Batch]
) -> None:
    client, batch = as_role("manager"), compose(2)
    for page in (address("batch_quality", batch), reverse("quality", args=[project.slug])):
        shown = client.get(page).content.decode()
        figures = re.search(r'hx-get="([^"]+figures/[^"]+)" hx-trigger="every', shown).group(1)
        assert client.get(figures).status_code == 204
        task = batch.tasks.filter(rankings=None).first()
        skip = Skip.objects.create(task=task, annotator=User.objects.get(username="reviewer"))
        skipped = client.get(figures).content.decode()
        assert "Nothing has been ranked yet" in skipped and "reviewer" in skipped
        skip.delete()
    give(batch.tasks.first(), User.objects.get(username="annotator"), [[0], [1], [2], [3]])
    assert "Krippendorff" in client.get(figures).content.decode()


def test_a_page_follows_its_batch_until_it_is_closed(batch: Batch, as_role: AsRole) -> None:
    client, page = as_role("manager"), address("batch_quality", batch)
    Assignment.objects.filter(batch=batch, state="open").update(state="skipped")
    assert 'hx-trigger="every' in client.get(page).content.decode(), "amendments and reviews may come"
    close_batch(batch)
    assert 'hx-trigger="every' not in client.get(page).content.decode()


def test_times_are_drawn_on_one_scale_beside_everybodys_median(batch: Batch, as_role: AsRole) -> None:
    page = as_role("manager").get(address("batch_quality", batch))
    quality, scale = page.context["quality"], page.context["times"]
    jonas = next(one for one in quality.annotators if one.annotator == "jonas")
    assert scale.at(jonas.times.p10) == 0 and scale.at(max(one.times.p90 for one in quality.annotators)) == 1
    words = re.findall(r'aria-label="(Median [^"]+)"', page.content.decode())
    assert len(words) == 12
    quarter, median, upper = (
        in_words(each) for each in (jonas.times.p25, jonas.times.median, jonas.times.p75)
    )
    told = f"Median {median}, half of them from {quarter} to {upper}"
    assert f"{told}; everybody’s median {in_words(quality.times.median)}" in words


def test_figures_of_very_many_rankings_follow_the_page(
    batch: Batch, as_role: AsRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembering, "QUICK_RANKINGS", 10)
    client, page = as_role("manager"), address("batch_quality", batch)
    first = client.get(page).content.decode()
    assert "Working out" in first and f'hx-get="{page}figures/"' in first
    assert f'hx-get="{page}summary/"' in client.get(address("batch", batch)).content.decode()
    assert "Annotators against each other" in client.get(f"{page}figures/").content.decode()
    assert "Annotators against each other" in client.get(page).content.decode(), "now they are known"


def test_tables_come_as_files_and_names_are_no_formulas(batch: Batch, as_role: AsRole) -> None:
    User.objects.filter(username="ada").update(username="+ada")
    sheets = {}
    for what in FILES:
        answer = as_role("manager").get(address("batch_quality_file", batch, what))
        assert (
            answer["Content-Type"].startswith("text/csv") and f"{what}.csv" in answer["Content-Disposition"]
        )
        sheets[what] = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert {row["annotator"] for row in sheets["annotators"]} >= {"'+ada", "jonas"}
    assert all(float(row["agreement"]) <= 1 for row in sheets["annotators"])
    assert all(float(row["p10_seconds"]) <= float(row["median_seconds"]) for row in sheets["annotators"])
    assert all(0 <= float(row["tied_share"]) <= 1 for row in sheets["annotators"])
    assert len(sheets["tasks"]) == 48 and 40 < len(sheets["pairs"]) <= 12 * 11 / 2
    assert sum(int(row["rankings"]) for row in sheets["progress"]) == 48 * 3
    assert {row["aspect"] for row in sheets["aspects"]} == {"accuracy", "style"}
    missing = as_role("manager").get(f"{address('batch_quality', batch)}secrets.csv")
    assert missing.status_code == 404


def test_a_task_page_keeps_sources_folded_while_the_task_waits_to_be_ranked(
    batch: Batch, as_role: AsRole
) -> None:
    waiting, done = batch.tasks.filter(rankings=None).first(), batch.tasks.exclude(rankings=None).first()
    client = as_role("reviewer")
    shown = client.get(address("batch_task", batch, waiting.pk)).content.decode()
    assert shown.count("Being ranked, blind. Show its source") == 4
    shown = client.get(address("batch_task", batch, done.pk)).content.decode()
    assert "Being ranked" not in shown and "House cook" in shown
    assert shown.count('<article class="card answer"') == 3 and "All together" in shown


@pytest.mark.parametrize(("step", "word"), [(1, "negligibly"), (2, "slightly"), (3, "clearly"), (4, "much")])
def test_a_task_page_says_in_words_how_much_better_a_tier_is(
    project: Project, people: dict[str, User], as_role: AsRole, compose: Compose, step: int, word: str
) -> None:
    task = compose().tasks.get()
    give(task, people["annotator"], [[2], [0, 3], [1]], strengths=[step, None])
    shown = as_role("reviewer").get(address("batch_task", task.batch, task.pk)).content.decode()
    assert f"over, {word} better than," in shown and f"&gt;<small>{word}</small>" in shown
    assert "/4" not in shown and shown.count("better than,") == 1


def test_the_table_of_annotators_shades_by_kappa(batch: Batch, as_role: AsRole) -> None:
    quality = as_role("manager").get(address("batch_quality", batch)).context["quality"]
    heat = heat_map(quality)
    assert heat is not None and len(heat.names) == 12 and heat.left_out == 0
    for name, cells in heat.rows:
        for cell in cells:
            if cell.other == name:
                assert cell.pair is None
            elif cell.level is not None:
                assert cell.pair.kappa is not None
                assert cell.level == -1 if cell.pair.kappa < 0 else cell.level <= 6 * cell.pair.kappa
