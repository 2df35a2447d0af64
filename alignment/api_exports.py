"""Exports over HTTP: which file a request is for, and in which coding it is sent."""

from __future__ import annotations

from functools import partial
from typing import get_args

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework import serializers

from alignment import exporting
from alignment.api_files import coding_for, send_file
from alignment.export_files import COMPRESSIONS
from alignment.models import Dataset
from annotation.api_fields import Choice
from annotation.models import Prompt
from training.engine.records import Which

CODINGS = ("zstd", "gzip")
"""Those of `COMPRESSIONS` by which a response may be coded, the quicker and smaller one first."""
CONTENT_TYPES = tuple(
    each.partition(";")[0] for each in (*exporting.FORMATS.values(), *exporting.COMPRESSED_TYPES.values())
)


class ExportQuery(serializers.Serializer):
    shape = Choice(choices=list(exporting.SHAPES), required=False, default="rankings")
    format = Choice(choices=list(exporting.FORMATS), required=False, default="jsonl")
    split = Choice(choices=Prompt.Split.choices, required=False, default="train")
    which = Choice(
        choices=list(get_args(Which)),
        required=False,
        default="all",
        help_text="Of the shape pairs: all pairs of a ranking, those of neighbouring tiers, or best against worst.",
    )
    compression = Choice(
        choices=list(COMPRESSIONS),
        required=False,
        default="",
        help_text="Of the whole file, JSON lines or CSV: it is saved compressed, as FILE.gz or FILE.zst.",
    )


def send_export(
    request: HttpRequest,
    dataset: Dataset,
    *,
    shape: str,
    split: str,
    format: str,
    which: str = "all",
    compression: str = "",
) -> HttpResponseBase:
    """Answer with the export, or a part of it, as `alignment.api_files.send_file` does.

    Raises:
        Refusal: as `alignment.exporting.export`.
    """
    made = partial(exporting.export, dataset, shape=shape, split=split, format=format, which=which)
    if compression or format not in exporting.COMPRESSIBLE:
        file, coding = made(compression=compression), None
        name, content_type = file.filename, file.content_type
    else:
        written = partial(
            exporting.sha256_if_written, dataset, shape=shape, split=split, format=format, which=which
        )
        coding = coding_for(request, CODINGS, lambda one: written(compression=one))
        file = made(compression=coding)
        # What the caller has once it is decoded.
        name, content_type = (
            file.filename.removesuffix(COMPRESSIONS[coding]) if coding else file.filename,
            exporting.FORMATS[format],
        )
    return send_file(
        request, file.path, name=name, content_type=content_type, sha256=file.sha256, coding=coding
    )
