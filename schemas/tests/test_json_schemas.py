"""The published JSON Schemas are those of the models, in every process alike, and say what the models accept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from gateway_schemas import generate
from gateway_schemas.capabilities import HelpdeskCapabilities
from gateway_schemas.decision import Evidence
from gateway_schemas.interaction import Attachment, Author, Interaction, Rating, ReplyTarget
from gateway_schemas.reply import NotYet

PUBLISHED = Path(__file__).parents[1] / "json" / "v1"
DOCUMENTS = generate.schemas()


def test_the_published_schemas_are_those_of_the_models() -> None:
    if found := generate.drift(PUBLISHED):
        found.append("run from the repository's root: python -m gateway_schemas.generate schemas/json/v1")
        pytest.fail("\n".join(found), pytrace=False)


def test_every_document_is_a_valid_schema_with_an_id_of_its_own() -> None:
    for name, document in DOCUMENTS.items():
        jsonschema.Draft202012Validator.check_schema(document)
        assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert document["$id"].endswith(":" + name.removesuffix(".schema.json"))
        assert document["description"], f"{name}: the model has no docstring"
    assert len({document["$id"] for document in DOCUMENTS.values()}) == len(DOCUMENTS)


def test_the_models_a_reader_looks_for_are_there() -> None:
    expected = "interaction deletion send-status wanted reply-target draft rendered sent ticket-change agent-reply"
    expected += (
        " agent-note ticket-changed finding case source-capabilities helpdesk-capabilities health install-report"
    )
    assert {f"{name}.schema.json" for name in expected.split()} <= DOCUMENTS.keys()


def test_what_a_model_writes_satisfies_its_schema() -> None:
    at = datetime(2026, 5, 4, tzinfo=UTC)
    interaction = Interaction(
        external_id="1",
        revision="1",
        account="a",
        kind="review",
        visibility="public",
        author=Author(external_id="u", followers=3),
        rating=Rating(value=1),
        attachments=(Attachment(url="https://cdn.example/1.jpg", expires_at=at),),
        reply_target=ReplyTarget(kind="review", ref="1", closes_at=at),
        published_at=at,
    )
    evidence = Evidence.model_validate({"in": "earlier", "start": 0, "end": 1, "text": "x"})
    for model in (interaction, evidence, HelpdeskCapabilities(), NotYet()):
        name = type(model).__name__
        (document,) = [document for document in DOCUMENTS.values() if document["title"] == name]
        jsonschema.validate(json.loads(model.model_dump_json()), document)
    (document,) = [document for document in DOCUMENTS.values() if document["title"] == "Interaction"]
    mistakes: list[dict[str, object]] = [{"kind": "tweet"}, {"author": {}}, {"unheard_of": 1}, {"account": ""}]
    for broken in mistakes:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**json.loads(interaction.model_dump_json()), **broken}, document)


def test_notes_under_fields_describe_them_here_and_where_they_are_nested() -> None:
    closes = DOCUMENTS["reply-target.schema.json"]["properties"]["closes_at"]["description"]
    assert closes.startswith("When the provider stops taking answers")
    assert DOCUMENTS["draft.schema.json"]["$defs"]["ReplyTarget"]["properties"]["closes_at"]["description"] == closes
    # Evidence names this field `index`, and its neighbour by an alias
    assert "description" in DOCUMENTS["evidence.schema.json"]["properties"]["index"]


@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_writes_the_same_bytes(tmp_path: Path, seed: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-W", "error", "-m", "gateway_schemas.generate", str(tmp_path)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    written = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    assert written == {name: generate.render(document) for name, document in DOCUMENTS.items()}


def test_check_names_what_drifted_and_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main([str(tmp_path)]) == 0
    assert generate.main(["--check", str(tmp_path)]) == 0
    (tmp_path / "interaction.schema.json").write_text("{}\n", "utf-8")
    (tmp_path / "deletion.schema.json").unlink()
    (tmp_path / "forgotten.schema.json").write_text("{}\n", "utf-8")
    (tmp_path / "openapi.json").write_text("{}\n", "utf-8")
    capsys.readouterr()
    assert generate.main(["--check", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert [line.split(":")[0] for line in said.splitlines()] == [
        "missing",
        "differs from its model",
        "stands for no model",
        "run",
    ]
    assert f"python -m gateway_schemas.generate {tmp_path}" in said
    assert generate.main([str(tmp_path)]) == 0
    assert generate.drift(tmp_path) == []
    assert not (tmp_path / "forgotten.schema.json").exists()
    assert (tmp_path / "openapi.json").exists()
