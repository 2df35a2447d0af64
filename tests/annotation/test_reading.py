"""Files as people really have them: marks, encodings, quotes, broken lines."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from annotation.reading import LONGEST_LINE, read_rows
from annotation.refusals import LineError, Refusal


def rows_of(data: bytes, filename: str) -> list[tuple[int, Any]]:
    return list(read_rows(io.BytesIO(data), filename))


def reasons(data: bytes, filename: str = "x.jsonl") -> dict[int, str]:
    return {line: row.reason for line, row in rows_of(data, filename) if isinstance(row, LineError)}


def parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def test_jsonl_with_mark_blank_lines_and_windows_line_ends() -> None:
    data = b'\xef\xbb\xbf{"prompt": "caf\xc3\xa9"}\r\n\r\n  \n{"prompt": "\\u2028b"}'
    assert rows_of(data, "X.JSONL") == [(1, {"prompt": "café"}), (4, {"prompt": "\u2028b"})]


def test_a_line_separator_of_unicode_does_not_end_a_line() -> None:
    assert rows_of('{"prompt": "a\u2028b\x85c"}\n'.encode(), "x.jsonl") == [(1, {"prompt": "a\u2028b\x85c"})]


def test_each_unreadable_line_is_told_and_the_others_are_read() -> None:
    lines = [
        b'{"prompt": "good"}',
        b'{"prompt": ',
        b'{"prompt": "caf\xe9"}',
        b'["a"]',
        b'{"prompt": "' + b"x" * LONGEST_LINE + b'"}',
        b"[" * 100_000,
        b'{"prompt": "also good"}',
        b'{"prompt": [{"role": "user", "role": "assistant"}]}',
        b'{"prompt": "good again"}',
    ]
    data = b"\n".join(lines)
    found = reasons(data)
    assert list(found) == [2, 3, 4, 5, 6, 8]
    assert "not JSON" in found[2]
    assert "not UTF-8 at byte 16" in found[3]
    assert "must be an object" in found[4]
    assert "longer than 4 MiB" in found[5]
    assert "nested too deeply" in found[6] or "not JSON" in found[6]
    assert found[8] == "names 'role' more than once in one object"
    assert [line for line, row in rows_of(data, "x.jsonl") if isinstance(row, dict)] == [1, 7, 9]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nonsense", "is not JSON: at character 1 a value is missing"),
        ('{"prompt": "a" "b"}', "is not JSON: at character 16 a comma, or the end of the list or object"),
        ("{'prompt': 1}", "is not JSON: at character 2 a name in double quotes is missing"),
        ('{"prompt" 1}', "is not JSON: at character 11 a colon is missing"),
        ('{"prompt": "a\\x"}', "is not JSON: at character 14 text holds a backslash"),
        ('{"prompt": "a\tb"}', "is not JSON: at character 14 text holds a line break, a tab"),
        ('{"prompt": "a"} {}', "is not JSON: at character 17 more follows"),
        ('{"prompt": ', "is not JSON: it ends too early; a value is missing"),
        ('{"prompt": "a', "is not JSON: at character 12 text begins whose closing quote is missing"),
        ('{"prompt": ' + "9" * 5000 + "}", "thousands of digits"),
    ],
)
def test_what_is_no_json_is_told_by_the_character_of_its_own_line(line: str, reason: str) -> None:
    found = reasons(b'{"prompt": "good"}\n\n' + line.encode() + b"\n")
    assert reason in found[3]
    assert "line 1" not in found[3]


def test_a_json_list_is_told_to_become_lines() -> None:
    assert "one object a line" in reasons(b'[\n{"prompt": "a"}\n]')[1]


def test_utf_16_is_told_to_become_utf_8() -> None:
    with pytest.raises(Refusal, match="UTF-16; save it as UTF-8"):
        rows_of('{"prompt": "a"}'.encode("utf-16"), "x.jsonl")


def test_csv_with_mark_quotes_and_line_breaks_in_cells() -> None:
    data = (
        "\ufeffprompt,tags,context,index\r\n"
        '"Say ""hi"",\r\nplease",a; b,,3\r\n'
        "\r\n"
        'Why?,"a, b","[{""id"": ""1""}]",\r\n'
    )
    assert rows_of(data.encode(), "x.csv") == [
        (2, {"prompt": 'Say "hi",\r\nplease', "tags": ["a; b"], "index": 3}),
        (5, {"prompt": "Why?", "tags": ["a", "b"], "context": [{"id": "1"}]}),
    ]


def test_tsv_and_json_messages_in_csv() -> None:
    messages = [{"role": "user", "content": "Why?"}]
    quoted = json.dumps(messages).replace('"', '""')
    assert rows_of(f'messages\tkey\n"{quoted}"\tk\n'.encode(), "x.tsv") == [
        (2, {"messages": messages, "key": "k"})
    ]


def test_an_empty_response_in_csv_is_an_empty_response() -> None:
    assert rows_of(b"key,text\nk,\n", "x.csv") == [(2, {"key": "k", "text": ""})]


def test_each_unreadable_csv_row_is_told() -> None:
    data = b'prompt,messages\ngood,\na,b,c\nx\ny,not json\nz\xff,\n"quote" more,\nlast,\n'
    found = reasons(data, "x.csv")
    assert "has 3 cells; the header has 2" in found[3]
    assert "has 1 cells" in found[4]
    assert "not JSON" in found[5]
    assert "not UTF-8" in found[6]
    assert "not CSV" in found[7]
    assert [row["prompt"] for _, row in rows_of(data, "x.csv") if isinstance(row, dict)] == ["good", "last"]


@pytest.mark.parametrize(
    ("header", "sentence"),
    [("prompt,prompt", "'prompt' twice"), ("prompt,", "without a name"), ("\x00é", None)],
)
def test_a_wrong_csv_header_refuses_the_file(header: str, sentence: str | None) -> None:
    if sentence is None:
        assert rows_of(f"{header}\n".encode(), "x.csv") == []
        return
    with pytest.raises(Refusal, match=sentence):
        rows_of(f"{header}\na,b\n".encode(), "x.csv")


def test_a_header_that_is_not_utf_8_refuses_the_file() -> None:
    with pytest.raises(Refusal, match="the header line is not UTF-8"):
        rows_of(b"prompt,caf\xe9\na,b\n", "x.csv")


def test_parquet_rows_with_nested_columns() -> None:
    messages = [{"role": "user", "content": "Why?"}]
    table = pa.table({"prompt": [messages, messages], "key": ["a", None], "tokens": [3, 4]})
    assert rows_of(parquet(table), "x.parquet") == [
        (1, {"prompt": messages, "key": "a", "tokens": 3}),
        (2, {"prompt": messages, "tokens": 4}),
    ]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"no parquet at all", b"PAR1" + b"\x00" * 100 + b"PAR1"])
def test_what_is_not_parquet_is_refused(data: bytes) -> None:
    with pytest.raises(Refusal, match="is not a Parquet file, or is cut off"):
        rows_of(data, "x.parquet")


def test_a_parquet_file_that_is_damaged_in_the_middle_is_told_by_the_row() -> None:
    table = pa.table({"prompt": [f"Question {n}? {n * 7919 % 10007}" for n in range(600)]})
    whole = io.BytesIO()
    pq.write_table(table, whole, row_group_size=300, compression="gzip")
    data = bytearray(whole.getvalue())
    start = pq.ParquetFile(whole).metadata.row_group(1).column(0).data_page_offset
    data[start : start + 400] = b"\xff" * 400
    with pytest.raises(Refusal, match=r"x\.parquet is damaged after row \d+\. Send it again"):
        rows_of(bytes(data), "x.parquet")


@pytest.mark.parametrize("filename", ["x.xlsx", "x", "x.jsonl.bz2", "x.xlsx.gz"])
def test_an_unknown_ending_is_refused_with_those_that_are_known(filename: str) -> None:
    with pytest.raises(Refusal, match=r"\.jsonl, \.json, \.csv, \.tsv or \.parquet"):
        read_rows(io.BytesIO(b""), filename)


def test_uploads_are_read_as_files_are() -> None:
    table = parquet(pa.table({"prompt": ["Why?"]}))
    for name, data in (
        ("x.jsonl", b'{"prompt": "Why?"}'),
        ("x.csv", b"prompt\nWhy?\n"),
        ("x.parquet", table),
    ):
        rows = list(read_rows(SimpleUploadedFile(name, data), name))
        assert [row for _, row in rows] == [{"prompt": "Why?"}]
