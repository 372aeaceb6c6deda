"""Feed files over HTTP: streamed to a temporary file, conditional, within bounds of size, time and redirects.

The rules for addresses are those of `adapters.http_client`: https beyond this machine, no proxy to loopback, no
address in a log.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple
from urllib.parse import unquote, urlsplit

import httpx

from adapters.feeds.errors import BrokenFeed, FeedUnavailable
from adapters.feeds.parse.content import Content
from adapters.feeds.parse.pages import read_page, type_in
from adapters.http_client import CONNECT_S
from adapters.loopback import is_loopback
from schemas.errors import BrokenSetup, host_of

MOST_PAGES: Final = 10_000
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_ENCODINGS: Final = frozenset({"", "identity", "gzip", "x-gzip"})
_PIECE: Final = 64 * 1024
_HINT: Final = "Write it in KOUNTER_FEEDS__SOURCES as https://<host>/<path>, or as the path of a file."


class Limits(NamedTuple):
    """Bounds of one request."""

    bytes: int = 1 << 30
    total_s: float = 900.0
    read_s: float = 30.0
    """Seconds without a byte."""
    slow_s: float = 30.0
    """Seconds after which fewer than `slow_bytes_per_s` on average end the request."""
    slow_bytes_per_s: float = 1_000.0
    redirects: int = 5


class Validators(NamedTuple):
    """Headers of the last answer, by which the next request asks for a changed file only."""

    etag: str = ""
    modified: str = ""


@dataclass
class Fetched:
    """A file that was fetched. ``digest``: SHA-256 of its bytes as they came."""

    content: Content
    digest: str
    size: int
    validators: Validators = field(default_factory=Validators)


def is_path(address: str) -> bool:
    """Returns whether an address is the path of a file."""
    return not address.lower().startswith(("http://", "https://"))


def shown(address: str) -> str:
    """Returns an address as logs and pages may have it: scheme, host and path, without user and query."""
    if is_path(address):
        return address
    parts = urlsplit(address)
    return f"{host_of(address).strip(chr(39))}{parts.path}"


@asynccontextmanager
async def fetched(
    address: str,
    before: Validators = Validators(),  # noqa: B008 - a tuple
    limits: Limits = Limits(),  # noqa: B008
) -> AsyncIterator[Fetched | None]:
    """Fetch a file, and delete its copy when the block ends; None if it has not changed.

    Raises FeedUnavailable, BrokenFeed, and BrokenSetup for an address that can't be used.
    """
    if is_path(address):
        with _opened(address) as file:
            yield await asyncio.to_thread(_of_path, file, address, before)
        return
    url = _checked(address)
    with tempfile.TemporaryFile() as file:
        async with _client(url, limits) as http:
            yield await _Download(http, file, limits).fetch(url, before)


class _Download:
    """One file over HTTP, with its pages if it is a list that has several."""

    def __init__(self, http: httpx.AsyncClient, file: BinaryIO, limits: Limits) -> None:
        self._http, self._file, self._limits = http, file, limits
        self._digest, self._size = sha256(), 0
        self._began = time.monotonic()
        self._ends: list[int] = []

    async def fetch(self, url: httpx.URL, before: Validators) -> Fetched | None:
        first = url
        try:
            async with asyncio.timeout(self._limits.total_s):
                validators = await self._document(url, before)
                if validators is None:
                    return None
                while following := await asyncio.to_thread(self._next, first):
                    url = _redirected(url, following)
                    await self._document(url, Validators())
                    validators = Validators()  # they are of the first page only
        except TimeoutError:
            raise FeedUnavailable(f"the file takes over {self._limits.total_s:.0f} s") from None
        ends = tuple(self._ends) if len(self._ends) > 1 else ()
        content = Content(self._file, ends, type_in(str(first)))
        return Fetched(content, self._digest.hexdigest(), self._size, validators)

    def _next(self, first: httpx.URL) -> str:
        """Returns the address of the next page, empty if this is no list or its last page. Raises BrokenFeed."""
        if len(self._ends) >= MOST_PAGES:
            raise BrokenFeed("next", f"at most {MOST_PAGES} pages", "more")
        content = Content(self._file, tuple(self._ends))
        if len(self._ends) == 1 and not content.is_json():
            return ""
        raw = content.last_page()
        self._file.seek(0, os.SEEK_END)
        return read_page(raw, type_in(str(first))).next

    async def _document(self, url: httpx.URL, before: Validators) -> Validators | None:
        """Append one document to the file. Returns its validators, None if it has not changed."""
        headers = {"If-None-Match": before.etag, "If-Modified-Since": before.modified}
        conditional = {name: value for name, value in headers.items() if value}
        for _ in range(self._limits.redirects + 1):
            try:
                async with self._http.stream("GET", url, headers=conditional) as answer:
                    if answer.status_code in _MOVED:
                        url = _redirected(url, answer.headers.get("location", ""))
                        continue
                    if answer.status_code == 304 and conditional:
                        return None
                    if answer.status_code != 200:
                        raise FeedUnavailable(f"the server answers {answer.status_code}")
                    await self._save(answer)
                    found = Validators(answer.headers.get("etag", ""), answer.headers.get("last-modified", ""))
                    return Validators(*(value if _is_header(value) else "" for value in found))
            except httpx.HTTPError as error:
                raise FeedUnavailable(f"the file can't be fetched ({type(error).__name__})") from None
        raise FeedUnavailable(f"over {self._limits.redirects} redirects")

    async def _save(self, answer: httpx.Response) -> None:
        encoding = answer.headers.get("content-encoding", "").strip().lower()
        if encoding not in _ENCODINGS:
            raise BrokenFeed("Content-Encoding", "gzip or none", encoding)
        limits = self._limits
        async for piece in answer.aiter_raw():
            self._size += len(piece)
            if self._size > limits.bytes:
                raise BrokenFeed("document", f"at most {limits.bytes} bytes", "more")
            took = time.monotonic() - self._began
            if took > limits.slow_s and self._size < took * limits.slow_bytes_per_s:
                raise FeedUnavailable(f"the server sends {self._size} bytes in {took:.0f} s")
            self._digest.update(piece)
            self._file.write(piece)
        self._file.flush()
        self._ends.append(self._file.tell())


def _client(url: httpx.URL, limits: Limits) -> httpx.AsyncClient:
    try:
        return httpx.AsyncClient(
            trust_env=not is_loopback(url.host),
            follow_redirects=False,
            timeout=httpx.Timeout(limits.read_s, connect=min(CONNECT_S, limits.read_s)),
            headers={"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": "kounter"},
        )
    except ValueError:  # its text may hold the proxy's password
        raise BrokenSetup("the proxy named in the environment can't be used for feed files") from None


def _checked(address: str) -> httpx.URL:
    try:
        url = httpx.URL(address.strip())
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise BrokenSetup("the address of a feed file is none", hint=_HINT)
    if url.scheme != "https" and not is_loopback(url.host):
        raise BrokenSetup(f"the address of a feed file on {url.host} is not https", hint=_HINT)
    return url.copy_with(fragment=None)


def _redirected(url: httpx.URL, location: str) -> httpx.URL:
    """Returns the address that a redirect leads to. A new request is made of it alone, so no user of the first address
    follows. Raises FeedUnavailable for one that may not be followed."""
    there = _joined(url, location)
    if is_loopback(there.host) != is_loopback(url.host):
        raise FeedUnavailable(f"the server leads to {host_of(str(there))}, which is not followed")
    same = (there.host, there.port) == (url.host, url.port)
    return there if same else there.copy_with(username=None, password=None)


def _joined(url: httpx.URL, reference: str) -> httpx.URL:
    try:
        there = url.join(reference)
    except httpx.InvalidURL:
        raise FeedUnavailable("the server names a next address that is none") from None
    if there.scheme != url.scheme or not there.host:
        raise FeedUnavailable(f"the server leads from {url.scheme} to {host_of(str(there))}, which is not followed")
    return there


def _is_header(value: str) -> bool:
    return len(value) <= 500 and value.isascii() and value.isprintable()


def _opened(address: str) -> BinaryIO:
    path = Path(unquote(urlsplit(address).path)) if address.lower().startswith("file:") else Path(address)
    try:
        return path.open("rb")
    except OSError as error:
        raise FeedUnavailable(f"the file can't be read: {error.strerror or type(error).__name__}") from None


def _of_path(file: BinaryIO, address: str, before: Validators) -> Fetched | None:
    """Returns a file on this machine; None if neither its time nor its size has changed."""
    facts = os.fstat(file.fileno())
    validators = Validators(f"{facts.st_ino}-{facts.st_size}-{facts.st_mtime_ns}")
    if validators == before:
        return None
    digest: Any = sha256()
    try:
        while piece := file.read(_PIECE):
            digest.update(piece)
    except OSError as error:  # a folder
        raise FeedUnavailable(f"the file can't be read: {error.strerror or type(error).__name__}") from None
    return Fetched(Content(file, (), type_in(address)), digest.hexdigest(), facts.st_size, validators)
