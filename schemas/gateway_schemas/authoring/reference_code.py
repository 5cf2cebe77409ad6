"""One module as a chapter of the reference: its classes and functions, as they stand in the source.

The source is read and not the objects: it keeps the order, the notes below fields and the annotations as written.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from gateway_schemas.authoring.package import called, parse

Function = ast.FunctionDef | ast.AsyncFunctionDef


def module_page(module: ModuleType) -> str:
    """The chapter of one module, in Markdown."""
    tree = parse(Path(module.__file__ or ""))
    lines = [f"### `{module.__name__}`", "", *_prose(ast.get_docstring(tree)), ""]
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            lines += _class(node)
        elif isinstance(node, Function) and not node.name.startswith("_"):
            lines += [f"#### `{_signature(node)}`", "", *_prose(ast.get_docstring(node)), ""]
    lines += _constants(tree)
    return "\n".join(lines)


def _class(node: ast.ClassDef) -> Iterator[str]:
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    yield f'#### <a id="{node.name}"></a>`class {node.name}{f"({bases})" if bases else ""}`'
    yield ""
    yield from _prose(ast.get_docstring(node))
    yield ""
    fields = list(_fields(node.body))
    if fields:
        yield "| field | type | default | |"
        yield "|---|---|---|---|"
        for name, kind, default, note in fields:
            yield f"| `{name}` | {_code(kind)} | {_code(default)} | {note} |"
        yield ""
    for method in node.body:
        if not isinstance(method, Function) or (method.name.startswith("_") and method.name != "__init__"):
            continue
        decorators = {called(one) for one in method.decorator_list}
        if method.name == "__init__" and ast.get_docstring(method) is None:
            continue
        kinds = {"abstractmethod": "must be given", "property": "property", "classmethod": "class method"}
        marks = [word for name, word in kinds.items() if name in decorators]
        if "setter" in decorators:
            continue
        marked = f" ({', '.join(marks)})" if marks else ""
        yield f"- **`{_signature(method)}`**{marked}"
        yield ""
        for line in _prose(ast.get_docstring(method)):
            yield f"  {line}".rstrip()
        yield ""


def _fields(body: list[ast.stmt]) -> Iterator[tuple[str, str, str, str]]:
    """Annotated attributes with the note below each."""
    for node, after in zip(body, [*body[1:], None], strict=False):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        if node.target.id.startswith("_") or node.target.id == "model_config":
            continue
        note = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
            note = " ".join(inspect.cleandoc(after.value.value).split())
        default, described = _default(node.value)
        yield node.target.id, ast.unparse(node.annotation), default, _cell(note or described)


def _default(value: ast.expr | None) -> tuple[str, str]:
    """A field's default, and its description where `Field(…)` gives one."""
    if not isinstance(value, ast.Call) or called(value) not in ("Field", "field"):
        return (ast.unparse(value) if value is not None else ""), ""
    given = {one.arg: one.value for one in value.keywords}
    described = given.get("description")
    text = described.value if isinstance(described, ast.Constant) else ""
    if "default" in given:
        return ast.unparse(given["default"]), str(text)
    if "default_factory" in given:
        return f"{ast.unparse(given['default_factory'])}()", str(text)
    return "", str(text)


def _constants(tree: ast.Module) -> Iterator[str]:
    """Public constants that have a note."""
    found = []
    for node, after in zip(tree.body, tree.body[1:], strict=False):
        if not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)):
            continue
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            if isinstance(target, ast.Name) and not target.id.startswith("_") and isinstance(after.value.value, str):
                found.append(f"- `{target.id}`: {' '.join(after.value.value.split())}")
    if found:
        yield from [*found, ""]


def _signature(node: Function) -> str:
    """`async def name(a: int, *, b: str = "") -> None`, without self."""
    arguments = node.args
    first = [one.arg for one in (*arguments.posonlyargs, *arguments.args)][:1]
    written = ast.unparse(arguments)
    if first in (["self"], ["cls"]):
        written = written.removeprefix(first[0]).removeprefix(", ")
    result = f" -> {ast.unparse(node.returns)}" if node.returns is not None and node.name != "__init__" else ""
    prefix = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    return f"{prefix}{node.name}({written}){result}"


def _prose(text: str | None) -> list[str]:
    return text.splitlines() if text else []


def _code(text: str) -> str:
    return f"`{_cell(text)}`" if text else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
