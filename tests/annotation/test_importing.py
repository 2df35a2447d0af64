"""Imports: all or nothing, every bad line told, the same things once."""

from __future__ import annotations

import io
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

import annotation
from annotation.importing import import_prompts, import_responses
from annotation.models import Project, Response, Source, User
from annotation.projects import create_project
from annotation.reading import read_rows
from annotation.refusals import Refusal
from annotation.rows import MOST_ERRORS_LISTED
from annotation.splitting import digest_of, split_of

pytestmark = pytest.mark.django_db

DEMO = Path(annotation.__file__).parent / "demo" / "prompts.jsonl"


def lines(*rows: Any) -> list[tuple[int, Any]]:
    return list(enumerate(rows, start=1))


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_the_demo_prompts_come_in_whole_and_only_once(project: Project) -> None:
    reports = []
    for _ in range(2):
        with DEMO.open("rb") as file:
            reports.append(import_prompts(project=project, rows=read_rows(file, DEMO.name)))
    assert [(report.created, report.existing) for report in reports] == [(200, 0), (0, 200)]
    assert reports[0].ignored_fields == {"category": 200}
    prompt = project.prompts.exclude(context=[]).first()
    assert prompt is not None
    assert set(prompt.context[0]) == {"id", "title", "text", "url"}


def test_plain_text_is_one_message_of_the_user(project: Project) -> None:
    import_prompts(project=project, rows=lines({"prompt": "Why?"}))
    assert project.prompts.get().messages == said("Why?")


def test_every_field_is_kept(project: Project) -> None:
    row = {
        "messages": [{"role": "system", "content": "Be brief."}, *said("Why?")],
        "context": [{"id": "1", "text": "Because.", "url": "https://example.org/"}],
        "key": "why-1",
        "tags": ["short"],
        "language": "en",
    }
    import_prompts(project=project, rows=lines(row))
    kept = project.prompts.get()
    assert kept.messages == row["messages"]
    assert kept.context == [{"id": "1", "title": "", "text": "Because.", "url": "https://example.org/"}]
    assert (kept.key, kept.tags, kept.language) == ("why-1", ["short"], "en")
    assert kept.digest == digest_of(row["messages"])


def test_a_prompt_is_in_one_split_for_ever_in_every_project_and_however_it_is_written(
    manager: User, project: Project
) -> None:
    texts = [f"Question {n}?" for n in range(300)]
    import_prompts(project=project, rows=lines(*({"prompt": text} for text in texts)))
    again = import_prompts(
        project=project, rows=lines(*({"prompt": f"  {text.upper()}\n"} for text in texts))
    )
    other = create_project(name="Other", created_by=manager)
    import_prompts(project=other, rows=lines(*({"prompt": text} for text in reversed(texts))))

    assert (again.created, again.existing) == (0, 300)
    splits = dict(project.prompts.values_list("digest", "split"))
    assert splits == dict(other.prompts.values_list("digest", "split"))
    assert splits == {digest: split_of(digest, 0.2) for digest in splits}
    assert set(splits.values()) == {"train", "held_out"}


def test_twins_within_a_file_count_as_existing(project: Project) -> None:
    report = import_prompts(project=project, rows=lines({"prompt": "Why?"}, {"prompt": "why? "}))
    assert (report.created, report.existing) == (1, 1)


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        ({}, "prompt", "is missing"),
        ({"prompt": ""}, "prompt", "is empty"),
        ({"prompt": " \n"}, "prompt", "is empty"),
        ({"prompt": 7}, "prompt", "must be text or a list of messages"),
        ({"prompt": []}, "prompt", "must be text or a list of messages"),
        ({"prompt": {"role": "user"}}, "prompt", "must be text or a list"),
        ({"messages": "Why?"}, "messages", "must be text or a list"),
        ({"prompt": "a", "messages": said("a")}, "messages", "not both"),
        ({"prompt": ["Why?"]}, "prompt[0]", "must be an object with role and content only"),
        ({"prompt": [{"role": "user", "content": "a", "name": "b"}]}, "prompt[0]", "only"),
        ({"prompt": [{"role": "human", "content": "a"}]}, "prompt[0].role", "system, user, assistant"),
        ({"prompt": [{"role": ["user"], "content": "a"}]}, "prompt[0].role", "must be one of"),
        ({"prompt": [{"role": "user", "content": None}]}, "prompt[0].content", "is missing"),
        ({"prompt": [{"role": "user", "content": 1.5}]}, "prompt[0].content", "must be text, not 1.5"),
        ({"prompt": [*said("a"), {"role": "assistant", "content": "b"}]}, "prompt", "end with the user"),
        ({"prompt": [*said("a"), {"role": "system", "content": "b"}, *said("c")]}, "prompt[1].role", "first"),
        ({"prompt": "a\x00b"}, "prompt", "NUL"),
        ({"prompt": "a\ud800b"}, "prompt", "surrogate pair at character 2"),
        ({"prompt": "a", "context": "b"}, "context", "must be a list of passages"),
        ({"prompt": "a", "context": ["b"]}, "context[0]", "must be an object"),
        ({"prompt": "a", "context": [{"id": "1"}]}, "context[0].text", "is missing"),
        ({"prompt": "a", "context": [{"id": 1, "text": "b"}]}, "context[0].id", "must be text, not 1"),
        ({"prompt": "a", "context": [{"id": "1", "text": "b", "x": "y"}]}, "context[0]", "only"),
        (
            {"prompt": "a", "context": [{"id": "1", "text": "b", "url": "javascript:alert(1)"}]},
            "context[0].url",
            "https://",
        ),
        ({"prompt": "a", "context": [{"id": "1", "text": "b"}] * 2}, "context", "one id"),
        ({"prompt": "a", "tags": "b"}, "tags", "must be a list of text"),
        ({"prompt": "a", "tags": [1]}, "tags[0]", "must be text"),
        ({"prompt": "a", "key": "k" * 201}, "key", "201 characters; 200"),
        ({"prompt": "a", "key": 12}, "key", "must be text"),
        ({"prompt": "a", "language": "x" * 21}, "language", "21 characters; 20"),
    ],
)
def test_a_bad_line_is_told_by_number_field_and_reason_and_nothing_is_imported(
    project: Project, row: dict[str, Any], field: str, reason: str
) -> None:
    with pytest.raises(Refusal) as refused:
        import_prompts(project=project, rows=lines({"prompt": "Good."}, row, {"prompt": "Also good."}))
    (error,) = refused.value.lines
    assert (error.line, error.field) == (2, field)
    assert reason in error.reason
    assert refused.value.sentence.startswith("1 of 3 lines is wrong, so no prompts were imported. Line 2: ")
    assert not project.prompts.exists()


def test_a_bad_line_after_thousands_of_good_ones_undoes_them_all(project: Project) -> None:
    rows = [{"prompt": f"Question {n}?"} for n in range(2500)] + [{"prompt": ""}]
    with pytest.raises(Refusal):
        import_prompts(project=project, rows=lines(*rows))
    assert not project.prompts.exists()


def test_unreadable_lines_and_bad_rows_are_listed_together(project: Project) -> None:
    data = b'{"prompt": "Good."}\n{"prompt"\n{"prompt": 1}\n{"prompt": "\xff"}\n'
    with pytest.raises(Refusal) as refused:
        import_prompts(project=project, rows=read_rows(io.BytesIO(data), "x.jsonl"))
    assert [error.line for error in refused.value.lines] == [2, 3, 4]


def test_the_list_of_bad_lines_has_an_end_and_says_so(project: Project) -> None:
    rows = [{"prompt": ""}] * (MOST_ERRORS_LISTED + 5)
    with pytest.raises(
        Refusal, match=r"1,005 of 1,005 lines are wrong.*The first 1,000 are listed"
    ) as refused:
        import_prompts(project=project, rows=lines(*rows))
    assert len(refused.value.lines) == MOST_ERRORS_LISTED


def test_an_empty_file_is_refused(project: Project) -> None:
    with pytest.raises(Refusal, match="holds no prompts"):
        import_prompts(project=project, rows=[])


@pytest.fixture
def source(project: Project) -> Source:
    import_prompts(
        project=project,
        rows=lines({"prompt": "Why?", "key": "why"}, {"prompt": "How?", "key": "how"}),
    )
    return Source.objects.create(project=project, name="archive", kind=Source.Kind.IMPORT)


def test_responses_find_their_prompt_by_key_digest_or_messages(project: Project, source: Source) -> None:
    rows = lines(
        {"key": "why", "text": "Because.", "tokens": 2},
        {"prompt": " WHY?", "response": "Why not?"},
        {"messages": said("How?"), "text": ""},
        {"digest": digest_of(said("How?")), "text": "Like so."},
    )
    drawn_by = uuid.uuid4()

    report = import_responses(project=project, source=source, rows=rows, drawn_by=drawn_by)

    assert (report.created, report.existing) == (4, 0)
    kept = Response.objects.filter(drawn_by=drawn_by, source=source).order_by("pk")
    assert list(kept.values_list("prompt__key", "index", "text", "tokens")) == [
        ("why", 0, "Because.", 2),
        ("why", 1, "Why not?", None),
        ("how", 0, "", None),
        ("how", 1, "Like so.", None),
    ]


def test_importing_the_same_responses_again_changes_nothing(project: Project, source: Source) -> None:
    rows = lines(
        {"key": "why", "text": "a"}, {"key": "why", "text": "b"}, {"key": "how", "text": "c", "index": 5}
    )
    drawn_by = uuid.uuid4()
    first, again = (
        import_responses(project=project, source=source, rows=rows, drawn_by=drawn_by) for _ in range(2)
    )
    assert (first.created, again.created, again.existing) == (3, 0, 3)


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        ({"key": "when", "text": "a"}, "key", "no prompt with the key 'when'"),
        ({"prompt": "When?", "text": "a"}, "digest", "no prompt with the digest"),
        ({"text": "a"}, "prompt", "name the prompt"),
        ({"key": "why"}, "text", "is missing"),
        ({"key": "why", "text": 1}, "text", "must be text"),
        ({"key": "why", "text": "a", "response": "a"}, "response", "not both"),
        ({"key": "why", "text": "a", "index": -1}, "index", "from 0 to"),
        ({"key": "why", "text": "a", "index": True}, "index", "whole number"),
        ({"key": "why", "text": "a", "tokens": 1.5}, "tokens", "whole number"),
        ({"key": "why", "text": "other", "index": 0}, "index", "another response with the index 0"),
    ],
)
def test_a_bad_response_is_told_and_nothing_is_imported(
    project: Project, source: Source, row: dict[str, Any], field: str, reason: str
) -> None:
    with pytest.raises(Refusal) as refused:
        import_responses(
            project=project,
            source=source,
            rows=lines({"key": "why", "text": "Because.", "index": 0}, row),
            drawn_by=uuid.uuid4(),
        )
    (error,) = refused.value.lines
    assert (error.line, error.field) == (2, field)
    assert reason in error.reason
    assert not Response.objects.exists()


def test_a_key_that_names_two_prompts_is_told(project: Project, source: Source) -> None:
    import_prompts(project=project, rows=lines({"prompt": "Why me?", "key": "why"}))
    with pytest.raises(Refusal, match="2 prompts of the project have the key 'why'"):
        import_responses(
            project=project, source=source, rows=lines({"key": "why", "text": "a"}), drawn_by=uuid.uuid4()
        )


def test_a_source_that_draws_for_itself_takes_no_imports(project: Project) -> None:
    model = Source.objects.create(project=project, name="model", kind=Source.Kind.MODEL)
    with pytest.raises(Refusal, match="takes no imports") as refused:
        import_responses(project=project, source=model, rows=[], drawn_by=uuid.uuid4())
    assert refused.value.field == "source"


def test_formats_agree(project: Project) -> None:
    prompts = [f"Is {n} a number?" for n in range(5)]
    files = {
        "x.jsonl": "\n".join(json.dumps({"prompt": prompt}) for prompt in prompts),
        "x.csv": "prompt\n" + "\n".join(prompts),
    }
    reports = [
        import_prompts(project=project, rows=read_rows(io.BytesIO(text.encode()), name))
        for name, text in files.items()
    ]
    assert [(report.created, report.existing) for report in reports] == [(5, 0), (0, 5)]


def test_a_file_of_other_columns_is_told_once_with_those_it_has_and_those_expected(project: Project) -> None:
    with pytest.raises(Refusal) as refused:
        import_prompts(
            project=project, rows=lines(*({"question": f"Why {n}?", "answer": "So."} for n in range(50)))
        )
    assert refused.value.lines == []
    assert refused.value.sentence == (
        "No line has a value for prompt or messages, so no prompts were imported. The columns that have values are "
        "'question', 'answer'; expected are prompt or messages, and there may be context, key, language, tags."
    )


def test_responses_in_other_columns_are_told_once_too(project: Project, source: Source) -> None:
    with pytest.raises(Refusal, match="No line has a value for text or response, so no responses") as refused:
        import_responses(
            project=project,
            source=source,
            rows=lines({"key": "why", "output": "a"}, {"key": "how", "output": "b"}),
            drawn_by=uuid.uuid4(),
        )
    assert refused.value.lines == []
    assert "expected are key or digest or prompt or messages, and text or response" in refused.value.sentence
