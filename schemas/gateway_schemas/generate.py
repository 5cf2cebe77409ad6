"""Writes a JSON Schema (2020-12) of every public model: `python -m gateway_schemas.generate [--check] DIR`.

Every `Model` subclass that a module of this package defines is public, unless its name begins with an underscore. Each
becomes `DIR/<name in kebab case>.schema.json`, complete in itself. Schemas in DIR that no model stands for are removed.
With `--check` nothing is written, and the exit status is 1 when DIR is not what would be written.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
import pkgutil
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import gateway_schemas
from gateway_schemas.base import Model

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SUFFIX = ".schema.json"

Document = dict[str, Any]


def public_models() -> dict[str, type[Model]]:
    """Every public model by class name. Raises ValueError when two modules give the same name to different classes."""
    models: dict[str, type[Model]] = {}
    for module in _modules():
        for name, value in vars(module).items():
            if not isinstance(value, type) or not issubclass(value, Model) or value.__module__ != module.__name__:
                continue
            if value is Model or name.startswith("_"):
                continue
            if name in models:
                raise ValueError(f"{models[name].__module__} and {module.__name__} both define a model {name}")
            models[name] = value
    return dict(sorted(models.items()))


def schemas() -> dict[str, Document]:
    """The JSON Schema of every public model, by file name."""
    models = public_models()
    notes = {name: _field_notes(model) for name, model in models.items()}
    documents: dict[str, Document] = {}
    for name, model in models.items():
        schema = model.model_json_schema(mode="serialization")  # durations as seconds, the way they are written
        for title, part in {**schema.get("$defs", {}), name: schema}.items():
            _describe(part, notes.get(title, {}))
        _sort_sets(schema)
        kebab = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
        documents[kebab + SUFFIX] = {"$schema": DIALECT, "$id": f"urn:helpdesk-gateway:schema:v1:{kebab}", **schema}
    return documents


def render(document: Document) -> str:
    """A document as the text of its file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def drift(directory: Path) -> list[str]:
    """What differs between the models and the files in `directory`: one line per file that is missing, old or stale."""
    documents = schemas()
    found: list[str] = []
    for file_name, document in documents.items():
        path = directory / file_name
        if not path.exists():
            found.append(f"missing: {path}")
        elif path.read_text("utf-8") != render(document):
            found.append(f"differs from its model: {path}")
    return found + [f"stands for no model: {path}" for path in _stale(directory, documents)]


def write(directory: Path) -> int:
    """Write every schema to `directory`, remove the stale ones, and return how many there are now."""
    documents = schemas()
    directory.mkdir(parents=True, exist_ok=True)
    for path in _stale(directory, documents):
        path.unlink()
    for file_name, document in documents.items():
        (directory / file_name).write_text(render(document), "utf-8")
    return len(documents)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m gateway_schemas.generate", description="Write the JSON Schemas.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is not up to date")
    parser.add_argument("directory", type=Path, metavar="DIR", help="where the schemas lie, for example json/v1")
    options = parser.parse_args(arguments)
    if not options.check:
        print(f"{write(options.directory)} schemas in {options.directory}")
        return 0
    found = drift(options.directory)
    for line in found:
        print(line, file=sys.stderr)
    if found:
        print(f"run: python -m gateway_schemas.generate {options.directory}", file=sys.stderr)
    return 1 if found else 0


def _modules() -> Iterator[ModuleType]:
    for found in pkgutil.iter_modules(gateway_schemas.__path__, "gateway_schemas."):
        # subpackages hold tools and data; importing this module under its own name would run it twice
        if not found.ispkg and not found.name.endswith(".generate"):
            yield importlib.import_module(found.name)


def _stale(directory: Path, documents: dict[str, Document]) -> list[Path]:
    return [path for path in sorted(directory.glob("*" + SUFFIX)) if path.name not in documents]


def _field_notes(model: type[Model]) -> dict[str, str]:
    """The string under each field in the source, by the field's JSON name: what Python itself forgets."""
    notes: dict[str, str] = {}
    (definition,) = ast.parse(inspect.getsource(model)).body
    assert isinstance(definition, ast.ClassDef)
    for field, note in zip(definition.body, definition.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(note, ast.Expr) and isinstance(note.value, ast.Constant) and isinstance(note.value.value, str):
            info = model.model_fields.get(field.target.id)
            if info is not None:
                notes[info.alias or field.target.id] = " ".join(inspect.cleandoc(note.value.value).split())
    return notes


def _describe(schema: Document, notes: dict[str, str]) -> None:
    for name, note in notes.items():
        if name in schema.get("properties", {}):
            schema["properties"][name].setdefault("description", note)


def _sort_sets(node: Any) -> None:
    """Put the defaults of sets in order: Python's own differs from one process to the next."""
    if isinstance(node, dict):
        if node.get("uniqueItems") and isinstance(node.get("default"), list):
            node["default"] = sorted(node["default"], key=json.dumps)
        for value in node.values():
            _sort_sets(value)
    elif isinstance(node, list):
        for value in node:
            _sort_sets(value)


if __name__ == "__main__":
    sys.exit(main())
