"""A round of reinforcement learning in the browser: started in the form, watched to its end, its run looked at."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from alignment.models import Round
from annotation.models import Project, User
from tests.browser.conftest import Visit
from tests.frontend.rounds import open_kitchen, rank_all, work

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Picture = Callable[[Page, str], None]


def test_a_round_of_reinforcement_learning_is_started_in_the_page_and_watched_to_its_end(
    visit: Visit, project: Project, people: dict[str, User], picture: Picture
) -> None:
    open_kitchen(project)
    manager = people["manager"]
    manager.is_superuser = True  # so that an oracle may judge
    manager.save()
    page = visit(f"/projects/{project.slug}/rounds/new/", manager)
    page.get_by_label("Overlap").fill("1")
    page.get_by_text("Training settings").click()
    expect(page.get_by_label("Episodes")).to_be_hidden()
    page.get_by_label("Recipe").select_option("ppo")
    expect(page.get_by_label("Episodes")).to_be_visible()
    expect(page.get_by_label("β")).to_be_hidden()
    page.get_by_label("Episodes").fill("64")
    page.get_by_label("Watch for over-optimisation").check()
    page.get_by_label("Who decides").select_option("interval")
    page.get_by_label("Who compares new with old").select_option("oracle")
    page.get_by_label(re.compile("^Oracle")).fill("training.engine.oracles:vader")
    picture(page, "round-new-ppo")
    page.get_by_role("button", name="Start the round").click()
    expect(page.get_by_text("Round 1 is under way.")).to_be_visible()

    round = work(project.rounds.get())
    assert round.batch is not None
    expect(page.get_by_role("link", name="Rank tasks")).to_be_visible()  # the page notices by itself
    rank_all(round.batch)
    work(round)
    assert round.state == Round.State.PROMOTED
    expect(page.get_by_text("Promoted: the win rate is 78.0%")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("Win rate 78 %"))).to_be_visible()
    expect(page.get_by_role("heading", name="Beside best of 4")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="Reward model")).to_be_visible()
    expect(page.get_by_role("link", name=re.compile("Reward model training"))).to_have_count(2)
    expect(page.get_by_role("cell", name="Rewarding, to watch")).to_be_visible()
    picture(page, "round-ppo")

    page.get_by_role("link", name=re.compile("PPO training")).first.click()
    expect(page.locator("figure.chart canvas")).to_have_count(16)
    expect(page.get_by_text("An independent scorer fell while the reward rose")).to_be_visible()
    expect(page.get_by_text("Rollout 20, from the best score to the worst")).to_be_visible()
    scores = page.locator("#samples details[open] dl.scores div:first-child dd").all_inner_texts()
    assert len(scores) == 3 and [float(each) for each in scores] == sorted(map(float, scores), reverse=True)
    picture(page, "run-ppo")
