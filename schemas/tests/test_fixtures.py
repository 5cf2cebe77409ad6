"""Fixture files are read byte for byte, and goldens tell apart what JSON tells apart."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway_schemas.testing.fixtures import as_delivery, load_request

AT = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "thing__case.http"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_body_bytes_are_exact_whatever_ends_the_lines_of_the_head(tmp_path: Path, newline: bytes) -> None:
    body = b'{ "b":1,\r\n\r\n"a":"\xf0\x9f\x98\x80\\u00e9" }\n\n\x00\xff\n'
    head = newline.join([b"POST /hooks/c1?crc=a%20b&x= HTTP/1.1", b"X-Sig:  v1,abc= ", b"x-sig: second", b"", b""])
    request = load_request(write(tmp_path, head + body), received_at=AT)
    assert request.body == body
    assert (request.method, request.path, request.query) == ("POST", "/hooks/c1", b"crc=a%20b&x=")
    assert request.query_value("crc") == "a b"
    assert request.headers == ((b"X-Sig", b"v1,abc="), (b"x-sig", b"second"))
    assert request.received_at == AT


def test_a_body_may_begin_with_blank_lines(tmp_path: Path) -> None:
    assert load_request(write(tmp_path, b"POST / HTTP/1.1\nA: b\n\n\r\n\n{}")).body == b"\r\n\n{}"


@pytest.mark.parametrize("content", [b"GET /hooks/c1", b"GET /hooks/c1 HTTP/1.1\n", b"GET /hooks/c1 HTTP/1.1\r\n\r\n"])
def test_a_challenge_has_no_body(tmp_path: Path, content: bytes) -> None:
    request = load_request(write(tmp_path, content))
    assert (request.method, request.path, request.body, request.headers) == ("GET", "/hooks/c1", b"", ())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ":1: expected a request line"),
        (b"\nPOST / HTTP/1.1\n\n", ":1: expected a request line"),
        (b"POST hooks HTTP/1.1\n\n", ":1: expected a request line"),
        (b'POST / HTTP/1.1\nA: b\n{"a"}\n', ":3: expected `Name: value`"),
        (b"POST / HTTP/1.1\n folded: x\n\n", ":2: expected `Name: value`"),
        (b"POST / HTTP/1.1\nContent-Length: 2\n\n{}\n", "Content-Length says 2, the body has 3 bytes"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=r"thing__case\.http") as caught:
        load_request(write(tmp_path, content))
    assert message in str(caught.value)


def test_the_delivery_carries_what_the_request_did(tmp_path: Path) -> None:
    request = load_request(write(tmp_path, b"POST /a?b=c HTTP/1.1\nX: y\n\nbody"), received_at=AT)
    delivery = as_delivery(request, id="d7")
    assert (delivery.id, delivery.origin, delivery.body, delivery.query) == ("d7", "webhook", b"body", b"b=c")
    assert delivery.header("x") == "y"
    assert delivery.received_at == AT
