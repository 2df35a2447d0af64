"""A *sample* run on an OpenAI-compatible endpoint (``POST <url>/chat/completions``); needs no torch."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import os
import random
import socket
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import httpx

from training.engine.conversation import Message, render
from training.engine.events import Events
from training.engine.interrupt import Interrupt
from training.engine.methods import EndpointSpec, SampleMethod
from training.engine.prompts import Prompt, read_prompts
from training.engine.refusal import Refused, Unavailable
from training.engine.responses import PartialOutput, Response, write_responses
from training.engine.spec import Spec

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
INTERRUPT_CHECK_SECONDS = 0.2
# Where clouds hand out credentials to whoever asks from inside; all others of them are link-local.
METADATA = frozenset(ipaddress.ip_address(each) for each in ("fd00:ec2::254", "100.100.100.200"))
BUSY = {408, 409, 425, 429}
OF_THE_PROMPT = {400, 413, 422}
"""What endpoints answer to a prompt that is too long for them, or that a filter of theirs stops."""
MOST_REFUSED = 20
"""So many prompts are skipped before any was answered; then it is not the prompts' fault."""


class RefusedPrompt(Refused):
    """The endpoint takes others, but perhaps not this one."""


def run(spec: Spec, events: Events, interrupt: Interrupt) -> None:
    """Sample `spec.endpoint` on `spec.data.prompts`; the artifact is ``responses.jsonl``.

    Raises:
        Refused: the prompts cannot be used, or the endpoint refuses the key, the model or the request.
        Unavailable: the endpoint stayed busy or unreachable; what was answered is kept.
        Stopped: what was answered is kept, and the next start asks for the rest.
    """
    assert spec.endpoint is not None
    prompts = read_prompts(spec.data.prompts)
    source = {"url": spec.endpoint.url, "model": spec.endpoint.model}
    partial = PartialOutput(
        spec.output, [source, asdict(spec.method), spec.seed, [asdict(prompt) for prompt in prompts]]
    )
    conversation = Conversation(spec.endpoint, spec.method, spec.seed)
    refuse_metadata(spec.endpoint.url)
    asyncio.run(_ask_for_the_rest(conversation, prompts, partial, events, interrupt))
    with events.artifact("responses.jsonl") as path:
        write_responses(path, partial.read(), [prompt.id for prompt in prompts])
    partial.remove()


def refuse_metadata(url: str) -> None:
    """Refuse an address whose name leads to this machine's neighbourhood (link-local) or a cloud's metadata service.

    An address in numbers was written by somebody who may, and is taken at its word; one that does not resolve is left
    to the request, which is tried again.

    Raises:
        Refused: a name resolves to such an address.
    """
    host = httpx.URL(url).host
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)}
    except OSError:
        return
    for text in sorted(map(str, found)):
        address = ipaddress.ip_address(text)
        address = getattr(address, "ipv4_mapped", None) or address
        if address.is_link_local or address in METADATA:
            raise Refused(
                f"`endpoint.url`: {host} resolves to {text}, a link-local address or a cloud's metadata service, "
                "where no model is. Name another host."
            )


async def _ask_for_the_rest(
    conversation: Conversation,
    prompts: Sequence[Prompt],
    partial: PartialOutput,
    events: Events,
    interrupt: Interrupt,
) -> None:
    answered = {(response.id, response.index) for response in partial.read()}
    total = len(prompts) * conversation.method.responses
    places = [(prompt, index) for index in range(conversation.method.responses) for prompt in prompts]
    waiting = iter([(prompt, index) for prompt, index in places if (prompt.id, index) not in answered])
    done, failed = len(answered), False
    worked, skipped = any(response.refused is None for response in partial.read()), list[Response]()
    events.progress(done, total, "sampling")

    async def keep_asking() -> None:
        nonlocal done, failed, worked
        # Once one has failed, the others end what they asked for, since an answer may have been paid for.
        while not failed and (place := next(waiting, None)) is not None:
            prompt, index = place
            response: Response | None = None
            try:
                response = await conversation.ask(prompt, index)
            except RefusedPrompt as refusal:
                if not conversation.endpoint.skip_refused or len(skipped) >= MOST_REFUSED:
                    failed = True
                    raise
                skipped.append(Response(prompt.id, index, "", None, "stop", refused=str(refusal)))
            except (Refused, Unavailable):
                failed = True
                raise
            else:
                partial.append([response])
                worked = True
            done += 1
            if worked and skipped:
                # Only now is it sure that it was these prompts, which need not be asked again.
                partial.append(skipped)
                skipped.clear()
            events.progress(done, total, "sampling")
            if index == 0 and response is not None:
                events.sample(prompt.messages, response.text)

    async def watch() -> None:
        while True:
            interrupt.check()
            await asyncio.sleep(INTERRUPT_CHECK_SECONDS)

    async with conversation.client:
        asking = asyncio.gather(
            *(keep_asking() for _ in range(conversation.endpoint.concurrency)), return_exceptions=True
        )
        watching = asyncio.create_task(watch())
        both: list[asyncio.Future[Any]] = [asking, watching]
        finished, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for each in both:
            each.cancel()
        if watching in finished:
            watching.result()
        for outcome in asking.result() if asking in finished else []:
            if outcome is not None:
                raise outcome
        if skipped:
            raise Refused(str(skipped[0].refused))


class Conversation:
    """Asks one endpoint, with one set of settings.

    Args:
        endpoint: where, and how patiently.
        method: how responses are drawn.
        seed: sent along, different for each response, so that an endpoint that honours it repeats itself.

    Raises:
        Refused: the address is none, or the environment variable with the key is not set.
    """

    def __init__(self, endpoint: EndpointSpec, method: SampleMethod, seed: int) -> None:
        if not endpoint.url.startswith(("http://", "https://")):
            raise Refused(
                f"`endpoint.url` must start with http:// or https://, such as http://localhost:8000/v1, "
                f"not {endpoint.url!r}."
            )
        headers = {}
        if endpoint.api_key_env is not None:
            key = os.environ.get(endpoint.api_key_env)
            if not key:
                raise Refused(
                    f"`endpoint.api_key_env`: the environment variable {endpoint.api_key_env} is not set "
                    "where the run was started."
                )
            headers["Authorization"] = f"Bearer {key}"
        self.endpoint = endpoint
        self.method = method
        self.client = httpx.AsyncClient(
            headers=headers,
            timeout=endpoint.timeout,
            limits=httpx.Limits(max_connections=endpoint.concurrency),
            follow_redirects=False,  # prompts and key go to the address that was named and nowhere else
        )
        self._url = endpoint.url.rstrip("/") + "/chat/completions"
        self._seed = seed
        self._sends_seed = True
        self._length_field = "max_tokens"

    async def ask(self, prompt: Prompt, index: int) -> Response:
        """Return the endpoint's response number `index` to a prompt, trying again while it is busy or talks rubbish.

        Raises:
            Refused: trying again is useless.
            Unavailable: all attempts failed.
        """
        messages = render(
            prompt.messages,
            context=prompt.context,
            system_prompt=self.method.system_prompt,
            few_shot=self.method.few_shot,
            give_context=self.method.give_context,
        )
        trouble, pause = "", 0.0
        for attempt in range(self.endpoint.attempts):
            await asyncio.sleep(pause)
            pause = _pause(attempt)
            try:
                reply = await self._post(messages, prompt.id, index)
            except httpx.HTTPError as error:
                trouble = f"{type(error).__name__} {error}".strip()
                continue
            if reply.status_code in BUSY or reply.status_code >= 500:
                trouble = _status(reply)
                pause = max(pause, _retry_after(reply))
                continue
            if reply.is_error or reply.is_redirect:
                self._refuse(reply)
            try:
                return _response(reply, prompt.id, index)
            except (ValueError, KeyError, IndexError, TypeError, AttributeError):
                trouble = f"a reply that is no chat completion: {reply.text!r:.200}"
        raise Unavailable(
            f"The endpoint {self._url} gave no usable reply in {self.endpoint.attempts} attempts; "
            f"the last was {trouble}. What was answered is kept: start the run again once the endpoint works."
        )

    async def _post(self, messages: list[Message], prompt_id: str, index: int) -> httpx.Response:
        """Send one request, once more if the endpoint knows a field by another name or not at all."""
        while True:
            sent_seed, length_field = self._sends_seed, self._length_field
            body: dict[str, Any] = {
                "model": self.endpoint.model,
                "messages": messages,
                "temperature": self.method.temperature,
                "top_p": self.method.top_p,
                length_field: self.method.max_tokens,
            }
            if sent_seed:
                body["seed"] = _request_seed(self._seed, prompt_id, index)
            reply = await self.client.post(self._url, json=body)
            if reply.status_code not in (400, 422):
                return reply
            # OpenAI's reasoning models take the length by this name only; some endpoints refuse an unknown `seed`.
            if length_field == "max_tokens" and "max_completion_tokens" in reply.text:
                self._length_field = "max_completion_tokens"
            elif sent_seed and "seed" in reply.text:
                self._sends_seed = False
            else:
                return reply

    def _refuse(self, reply: httpx.Response) -> None:
        if reply.status_code in (401, 403):
            key = self.endpoint.api_key_env
            advice = (
                f"check the key in {key}"
                if key
                else "it wants a key: name its variable in `endpoint.api_key_env`"
            )
            raise Refused(f"The endpoint {self._url} does not let us in ({_status(reply)}); {advice}.")
        if reply.status_code == 404:
            raise Refused(
                f"The endpoint {self._url} is not there or has no model {self.endpoint.model!r} ({_status(reply)}); "
                "check `endpoint.url`, which ends with the version such as /v1, and `endpoint.model`."
            )
        if reply.is_redirect:
            raise Refused(
                f"The endpoint {self._url} sends us elsewhere, to {reply.headers['Location']:.200}, and we follow no "
                "redirect; name the right address in `endpoint.url`."
            )
        sentence = f"The endpoint {self._url} refuses the request: {_status(reply)}."
        raise RefusedPrompt(sentence) if reply.status_code in OF_THE_PROMPT else Refused(sentence)


def _response(reply: httpx.Response, prompt_id: str, index: int) -> Response:
    record = reply.json()
    choice = record["choices"][0]
    text = choice["message"]["content"]
    usage = record.get("usage") or {}
    tokens, prompt_tokens = usage.get("completion_tokens"), usage.get("prompt_tokens")
    if text is None:
        text = ""
    if not isinstance(text, str):
        raise TypeError("content is not text")
    return Response(
        id=prompt_id,
        index=index,
        text=text,
        tokens=tokens if isinstance(tokens, int) else None,
        finish="length" if choice.get("finish_reason") == "length" else "stop",
        prompt_tokens=prompt_tokens if isinstance(prompt_tokens, int) else None,
    )


def _request_seed(seed: int, prompt_id: str, index: int) -> int:
    """Return 31 bits, since endpoints differ in what they take."""
    return int.from_bytes(hashlib.sha256(f"{seed} {index} {prompt_id}".encode()).digest()[:4]) >> 1


def _pause(attempt: int) -> float:
    """Return seconds to wait after an attempt: doubling, with jitter so that requests do not come back together."""
    return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**attempt) * random.uniform(0.5, 1.0)  # noqa: S311


def _retry_after(reply: httpx.Response) -> float:
    try:
        return min(LONGEST_PAUSE_SECONDS, float(reply.headers.get("Retry-After", 0)))
    except ValueError:
        return 0.0


def _status(reply: httpx.Response) -> str:
    return f"status {reply.status_code}: {' '.join(reply.text.split())!r:.200}"
