"""Which split a prompt is in by its hash. Near duplicates share one: `annotation.near_duplicates`."""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from annotation.models import Prompt

FAR_OFF = 3.0
"""Standard deviations that a share of held-out prompts is off by where chance is no longer a reason."""


@dataclass(frozen=True, slots=True)
class Held:
    """How many of some prompts are held out, beside the share that was asked for."""

    held_out: int
    prompts: int
    share: float

    @property
    def is_far_off(self) -> bool:
        """Whether chance alone would hardly hold out so few or so many: near duplicates share a split, so the prompts
        of one template all go one way."""
        spread = math.sqrt(self.prompts * self.share * (1 - self.share))
        return abs(self.held_out - self.prompts * self.share) > FAR_OFF * spread


def digest_of(messages: Sequence[Mapping[str, str]]) -> str:
    """SHA-256, in hex, of the conversation as people read it: differences of case, of spacing and of Unicode form
    make no other prompt; roles do.

    Args:
        messages: ``{"role", "content"}`` each.
    """
    plain = [[message["role"], normalised(message["content"])] for message in messages]
    return hashlib.sha256(json.dumps(plain, ensure_ascii=True).encode()).hexdigest()


def split_of(digest: str, held_out_share: float) -> str:
    """``"held_out"`` for ``held_out_share`` of all digests, evenly over them, else ``"train"``.

    Args:
        digest: of ``digest_of``.
        held_out_share: from 0 to 1.
    """
    position = int(digest[:16], 16) / 2**64
    return Prompt.Split.HELD_OUT.value if position < held_out_share else Prompt.Split.TRAIN.value


def normalised(text: str) -> str:
    """The text as it is compared: without differences of case, spacing and Unicode form."""
    # Casefolding may leave characters decomposed, so the form is made last.
    return unicodedata.normalize("NFC", " ".join(unicodedata.normalize("NFC", text).casefold().split()))
