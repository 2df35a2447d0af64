"""Datasets on the Hugging Face Hub: a version in every shape, as one repository that ``load_dataset`` takes by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from alignment.datasets import SPLITS, card_file
from alignment.exporting import SHAPES, export
from alignment.models import Dataset
from annotation.refusals import Refusal

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


def push_to_hub(
    dataset: Dataset,
    *,
    repository: str,
    token: str,
    private: bool = True,
    shapes: Iterable[str] = tuple(SHAPES),
    endpoint: str | None = None,
) -> str:
    """Upload a dataset with its card, in one commit; the repository is made if there is none. The same again changes
    nothing.

    Each shape is a configuration: ``load_dataset("org/name", "pairs", split="train")``.

    Args:
        repository: ``owner/name``.
        token: of somebody who may write there.
        private: of a repository that is made; one that is there stays as it is.
        shapes: keys of `alignment.exporting.SHAPES`, the default configuration first.
        endpoint: of the Hub; by default what ``HF_ENDPOINT`` says.

    Returns:
        The address of the commit.

    Raises:
        Refusal: the repository's name is malformed, a shape is unknown, the Hub knows the token or its right to write
            not, or it cannot be reached.
    """
    from huggingface_hub import HfApi  # takes a while to load, and only this needs it

    operations = _operations(dataset, check_push(repository=repository, token=token, shapes=shapes))
    with _in_sentences(repository):
        api = HfApi(endpoint=endpoint, token=token)
        api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        commit = api.create_commit(
            repository,
            operations=operations,
            repo_type="dataset",
            commit_message=f"{dataset.project}, version {dataset.version}",
            commit_description=f"SHA-256 {dataset.sha256}",
        )
    return str(commit.commit_url)


def check_push(*, repository: str, token: str, shapes: Iterable[str]) -> list[str]:
    """Return the shapes, each once, after checking what can be checked without the Hub. Raises Refusal."""
    chosen = list(dict.fromkeys(shapes))
    if not REPOSITORY.fullmatch(repository):
        raise Refusal(
            "invalid",
            f"The repository must be owner/name, as acme/kind-replies, not {repository!r:.80}.",
            field="repository",
        )
    unknown = [shape for shape in chosen if shape not in SHAPES]
    if unknown or not chosen:
        raise Refusal(
            "invalid",
            f"Choose at least one of {', '.join(SHAPES)}"
            + (f", not {unknown[0]!r:.40}." if unknown else "."),
            field="shapes",
        )
    if not token:
        raise Refusal(
            "invalid",
            "A token of the Hub is needed, of somebody who may write there. Make one at "
            "huggingface.co/settings/tokens.",
            field="token",
        )
    return chosen


def _operations(dataset: Dataset, shapes: list[str]) -> list[CommitOperationAdd]:
    from huggingface_hub import CommitOperationAdd, RepoCard

    card = RepoCard(card_file(dataset).read_text(encoding="utf-8"))
    card.data["configs"] = [
        {
            "config_name": shape,
            **({"default": True} if number == 0 else {}),
            "data_files": [{"split": str(split), "path": f"{shape}/{split}.parquet"} for split in SPLITS],
        }
        for number, shape in enumerate(shapes)
    ]
    files = [
        CommitOperationAdd(
            f"{shape}/{split}.parquet", str(export(dataset, shape=shape, split=split, format="parquet").path)
        )
        for shape in shapes
        for split in SPLITS
    ]
    return [CommitOperationAdd("README.md", str(card).encode()), *files]


@contextmanager
def _in_sentences(repository: str) -> Iterator[None]:
    """Make what the Hub's library raises a Refusal. No sentence holds the token."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            raise Refusal(
                "invalid",
                "The Hub does not know the token: it is mistyped, expired or revoked. Make a new one with the right to "
                "write at huggingface.co/settings/tokens.",
                field="token",
            ) from error
        if status in (403, 404):
            raise Refusal(
                "forbidden",
                f"The token may not write to {repository} on the Hub. Is the owner's name right, and has the token the "
                "right to write there?",
                field="repository",
            ) from error
        said = error.server_message or error.response.reason_phrase
        raise Refusal(
            "conflict", f"The Hub refused {repository} with {status}: {said:.300}", field="repository"
        ) from error
    except OfflineModeIsEnabled as error:
        raise Refusal(
            "conflict",
            "The Hub is not asked for anything while HF_HUB_OFFLINE is set. Unset it where this runs.",
        ) from error
    except (HTTPError, OSError, RuntimeError) as error:
        raise Refusal(
            "conflict",
            f"The Hub cannot be reached, or the upload broke off: {str(error) or type(error).__name__:.300} Try again: "
            "what arrived is not uploaded twice.",
        ) from error
