"""Things to rank that read like real ones, for pages that people look at."""

from __future__ import annotations

import uuid

import pytest

from annotation.batching import compose_batch
from annotation.gold import KnownAnswer, compose_known
from annotation.importing import import_prompts
from annotation.models import Batch, Project, Response, Source, User

PROMPTS = (
    {
        "key": "rice",
        "tags": ["food"],
        "prompt": "My rice always comes out sticky and a bit burnt at the bottom. What am I doing wrong?",
    },
    {
        "key": "tides",
        "tags": ["science", "cited"],
        "prompt": "Why are there two high tides a day? Cite the passages.",
        "context": [
            {
                "id": "1",
                "title": "Tidal force",
                "url": "https://example.org/tides/force",
                "text": "The Moon pulls harder on the near side of the Earth than on its centre, and "
                "harder on the centre "
                "than on the far side. Relative to the centre, water is stretched both towards "
                "the Moon and away from it.",
            },
            {
                "id": "2",
                "title": "The tidal day",
                "text": "A tidal day lasts 24 hours and 50 minutes, since the Moon moves on while the "
                "Earth turns. Most "
                "coasts pass through both bulges in it.",
            },
        ],
    },
)
RESPONSES = {
    "rice": (
        "Two things, most likely: **too much starch** and **too much heat**.\n\n1. Rinse "
        "the rice until the water runs "
        "clear.\n2. Use 1.5 parts of water to 1 part of rice.\n3. Bring it to the boil, "
        "then put it on the *lowest* heat "
        "for 12 minutes with the lid on.\n4. Take it off and leave the lid on for another 10 minutes.",
        "Use less water and stir it often.",
        "Burnt rice means that the heat was too high once the water was gone. Sticky "
        "rice means that its starch was not "
        "rinsed off, or that it was stirred. Lower the heat after it boils, do not lift the lid, and let it rest.\n\n"
        "| rice | water | minutes |\n| --- | --- | --- |\n| white, long | 1.5 | 12 |\n| brown | 2 | 35 |",
        "I'm sorry to hear about your rice! Cooking rice can be tricky for many people. "
        "There are lots of kinds of rice in "
        "the world and each is cooked in another way. Have you thought of a rice cooker?",
    ),
    "tides": (
        "The Moon stretches the water **both ways**: towards itself and away from itself "
        "[1]. The Earth turns under the two "
        "bulges, so a coast meets both in a tidal day of 24 h 50 min [2].",
        "Because the Moon goes round the Earth twice a day.",
        "The pull of the Moon differs across the Earth, which makes two bulges [1].",
        "One tide is made by the Moon and the other one by the Sun [1][2].",
    ),
}
GUIDELINES = """Prefer, in this order:

1. what is **right**; an answer with a mistake that matters is below every answer without one,
2. what the person can *do* something with,
3. what is short.

Tie responses that you would be equally glad to get. For cited answers, check the passage behind each `[1]`.
"""


def fill(project: Project, *, overlap: int = 1, responses_per_task: int = 4) -> Batch:
    """Give the project ``PROMPTS`` with their ``RESPONSES``, and open a batch of tasks of so many responses."""
    project.guidelines = GUIDELINES
    project.save()
    import_prompts(project=project, rows=enumerate(PROMPTS, start=1))
    sources = [
        Source.objects.create(project=project, name=name, kind=Source.Kind.IMPORT)
        for name in ("zebrafinch-old", "zebrafinch-new")
    ]
    prompts = project.prompts.all()
    drawn_by = uuid.uuid4()
    Response.objects.bulk_create(
        Response(prompt=prompt, source=sources[number % 2], drawn_by=drawn_by, index=number // 2, text=text)
        for prompt in prompts
        for number, text in enumerate(RESPONSES[prompt.key])
    )
    return compose_batch(
        project=project,
        name="First tasks",
        prompts=prompts,
        sources=sources,
        responses_per_task=responses_per_task,
        overlap=overlap,
    ).batch


def many(monkeypatch: pytest.MonkeyPatch, responses: int, *, tasks: int = 1) -> None:
    """Make ``fill`` bring so many tasks, each with so many responses of some length."""
    keys = [f"question-{task}" for task in range(tasks)]
    texts = [text for of_prompt in RESPONSES.values() for text in of_prompt]
    monkeypatch.setitem(
        globals(), "PROMPTS", [{"key": key, "prompt": f"Why is that so? ({key})"} for key in keys]
    )
    monkeypatch.setitem(
        globals(),
        "RESPONSES",
        {key: [f"{texts[at % len(texts)]}\n\nNumber {at}." for at in range(responses)] for key in keys},
    )


KNOWN = (
    (
        "How long do eggs boil until they are hard?",
        (
            "**Ten minutes** in boiling water, then two in cold water.",
            "About ten minutes, I think, maybe more.",
            "Two minutes are enough.",
        ),
        "The guidelines put what is right first: two minutes leave them raw.",
    ),
    (
        "Can I freeze cooked rice?",
        (
            "Yes: cool it within an hour, freeze it flat, and heat it *once*, until it steams.",
            "Yes, you can.",
            "No, rice is poisonous once it was frozen.",
        ),
        "",
    ),
    (
        "What does baking soda do in dough?",
        (
            "With something sour it gives off carbon dioxide, whose bubbles lift the dough.",
            "It makes it rise.",
            "It sweetens it.",
        ),
        "",
    ),
)


def fill_known(project: Project, by: User, *, kind: str = "qualification", tasks: int = 2) -> Batch:
    """Release tasks whose answer is known: their responses are in ``KNOWN`` from the best to the worst."""
    source = Source.objects.get_or_create(project=project, name="Cooks", kind=Source.Kind.IMPORT)[0]
    import_prompts(project=project, rows=enumerate(({"prompt": prompt} for prompt, _, _ in KNOWN), start=1))
    answers = []
    for question, texts, note in KNOWN[:tasks]:
        prompt = project.prompts.get(messages__0__content=question)
        responses = [
            Response.objects.get_or_create(
                prompt=prompt, source=source, index=index, text=text, defaults={"drawn_by": uuid.uuid4()}
            )[0]
            for index, text in enumerate(texts)
        ]
        answers.append(KnownAnswer(prompt, responses, [[0], [1], [2]], note))
    return compose_known(
        project=project, name=f"{kind} {uuid.uuid4().hex[:4]}", kind=kind, overlap=50, by=by, answers=answers
    ).batch
