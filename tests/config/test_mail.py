"""Mail goes to the server that the environment names, and a wrong name is a sentence at the start."""

from __future__ import annotations

import os
import socketserver
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import get_connection
from django.core.mail.message import EmailMessage

from config import environment
from config.mail import CONSOLE, mail_server


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("smtp://mail.example.org", ("mail.example.org", 587, "", "", False, True)),
        ("smtp://anna:p%40ss@mail.example.org:2525", ("mail.example.org", 2525, "anna", "p@ss", False, True)),
        ("smtps://anna%40example.org:x@[::1]", ("::1", 465, "anna@example.org", "x", True, False)),
        ("smtp+plain://localhost/", ("localhost", 25, "", "", False, False)),
    ],
)
def test_an_address_is_taken_apart(url: str, told: tuple[object, ...]) -> None:
    server = mail_server(url, "rankloop@example.org")
    assert (server.host, server.port, server.user, server.password, server.use_ssl, server.use_tls) == told
    assert server.backend.endswith("smtp.EmailBackend") and server.sender == "rankloop@example.org"


def test_without_an_address_mail_goes_to_the_log() -> None:
    assert mail_server("", "") == CONSOLE


@pytest.mark.parametrize(
    ("url", "sender", "sentence"),
    [
        ("mail.example.org", "a@example.org", "RANKLOOP_EMAIL_URL must be smtp://"),
        ("http://u:hidden@mail.example.org", "a@example.org", "RANKLOOP_EMAIL_URL must be smtp://"),
        ("smtp://u:hidden@:25", "a@example.org", "RANKLOOP_EMAIL_URL must be smtp://"),
        ("smtp://u:hidden@mail.example.org:many", "a@example.org", "RANKLOOP_EMAIL_URL is no address"),
        ("smtp://u:hid#den@mail.example.org", "a@example.org", "RANKLOOP_EMAIL_URL is no address"),
        ("smtp://mail.example.org?tls=no", "a@example.org", "nothing after the port"),
        ("smtp://u@mail.example.org", "a@example.org", "both a user and a password"),
        ("smtp://u:hidden@mail.example.org", "", "RANKLOOP_EMAIL_FROM must be an e-mail address"),
        ("smtp://u:hidden@mail.example.org", "Rankloop", "RANKLOOP_EMAIL_FROM must be an e-mail address"),
    ],
)
def test_a_wrong_value_is_told_without_the_password(url: str, sender: str, sentence: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        mail_server(url, sender)
    assert sentence in str(refused.value)
    assert "hid" not in "".join(traceback.format_exception(refused.value))


def test_a_wrong_value_stops_the_start(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=environment.ROOT,
        env={**os.environ, "RANKLOOP_HOME": str(tmp_path), "RANKLOOP_EMAIL_URL": "mail.example.org"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("rankloop: RANKLOOP_EMAIL_URL must be smtp://")
    assert len(result.stderr.splitlines()) == 1


class _Postman(socketserver.StreamRequestHandler):
    """As much of SMTP (RFC 5321) as it takes to be handed a letter."""

    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                self.server.letter = b"".join(iter(self.rfile.readline, b".\r\n"))
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 fine\r\n")
            if word == b"QUIT":
                return


@pytest.fixture
def postman() -> Iterator[socketserver.TCPServer]:
    with socketserver.TCPServer(("127.0.0.1", 0), _Postman) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_letter_reaches_the_server(postman: socketserver.TCPServer) -> None:
    server = mail_server(f"smtp+plain://127.0.0.1:{postman.server_address[1]}", "rankloop@example.org")
    connection = get_connection(server.backend, host=server.host, port=server.port, use_tls=server.use_tls)
    letter = EmailMessage(
        "Reset", "Follow the link.", server.sender, ["a@example.org"], connection=connection
    )
    assert letter.send() == 1
    assert b"From: rankloop@example.org" in postman.letter and b"Follow the link." in postman.letter
