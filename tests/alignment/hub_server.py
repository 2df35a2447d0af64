"""A server that takes repositories, large files and commits as the Hub does, from whoever has its one token."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

TOKEN = "hf_right"


@dataclass
class Hub:
    url: str = ""
    repositories: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By name: how it was made."""
    uploads: dict[str, bytes] = field(default_factory=dict)
    """Large files, by SHA-256."""
    commits: list[dict[str, bytes]] = field(default_factory=list)
    refuse: int = 0
    """Status that making a repository is answered with."""


def handler_of(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._answer(401, {"error": "Invalid credentials in Authorization header"})
            elif self.path == "/api/repos/create":
                self._create(json.loads(body))
            elif self.path == "/api/validate-yaml":
                self._answer(200, {"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                files = json.loads(body)["files"]
                modes = {
                    each["path"]: "lfs" if each["path"].endswith("parquet") else "regular" for each in files
                }
                told = [{"path": p, "uploadMode": m, "shouldIgnore": False} for p, m in modes.items()]
                self._answer(200, {"files": told})
            elif self.path.endswith("/info/lfs/objects/batch"):
                wanted = [each for each in json.loads(body)["objects"] if each["oid"] not in hub.uploads]
                link = {each["oid"]: {"upload": {"href": f"{hub.url}/lfs/{each['oid']}"}} for each in wanted}
                objects = [{"oid": e["oid"], "size": e["size"], "actions": link[e["oid"]]} for e in wanted]
                self._answer(200, {"transfer": "basic", "objects": objects})
            elif "/commit/" in self.path:
                self._commit(self.path.split("/commit/")[0].removeprefix("/api/datasets/"), body)
            else:
                self._answer(404, {"error": self.path})

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            hub.uploads[hashlib.sha256(content).hexdigest()] = content
            self._answer(200, {})

        def _create(self, asked: dict[str, Any]) -> None:
            name = f"{asked['organization']}/{asked['name']}"
            if hub.refuse:
                self._answer(hub.refuse, {"error": "You don't have the rights."})
            elif name in hub.repositories:
                self._answer(
                    409, {"error": "You already created this dataset repo", "url": f"{hub.url}/{name}"}
                )
            else:
                hub.repositories[name] = asked
                self._answer(200, {"url": f"{hub.url}/datasets/{name}"})

        def _commit(self, name: str, body: bytes) -> None:
            files: dict[str, bytes] = {}
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = hub.uploads[value["oid"]]
            hub.commits.append(files)
            address = f"{hub.url}/datasets/{name}/commit/abc"
            self._answer(200, {"commitUrl": address, "commitOid": "a" * 40, "success": True})

        def _answer(self, status: int, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@contextmanager
def hub_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The Hub that its library talks to, in place of the true one."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(hub))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    # The protocol of Git LFS, which the Hub takes as well: the other one needs a store of chunks.
    monkeypatch.setattr("huggingface_hub._commit_api.is_xet_available", lambda: False)
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
