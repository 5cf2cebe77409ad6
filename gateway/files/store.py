"""The store of file copies: a folder, or any S3-compatible bucket, behind one library.

A file's name is the SHA-256 of its bytes, so that one picture sent a hundred times is kept once, a repeated write does
no harm, and what is read back is proven to be what was written.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from pathlib import Path
from typing import Any

import obstore.store
from obstore.exceptions import BaseError, NotFoundError

from gateway.settings import Settings
from gateway_schemas.errors import Gone, Retry

TRIED_FOR = 10.0
"""Seconds that the outcome of a trial is good for: whoever may ask for one must not be able to wear out the store."""
TRIAL = b"the gateway can write here\n" * 160
"""Some 4 KiB: on a full disk an empty file could still be made."""


class Files:
    """Writes and reads copies. One per process; connects to nothing before it is used."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._tried = asyncio.Lock()
        self._tried_at = -TRIED_FOR
        self._problem: str | None = None

    @classmethod
    def open(cls, settings: Settings) -> Files:
        """The store that the settings name. Raises ValueError for an address that names none."""
        if settings.files_url is None:
            return cls(_folder(settings.data_dir / "files"))
        if settings.files_url.startswith("file://"):
            return cls(_folder(Path(settings.files_url.removeprefix("file://"))))
        try:
            return cls(obstore.store.from_url(settings.files_url))
        except (BaseError, ValueError) as error:
            raise ValueError(f"GATEWAY_FILES_URL is no store this gateway knows: {type(error).__name__}") from error

    async def write(self, body: bytes) -> str:
        """Keep a file and return its SHA-256. Raises Retry when the store cannot be reached."""
        sha256 = await asyncio.to_thread(_digest, body)
        try:
            await self._store.put_async(_path(sha256), body)
        except BaseError as error:
            raise Retry(f"the file store does not take it: {type(error).__name__}", code="file_store") from error
        return sha256

    async def read(self, sha256: str) -> bytes:
        """The whole file. Raises Gone when it is not there or not what was written, Retry when the store is away."""
        try:
            found = await self._store.get_async(_path(sha256))
            body = bytes(await found.bytes_async())
        except (FileNotFoundError, NotFoundError):
            raise Gone("the copy of the file is not kept any more", code="no_copy") from None
        except BaseError as error:
            raise Retry(f"the file store cannot be read: {type(error).__name__}", code="file_store") from error
        if await asyncio.to_thread(_digest, body) != sha256:
            raise Gone("the copy of the file is damaged", code="damaged_copy")
        return body

    async def delete(self, sha256: str) -> None:
        """Forget a file; one that is not there is forgotten already."""
        try:
            await self._store.delete_async(_path(sha256))
        except (FileNotFoundError, NotFoundError):
            return
        except BaseError as error:
            raise Retry(f"the file store cannot be reached: {type(error).__name__}", code="file_store") from error

    async def try_out(self, seconds: float) -> str | None:
        """Whether the store takes a file: None, or what is wrong, in words. At most one trial in ten seconds."""
        async with self._tried:
            if time.monotonic() - self._tried_at >= TRIED_FOR:
                try:
                    async with asyncio.timeout(seconds):
                        await self._store.put_async("trial", TRIAL)
                    self._problem = None
                except TimeoutError:
                    self._problem = f"did not take a file within {seconds:g} s"
                except (BaseError, OSError) as error:
                    self._problem = f"does not take a file: {type(error).__name__}"
                self._tried_at = time.monotonic()
            return self._problem


def _folder(path: Path) -> Any:
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return obstore.store.LocalStore(path)


def _path(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
