"""Data become tokens, and what cannot be learned from is refused by name and count before a model is loaded."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from tests.training.engine.conftest import read_lines
from training.engine.events import Events
from training.engine.examples import Example, Reading, read_examples
from training.engine.methods import ModelSpec
from training.engine.models import load_tokenizer
from training.engine.records import Ranking, write_rankings
from training.engine.refusal import Refused
from training.engine.spec import Spec
from training.engine.training_run import read_data

RANKING = Ranking(
    prompt=[{"role": "user", "content": "When does the train leave?"}],
    context=[{"id": "1", "title": "Timetable", "text": "It leaves at nine.", "url": ""}],
    responses=["At nine [1].", "Unranked.", "No idea.", "At ten.", "At ten."],
    tiers=[[3], [0, 2], [4]],
    scores=[-0.5, 0.0, -1.0, 1.5, -2.0],
    weight=2.0,
    meta={"aspect": "tone", "messages": []},
)
Read = Callable[..., Reading]


@pytest.fixture
def tokenizer(tiny_model: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(ModelSpec(base=str(tiny_model)))


@pytest.fixture
def make_spec(tiny_model: Path, tmp_path: Path) -> Callable[..., Spec]:
    """A run on rankings, or on lines of text as they are."""

    def make(
        data: list[Ranking] | str, *, kind: str = "dpo", model: Path = tiny_model, **method: Any
    ) -> Spec:
        path = tmp_path / "train.jsonl"
        if isinstance(data, str):
            path.write_text(data, encoding="utf-8")
        else:
            write_rankings(path, data)
        return Spec.from_record(
            {
                "kind": kind,
                "run": "r",
                "output": str(tmp_path / "run"),
                "model": {"base": str(model)},
                "data": {"train": str(path)},
                "method": method,
            }
        )

    return make


@pytest.fixture
def read(make_spec: Callable[..., Spec], tokenizer: PreTrainedTokenizerBase) -> Read:
    """What a run reads from its training data."""

    def read_(*args: Any, **options: Any) -> Reading:
        spec = make_spec(*args, **options)
        return read_data(spec, tokenizer, Events(spec.output))[0]

    return read_


def text_of(tokenizer: PreTrainedTokenizerBase, example: Example, response: int) -> str:
    return str(tokenizer.decode([*example.prompt, *example.responses[response]]))


def words(count: int, word: str = "good") -> str:
    return " ".join([word] * count)


def ranked(*responses: str, prompt: str = "How?", **change: Any) -> Ranking:
    """A ranking whose responses are given from the best to the worst."""
    return Ranking(
        prompt=[{"role": "user", "content": prompt}],
        responses=list(responses),
        tiers=[[n] for n in range(len(responses))],
        scores=[float(-n) for n in range(len(responses))],
        **change,
    )


def test_a_ranking_becomes_its_prompt_once_and_the_responses_that_are_compared(
    read: Read, tokenizer: PreTrainedTokenizerBase
) -> None:
    (example,) = read([RANKING]).examples

    # Response 1 is unranked; 3 and 4 are of one text, and compared with the others alone.
    assert len(example.responses) == 4
    found = [(c.better, c.worse, c.margin) for c in example.comparisons]
    assert found == [(2, 0, 2.0), (2, 1, 2.5), (0, 3, 1.5), (1, 3, 1.0)]
    assert example.tiers == ((2,), (0, 1)), "of the two equal ones the better placed one stands for both"
    assert (example.best, example.weight, example.aspect) == (2, 2.0, "tone")
    assert text_of(tokenizer, example, 2) == (
        "<|im_start|>user\nSources:\n\n[1] Timetable\nIt leaves at nine.\n\n"
        "Answer from these sources and cite them by number, like [1].\n\nWhen does the train leave?<|im_end|>\n"
        "<|im_start|>assistant\nAt ten.<|im_end|>\n"
    )
    assert str(tokenizer.decode(example.prompt)).endswith("assistant\n")
    assert str(tokenizer.decode(example.responses[2])) == "At ten.<|im_end|>\n", (
        "the end of a reply is learned"
    )


def test_the_tokens_are_those_of_the_template_whichever_response_follows(
    read: Read, tokenizer: PreTrainedTokenizerBase
) -> None:
    (example,) = read([ranked("A b c", " starts with a space", "\n\nor lines", "")]).examples

    for response, text in enumerate(("A b c", " starts with a space", "\n\nor lines", "")):
        conversation = [*example.messages, {"role": "assistant", "content": text}]
        whole = tokenizer.apply_chat_template(conversation, return_dict=False)
        assert [*example.prompt, *example.responses[response]] == whole


def test_system_prompt_and_context_are_shown_as_the_settings_say(
    read: Read, tokenizer: PreTrainedTokenizerBase
) -> None:
    (example,) = read([RANKING], system_prompt="Be kind.", give_context=False).examples

    assert text_of(tokenizer, example, 0).startswith(
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nWhen"
    )


def test_instruction_tuning_imitates_the_best_response(
    read: Read, tokenizer: PreTrainedTokenizerBase
) -> None:
    (example,) = read([RANKING], kind="sft").examples

    assert str(tokenizer.decode(example.responses[example.best])) == "At ten.<|im_end|>\n"
    assert len(example.responses) == 1
    assert example.comparisons == ()


def test_instruction_tuning_imitates_demonstrations_in_place_of_the_best_response(
    read: Read, tokenizer: PreTrainedTokenizerBase
) -> None:
    written = dataclasses.replace(RANKING, demonstrations=["At nine, sharp.", "Nine."])

    reading = read([RANKING, written], kind="sft")

    imitated = [str(tokenizer.decode(e.responses[e.best])) for e in reading.examples]
    assert imitated == [f"{text}<|im_end|>\n" for text in ("At ten.", "At nine, sharp.", "Nine.")]
    assert (reading.records, reading.silent) == (3, 0)
    assert {example.weight for example in reading.examples} == {2.0}
    (compared,) = read([written]).examples
    assert compared == read([RANKING]).examples[0], "they are no responses to compare"


def test_a_ranking_without_a_reply_to_imitate_says_nothing(read: Read) -> None:
    reading = read([RANKING, dataclasses.replace(RANKING, tiers=[])], kind="sft")
    assert (reading.records, reading.silent, len(reading.examples)) == (2, 1, 1)


def conversation(*contents: str, **fields: Any) -> str:
    messages = [
        {"role": ("user", "assistant")[number % 2], "content": content}
        for number, content in enumerate(contents)
    ]
    return json.dumps({"messages": messages, **fields}) + "\n"


def test_instruction_tuning_reads_conversations(read: Read, tokenizer: PreTrainedTokenizerBase) -> None:
    lines = (
        conversation("How?", "So.", "And then?", "Thus.", weight=0.5) + "\n" + conversation("What?", "This.")
    )

    reading = read(lines, kind="sft")

    first, second = reading.examples
    assert text_of(tokenizer, first, 0).endswith(
        "And then?<|im_end|>\n<|im_start|>assistant\nThus.<|im_end|>\n"
    )
    assert str(tokenizer.decode(first.responses[0])) == "Thus.<|im_end|>\n", (
        "the last reply alone is imitated"
    )
    assert (first.weight, second.weight) == (0.5, 1.0)
    assert reading.records == 2


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "is not JSON"),
        ("[]", "`messages` must end with the assistant's message"),
        ('{"messages": "none"}', "`messages` must end with the assistant's message"),
        (conversation("How?"), "`messages` must end with the assistant's message"),
        (
            '{"messages": [{"role": "assistant", "content": 3}]}',
            "`messages` must end with the assistant's message",
        ),
        (
            '{"messages": [{"role": "assistant", "content": "So."}]}',
            "`prompt` must be a list of at least one message",
        ),
        (conversation("How?", "So.", weight=-1), "`weight` must be a number of at least 0, not -1"),
        (conversation("How?", "So.", weight="1"), "`weight`"),
        (conversation("How?", "So.").replace('"user"', '"tool"'), "`prompt[0]`.role must be one of"),
    ],
)
def test_a_bad_conversation_is_refused_by_its_line(read: Read, line: str, complaint: str) -> None:
    with pytest.raises(Refused) as refusal:
        read(conversation("What?", "This.") + "\n" + line + "\n", kind="sft")

    assert "train.jsonl, line 3" in str(refusal.value)
    assert complaint in str(refusal.value)


def test_a_ranking_whose_notes_speak_of_messages_is_a_ranking_still(read: Read) -> None:
    assert "messages" in RANKING.meta

    assert len(read([RANKING], kind="sft").examples) == 1


TIED = dataclasses.replace(ranked("a", "b"), tiers=[[0, 1]])
UNRANKED = dataclasses.replace(ranked("a", "b"), tiers=[])


@pytest.mark.parametrize(
    ("data", "kind", "complaint"),
    [
        ([], "dpo", "train.jsonl holds no record"),
        ([], "sft", "train.jsonl holds no record"),
        ([TIED, UNRANKED, ranked("same", "same")], "dpo", "none of the 3 rankings in"),
        ([ranked("a", "b", weight=0.0)] * 2, "reward", "none of the 2 rankings in"),
        ([UNRANKED, ranked("a", weight=0.0)], "sft", "none of the 2 records in"),
        (conversation("How?", "So."), "dpo", "none of the 1 rankings in"),
    ],
    ids=["no record", "no record to imitate", "one tier", "no weight", "nothing to imitate", "no ranking"],
)
def test_data_that_say_nothing_are_refused_with_their_count(
    read: Read, data: Any, kind: str, complaint: str
) -> None:
    with pytest.raises(Refused) as refusal:
        read(data, kind=kind)

    assert complaint in str(refusal.value)
    assert "`data.train`" in str(refusal.value)


def test_what_says_nothing_beside_what_does_is_passed_over_and_counted(read: Read, tmp_path: Path) -> None:
    reading = read([TIED, ranked("a", "b"), UNRANKED])

    assert (len(reading.examples), reading.records, reading.silent) == (1, 3, 2)
    (told,) = [row["text"] for row in read_lines(tmp_path / "run" / "events.jsonl") if row["event"] == "log"]
    assert told.startswith("2 records of `data.train` say nothing")
    assert told.endswith("1 of 3 records are learned from.")


LONG = [
    ranked("short", "bad"),
    ranked(words(40), words(3), words(50, "bad")),
    ranked("a", "b", prompt=words(90)),
]
"""With at most 64 tokens: fits; two of three responses do not; not even the prompt does."""


def test_too_long_is_refused_by_count_and_with_the_longest(
    read: Read, tokenizer: PreTrainedTokenizerBase
) -> None:
    longest = max(
        len(
            tokenizer.apply_chat_template(
                [*r.prompt, {"role": "assistant", "content": text}], return_dict=False
            )
        )
        for r in LONG
        for text in r.responses
    )

    with pytest.raises(Refused) as refusal:
        read(LONG, max_length=64)

    assert "2 of the 3 records in" in str(refusal.value)
    assert f"the longest has {longest} tokens" in str(refusal.value)
    assert "`method.max_length` 64" in str(refusal.value)
    assert len(read(LONG, max_length=longest).examples) == 3, "exactly as long as allowed is not too long"


def test_too_long_can_be_cut(read: Read, tmp_path: Path) -> None:
    reading = read(LONG, max_length=64, too_long="cut")

    assert len(reading.examples) == 2
    cut = reading.examples[1]
    assert [len(cut.prompt) + len(response) for response in cut.responses].count(64) == 2
    assert len(cut.comparisons) == 3
    assert (reading.cut, reading.left_out) == (2, 2), "the two responses of the prompt that fills the length"
    (told,) = [row["text"] for row in read_lines(tmp_path / "run" / "events.jsonl") if row["event"] == "log"]
    assert "2 responses of `data.train` have their end cut off and 2 are left out" in told
    assert "2 of 3 records are learned from" in told


def test_responses_that_a_cut_makes_equal_are_not_compared(read: Read) -> None:
    start = words(60)
    reading = read([ranked(start + " yes", start + " no", "bad")], max_length=64, too_long="cut")

    (example,) = reading.examples
    assert [(c.better, c.worse) for c in example.comparisons] == [(0, 2), (1, 2)]


def test_too_long_can_be_left_out(read: Read) -> None:
    reading = read([*LONG, ranked(words(50), "kind", "bad")], max_length=64, too_long="leave_out")

    # Of the second, one response remains, which is compared with nothing; of the last, two.
    assert [len(example.responses) for example in reading.examples] == [2, 2]
    last = reading.examples[-1]
    assert [(c.better, c.worse, c.margin) for c in last.comparisons] == [(0, 1, 1.0)]
    assert last.tiers == ((0,), (1,))
    assert (reading.cut, reading.left_out) == (0, 3 + 2 + 1)


def test_where_the_best_response_is_left_out_the_best_of_the_others_is_imitated(read: Read) -> None:
    ranking = dataclasses.replace(
        ranked("bad", "fine", words(50)), tiers=[[2], [1], [0]], scores=[-1.0, 0.0, 1.0]
    )

    (example,) = read([ranking], max_length=64, too_long="leave_out").examples

    assert example.tiers == ((1,), (0,))
    assert example.best == 1


def test_of_responses_that_a_cut_makes_equal_the_best_placed_one_stands_for_all_in_an_order(
    read: Read,
) -> None:
    start = words(60)
    ranking = dataclasses.replace(
        ranked("bad", start + " yes", start + " no"), tiers=[[1], [2], [0]], scores=[-1.0, 1.0, 0.0]
    )

    (example,) = read([ranking], max_length=64, too_long="cut", objective="plackett_luce").examples

    assert example.tiers == ((1,), (0,))


@pytest.mark.parametrize("too_long", ["cut", "leave_out"])
def test_data_of_which_nothing_fits_are_refused(read: Read, too_long: str) -> None:
    with pytest.raises(Refused, match="nothing of the 1 records") as refusal:
        read(LONG[2:], max_length=64, too_long=too_long)

    assert "2 are left out" in str(refusal.value)


@pytest.mark.parametrize("when", ["true", "messages[-1]['role'] == 'assistant'"])
def test_a_template_that_does_not_take_a_conversation_is_refused(
    when: str, make_spec: Callable[..., Spec], tokenizer: PreTrainedTokenizerBase
) -> None:
    tokenizer.chat_template = (
        f"{{% if {when} %}}{{{{ raise_exception('No system message, please.') }}}}{{% endif %}}"
    )

    with pytest.raises(Refused, match="chat template does not take the conversation: No system message"):
        read_examples(
            str(make_spec([RANKING]).data.train), "data.train", make_spec([RANKING]).method, tokenizer
        )


def test_a_model_without_a_chat_template_is_refused_before_its_weights_are_read(
    tiny_model: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path / "model")
    AutoConfig.from_pretrained(tiny_model).save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"")

    with pytest.raises(Refused, match="has no chat template"):
        load_tokenizer(ModelSpec(base=str(tmp_path / "model")))


def test_a_tokenizer_that_makes_tokens_beyond_the_models_is_refused_by_count(
    make_spec: Callable[..., Spec], tokenizer: PreTrainedTokenizerBase, tiny_model: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    tokenizer.save_pretrained(model)
    config = AutoConfig.from_pretrained(tiny_model)
    config.vocab_size = tokenizer.convert_tokens_to_ids("z") + 1
    config.save_pretrained(model)
    (model / "model.safetensors").write_bytes(b"")
    # Letters alone are below z; words are pieces beyond it.
    spec = make_spec([ranked("x", "y"), ranked(words(3), "y")], model=model)

    with pytest.raises(Refused) as refusal:
        read_data(spec, tokenizer, Events(spec.output))

    assert f"of the 2 examples of `data.train` have tokens beyond the {config.vocab_size}" in str(
        refusal.value
    )


def test_data_longer_than_the_model_has_positions_for_are_refused_by_count(
    make_spec: Callable[..., Spec], tokenizer: PreTrainedTokenizerBase, tiny_model: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    tokenizer.save_pretrained(model)
    config = AutoConfig.from_pretrained(tiny_model)
    config.max_position_embeddings = 64
    config.save_pretrained(model)
    (model / "model.safetensors").write_bytes(b"")
    spec = make_spec(LONG, model=model)

    with pytest.raises(Refused) as refusal:
        read_data(spec, tokenizer, Events(spec.output))

    assert "2 of the 3 examples of" in str(refusal.value)
    assert "longer than the 64 tokens" in str(refusal.value)
    assert "`method.max_length` to 64" in str(refusal.value)
    fitting = make_spec(LONG, model=model, max_length=64, too_long="cut")
    assert len(read_data(fitting, tokenizer, Events(spec.output))[0].examples) == 2


def test_patience_without_held_out_data_is_refused(read: Read) -> None:
    with pytest.raises(Refused, match=r"`method.patience` goes by the loss on held-out data"):
        read([RANKING], patience=2)


@pytest.mark.parametrize("held_out", [[], [TIED]])
def test_held_out_data_that_say_nothing_stop_nothing_and_are_told(
    make_spec: Callable[..., Spec],
    tokenizer: PreTrainedTokenizerBase,
    held_out: list[Ranking],
    tmp_path: Path,
) -> None:
    write_rankings(tmp_path / "held_out.parquet", held_out)
    spec = make_spec([RANKING])
    data = dataclasses.replace(spec.data, held_out=str(tmp_path / "held_out.parquet"))

    train, measured = read_data(dataclasses.replace(spec, data=data), tokenizer, Events(spec.output))

    assert (len(train.examples), len(measured.examples)) == (1, 0)
    told = [row["text"] for row in read_lines(spec.output / "events.jsonl") if row["event"] == "log"][-1]
    assert f"`data.held_out` holds nothing to learn from ({len(held_out)} records)" in told
