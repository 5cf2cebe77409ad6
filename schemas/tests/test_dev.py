"""`gateway plugin dev`: a round at the start, what is typed, and once more when a file changes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_schemas.authoring.scaffold import scaffold


class Session:
    """A `dev` that somebody types at."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "gateway_schemas.authoring", "dev", str(folder), "--port", "0"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )
        self.printed = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line

    def type(self, line: str) -> None:
        """Type a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def close(self) -> None:
        """End it, however far it is."""
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def until(self, text: str, times: int = 1) -> None:
        """Wait until something was printed so many times."""
        patience = time.monotonic() + 60
        while self.printed.count(text) < times:
            assert time.monotonic() < patience, f"{text!r} is not in\n{self.printed}"
            time.sleep(0.02)


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    kind = request.param
    scaffold(f"dev_{kind}", kind, tmp_path)
    return tmp_path


@pytest.fixture
def session(folder: Path) -> Iterator[Session]:
    running = Session(folder)
    yield running
    running.close()


@pytest.mark.parametrize("folder", ["source"], indirect=True)
def test_a_source_hears_and_answers_and_starts_again(folder: Path, session: Session) -> None:
    session.until("type one of: write TEXT, answer ID TEXT, poll, quit")
    assert '"text": "My parcel is late"' in session.printed
    assert "Sent(external_id='1002'" in session.printed
    session.type("write hello once more")
    session.until('"text": "hello once more"')
    session.type("answer 99 nobody")
    session.until("nothing with the id 99 was heard of")
    session.type("dance")
    session.until("type one of:", 2)
    config = folder / "gateway_dev_source" / "config.py"
    good = config.read_text("utf-8")
    config.write_text("this is no Python", "utf-8")
    os.utime(config, ns=(1, 1))
    session.until("SyntaxError")
    config.write_text(good, "utf-8")
    session.until("customer writes 1001", 2)
    session.until("type one of:", 3)
    session.type("quit")
    assert session.process.wait(20) == 0


@pytest.mark.parametrize("folder", ["helpdesk"], indirect=True)
def test_a_helpdesk_gets_a_ticket_and_tells_of_the_answer(folder: Path, session: Session) -> None:
    session.until("type one of: ticket TEXT")
    assert "Done(key='dev-1'" in session.printed
    assert '"AgentReply"' in session.printed
    session.type("comment 1001 still waiting")
    session.until("Done(key='dev-2', external_id='1001'")
    session.type("quit")
    assert session.process.wait(20) == 0
