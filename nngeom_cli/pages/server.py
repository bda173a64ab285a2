"""`nngeom watch`: the page of a run on this machine's own address, with newer data as checkpoints appear."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit

from nngeom_cli.errors import ConfigError, NngeomError, system_words
from nngeom_cli.pages.document import document
from nngeom_cli.pages.report import PageData

__all__ = ["PageServer"]

ADDRESS = "127.0.0.1"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",  # the page's own policy adds to it
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class PageServer(ThreadingHTTPServer):
    """Serves one page and its data to whoever has its address, which holds a random token. It opens no file.

    Args:
        version: a word that changes whenever the data may have changed; cheap.
        data: the page's data.
        port: 0 for any that is free.

    Raises:
        ConfigError: the port cannot be used.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, version: Callable[[], str], data: Callable[[str], PageData], port: int = 0) -> None:
        self.version, self.data = version, data
        self.token = secrets.token_urlsafe(24)
        self._busy, self._made = Lock(), ("", PageData("", ""))
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            raise ConfigError(
                f"`--port` must be one that is free. Got {port}: {error.strerror}. Leave it out for any other."
            ) from error

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://{ADDRESS}:{self.server_port}/{self.token}/"

    @property
    def hosts(self) -> set[str]:
        """What a browser that was given `address` calls this server: no name that another site could have taken."""
        return {f"{name}:{self.server_port}" for name in (ADDRESS, "localhost")}

    def newest(self, have: str = "") -> PageData | None:
        """The page's data, made once for each version; None if `have` is the version already."""
        with self._busy:
            version = self.version()
            if version == have:
                return None
            if self._made[0] != version:
                self._made = (version, self.data(version))
            return self._made[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that has closed its window is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    server_version, sys_version = "nngeom", ""
    timeout = 30  # seconds for a request

    def do_GET(self) -> None:
        """The page, its data, or nothing."""
        if self.headers.get("Host") not in self.server.hosts:
            return self._answer(HTTPStatus.MISDIRECTED_REQUEST, "This server has another name.")
        address = urlsplit(self.path)
        place, what = address.path[: -len("data")], "data"
        if not address.path.endswith("/data"):
            place, what = address.path, ""
        if not secrets.compare_digest(place.encode(), f"/{self.server.token}/".encode()):
            return self._answer(
                HTTPStatus.NOT_FOUND, "There is nothing here. See the address that `nngeom watch` printed."
            )
        try:
            have = parse_qs(address.query).get("have", [""])[0] if what else ""
            data = self.server.newest(have)
        except (NngeomError, OSError) as error:
            words = system_words(error) if isinstance(error, OSError) else str(error)
            return self._answer(HTTPStatus.SERVICE_UNAVAILABLE, words)
        if data is None:
            return self._answer(HTTPStatus.NO_CONTENT)
        if what:
            return self._answer(HTTPStatus.OK, data.text, "application/json")
        return self._answer(HTTPStatus.OK, document(data.title, data.text, served=True), "text/html")

    def _answer(self, status: HTTPStatus, text: str = "", kind: str = "text/plain") -> None:
        content = text.encode()
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Says nothing of requests."""
