"""The cap on the size of answers: what comes over the wire, and what that unpacks to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

import httpx2

from gateway.net.wire import closing_iterator
from gateway_schemas.errors import GatewayError, Rejected, Unknown

SIZE_LIMIT = "gateway.size_limit"
"""Request extension: the most bytes the answer may have. None for streams that are meant to go on."""

DEFAULT_SIZE_LIMIT = 8 * 1024 * 1024

_WITHOUT_EFFECT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class SizeCapTransport(httpx2.AsyncBaseTransport):
    """Refuses answers that are too large, before they fill the memory."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, limit: int = DEFAULT_SIZE_LIMIT) -> None:
        self._inner = inner
        self._limit = limit

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Pass on, and count the answer as it is read.

        Raises Rejected with code `response_too_large` (or `response_encoding` for content packed more than once), here
        or while the body is read. If the request may have had an effect it is Unknown with the same code: an answer
        that we do not want to read does not undo what was done.
        """
        answer = await self._inner.handle_async_request(request)
        limit: int | None = request.extensions.get(SIZE_LIMIT, self._limit)
        response = CappedResponse(
            status_code=answer.status_code,
            headers=answer.headers,
            stream=_CountedStream(answer.stream, request, limit),
            extensions=answer.extensions,
        )
        response.request = request
        response.limit = limit
        try:
            # Unpacking one layer is done in bounded pieces; what a second layer keeps of the first has no bound.
            layers = [one for one in response.headers.get_list("content-encoding", split_commas=True) if one.strip()]
            if sum(layer.strip().lower() != "identity" for layer in layers) > 1:
                raise _refused(request, "packed more than once", "response_encoding")
            if limit is not None and request.method != "HEAD" and response.status_code not in (204, 304):
                length = response.headers.get("content-length", "")
                if length.isascii() and length.isdecimal() and int(length) > limit:
                    raise _too_large(request, limit)
        except GatewayError:
            await response.aclose()
            raise
        return response


class CappedResponse(httpx2.Response):
    """An answer that counts its bytes as they are unpacked."""

    limit: int | None = None

    async def aiter_bytes(self, chunk_size: int | None = None) -> AsyncGenerator[bytes, None]:
        """The body, unpacked. Raises Rejected or Unknown with code `response_too_large` on the way."""
        seen = 0
        chunks = super().aiter_bytes(chunk_size)
        async with closing_iterator(chunks):
            async for chunk in chunks:
                seen += len(chunk)
                if self.limit is not None and seen > self.limit:
                    raise _too_large(self.request, self.limit)
                yield chunk

    def raise_for_status(self) -> httpx2.Response:
        """Raise HTTPStatusError unless the status is 2xx. Its text names no more than the host: URLs hold tokens."""
        if self.is_success:
            return self
        raise httpx2.HTTPStatusError(
            f"{self.request.url.host} answered {self.status_code} {self.reason_phrase}",
            request=self.request,
            response=self,
        )


class _CountedStream(httpx2.AsyncByteStream):
    def __init__(
        self, inner: httpx2.SyncByteStream | httpx2.AsyncByteStream, request: httpx2.Request, limit: int | None
    ) -> None:
        assert isinstance(inner, httpx2.AsyncByteStream)
        self._inner = inner
        self._request = request
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        async with closing_iterator(aiter(self._inner)) as chunks:
            async for chunk in chunks:
                seen += len(chunk)
                if self._limit is not None and seen > self._limit:
                    raise _too_large(self._request, self._limit)
                yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


def _too_large(request: httpx2.Request, limit: int) -> GatewayError:
    size = f"{limit / 2**20:g} MiB" if limit >= 2**20 else f"{limit} bytes"
    return _refused(request, f"larger than {size}", "response_too_large")


def _refused(request: httpx2.Request, what: str, code: str) -> GatewayError:
    reason = f"The answer of {request.url.host} is {what} and was not read"
    if request.method in _WITHOUT_EFFECT:
        return Rejected(reason, code=code)
    return Unknown(f"{reason}; what the request did is not known", code=code)
