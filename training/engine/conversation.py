"""What a model is shown: a prompt's messages with system prompt, worked examples and source passages put in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.engine.refusal import Refused

ROLES = ("system", "user", "assistant")
PASSAGE_FIELDS = ("id", "title", "text", "url")

Message = dict[str, str]


def render(
    prompt: Sequence[Mapping[str, str]],
    *,
    context: Sequence[Mapping[str, str]] = (),
    system_prompt: str = "",
    few_shot: Sequence[Mapping[str, Any]] = (),
    give_context: bool = True,
) -> list[Message]:
    """Return the messages to hand to a chat template or an endpoint.

    Args:
        prompt: messages ``{"role", "content"}``, the last one the user's.
        context: source passages ``{"id", "title", "text", "url"}``; they stand before the text of the last
            message, numbered by id.
        system_prompt: comes first; a system message of the prompt's own follows it within the same message.
        few_shot: worked examples ``{"prompt": [messages], "response": str}`` (with ``"context"`` if they have
            any), shown as earlier turns; their system messages are left out, since a conversation has one.
        give_context: False leaves all passages out.
    """
    system = [system_prompt] if system_prompt else []
    system += [message["content"] for message in prompt if message["role"] == "system"]
    messages: list[Message] = []
    for example in few_shot:
        messages += _with_sources(example["prompt"], example.get("context", ()) if give_context else ())
        messages.append({"role": "assistant", "content": example["response"]})
    messages += _with_sources(prompt, context if give_context else ())
    if system:
        messages.insert(0, {"role": "system", "content": "\n\n".join(system)})
    return messages


def _with_sources(prompt: Sequence[Mapping[str, str]], context: Sequence[Mapping[str, str]]) -> list[Message]:
    turns = [{"role": m["role"], "content": m["content"]} for m in prompt if m["role"] != "system"]
    if context:
        passages = "\n\n".join(_passage(passage) for passage in context)
        turns[-1]["content"] = (
            f"Sources:\n\n{passages}\n\n"
            f"Answer from these sources and cite them by number, like [{context[0]['id']}].\n\n"
            f"{turns[-1]['content']}"
        )
    return turns


def _passage(passage: Mapping[str, str]) -> str:
    title = passage.get("title", "")
    url = f" ({passage['url']})" if passage.get("url") else ""
    return f"[{passage['id']}] {title}{url}".rstrip() + f"\n{passage['text']}"


def check_prompt(messages: Any, where: str) -> list[Message]:
    """Return `messages` as a prompt.

    Args:
        messages: anything; a prompt is a list of ``{"role": system | user | assistant, "content": str}`` that
            ends with the user's.
        where: names the place in the message of a refusal, such as ``prompts.jsonl, line 3``.

    Raises:
        Refused: it is not a prompt; the sentence names the field.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise Refused(f"{where}: `prompt` must be a list of at least one message, not {messages!r:.80}.")
    checked = []
    for number, message in enumerate(messages):
        field = f"`prompt[{number}]`"
        if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
            raise Refused(
                f"{where}: {field} must be an object with `role` and `content`, not {message!r:.80}."
            )
        if message["role"] not in ROLES:
            raise Refused(
                f"{where}: {field}.role must be one of {', '.join(ROLES)}, not {message['role']!r:.80}."
            )
        if not isinstance(message["content"], str):
            raise Refused(f"{where}: {field}.content must be text, not {message['content']!r:.80}.")
        checked.append({"role": message["role"], "content": message["content"]})
    if checked[-1]["role"] != "user":
        raise Refused(
            f"{where}: `prompt` must end with a message of the user, not of the {checked[-1]['role']}."
        )
    return checked


def check_context(passages: Any, where: str) -> list[dict[str, str]]:
    """Return `passages` as source passages, each with all of ``id, title, text, url``; missing titles and
    addresses are empty.

    Raises:
        Refused: a passage has no id or text, or a field is not text.
    """
    if passages is None:
        return []
    if not isinstance(passages, Sequence) or isinstance(passages, str):
        raise Refused(f"{where}: `context` must be a list of passages, not {passages!r:.80}.")
    checked = []
    for number, passage in enumerate(passages):
        field = f"`context[{number}]`"
        if not isinstance(passage, Mapping):
            raise Refused(f"{where}: {field} must be an object with `id` and `text`, not {passage!r:.80}.")
        unknown = sorted(set(passage) - set(PASSAGE_FIELDS))
        if unknown:
            raise Refused(
                f"{where}: {field} has an unknown field `{unknown[0]}`; known are {', '.join(PASSAGE_FIELDS)}."
            )
        for name in PASSAGE_FIELDS:
            value = passage.get(name)
            if value is None and name in ("id", "text"):
                raise Refused(f"{where}: {field} lacks `{name}`.")
            if value is not None and not isinstance(value, str):
                raise Refused(f"{where}: {field}.{name} must be text, not {value!r:.80}.")
        checked.append({name: passage.get(name) or "" for name in PASSAGE_FIELDS})
    return checked
