"""Rules that read the code of a plugin."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from functools import cache

from gateway_schemas.authoring.package import Package, called, canonical, dotted, imports, parse
from gateway_schemas.authoring.rules import rule

CONTRACT = "helpdesk-gateway-schemas"
_HALVES = {"pydantic-core": "pydantic"}  # released in lockstep and documented as one
_CLIENTS = {"Client", "AsyncClient", "HTTPTransport", "AsyncHTTPTransport", "ClientSession", "PoolManager", "Session"}
_CLIENT_MODULES = {"aiohttp", "requests", "urllib3", "http.client", "urllib.request", "pycurl", "httpcore2"}
_BUILT = {
    *("create_engine", "create_async_engine", "Lock", "Event", "Queue", "Semaphore", "Condition", "ThreadPoolExecutor"),
    *("ProcessPoolExecutor", "get_event_loop", "new_event_loop", "Starlette", "FastAPI", "PluginManager", *_CLIENTS),
}
_CLOCKS = {
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "datetime.datetime.now", "time.time"),
    *("datetime.datetime.utcnow", "datetime.date.today", "time.time_ns", "time.localtime", "time.gmtime"),
}
_BLOCKING = {"time.sleep", "subprocess.run", "subprocess.check_output", "os.system", "socket.create_connection"}
_LATER = "NotImplemented" + "Error"
_UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")


@rule("bronze", "Imports only the contract and what it declares")
def imports_declared(package: Package) -> Iterator[str]:
    """A plugin sees the contract and its own dependencies, never the gateway: the gateway may change at any time.

    An import that happens to work on your machine fails on another one. Declare the distribution in `dependencies`
    (what only the twin needs, in the extra `twin`), or do without.
    """
    for path in package.modules:
        allowed = {canonical(package.project.get("name", "")), CONTRACT, *package.requirements(), *_contract_needs()}
        if path.stem.startswith("twin"):
            allowed |= package.requirements("twin") | _contract_needs("testing")
        for line, name in imports(path):
            module = name.partition(".")[0]
            if module in sys.stdlib_module_names or module == package.import_name:
                continue
            if not _providers(module) & allowed:
                yield f"{package.relative(path)}:{line} imports {name}"


@rule("bronze", "Constructs no HTTP client")
def no_client(package: Package) -> Iterator[str]:
    """The host injects `self.http`: with the connection's budgets, time-outs, size limit and guard against inner
    addresses. A client of your own has none of them. Twins may have one, for their webhooks.
    """
    for path in package.product:
        for line, name in imports(path):
            if any(name == one or name.startswith(f"{one}.") for one in _CLIENT_MODULES):
                yield f"{package.relative(path)}:{line} imports {name}"
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Call) and called(node) in _CLIENTS:
                yield f"{package.relative(path)}:{node.lineno} calls {called(node)}"


@rule("silver", "Tells the time by the connection's clock")
def one_source_of_time(package: Package) -> Iterator[str]:
    """Use `self.setup.time.now()`, a request's `received_at`, or a twin's `self.time`: the demo, replays of old data
    and the kit run on a time of their own, and a signature that another clock judges is refused.
    """
    for path in package.modules:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Call) and dotted(node) in _CLOCKS:
                yield f"{package.relative(path)}:{node.lineno} asks {dotted(node)}"


@rule("silver", "Waits for nothing in a blocking way")
def nothing_blocks(package: Package) -> Iterator[str]:
    """One process serves many connections: what blocks, delays them all. Await `self.http`, or give the work up."""
    for path in package.product:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Call) and dotted(node) in _BLOCKING:
                yield f"{package.relative(path)}:{node.lineno} calls {dotted(node)}"


@rule("silver", "Swallows no exception that it does not know")
def no_broad_except(package: Package) -> Iterator[str]:
    """`except Exception` hides bugs from the host, which records each as the plugin's own. Catch what you expect, and
    raise the error of `gateway_schemas.errors` that says how to recover.
    """
    for path in package.product:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ExceptHandler):
                caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
                if any(one is None or called(one) in ("Exception", "BaseException") for one in caught):
                    yield f"{package.relative(path)}:{node.lineno} catches everything"


@rule("silver", "Builds nothing when it is imported")
def nothing_at_import(package: Package) -> Iterator[str]:
    """The host imports every plugin at start, in every process: a lock, a loop or a client made then belongs to the
    wrong one. Make it in a function.
    """
    for path in package.modules:
        for call in _at_import(parse(path)):
            if called(call) in _BUILT:
                yield f"{package.relative(path)}:{call.lineno} calls {called(call)}"


@rule("silver", "Is finished")
def finished(package: Package) -> Iterator[str]:
    """What is not there yet is left out, and the README says so: a marker in the code helps nobody who runs it."""
    for path in package.modules:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if found := _UNFINISHED.search(line):
                yield f"{package.relative(path)}:{number} says {found[0]}"
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Raise) and node.exc is not None and called(node.exc) == _LATER:
                yield f"{package.relative(path)}:{node.lineno} raises {_LATER}"


@rule("gold", "Is typed throughout")
def typed(package: Package) -> Iterator[str]:
    """Type checkers of whoever uses the package read it: `py.typed` beside the code, and annotations on every
    parameter and result.
    """
    if not (package.source / "py.typed").is_file():
        yield f"{package.import_name}/py.typed is missing"
    for path in package.modules:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                given += [one for one in (node.args.vararg, node.args.kwarg) if one is not None]
                bare = [one.arg for one in given if one.annotation is None and one.arg not in ("self", "cls")]
                if bare or node.returns is None:
                    lacks = ", ".join(bare) or "its result"
                    yield f"{package.relative(path)}:{node.lineno} {node.name} has no type for {lacks}"


@rule("gold", "Says what its parts do")
def described(package: Package) -> Iterator[str]:
    """Every module, public class and public function begins with a docstring, whose first line says what it does and
    when it is called. The endpoints of a twin are described by the provider: its methods may do without.
    """
    for path in package.modules:
        tree = parse(path)
        if path.stem != "__init__" and not ast.get_docstring(tree):
            yield f"{package.relative(path)}:1 the module has no docstring"
        for node in _public(tree, methods=path in package.product):
            if not ast.get_docstring(node):
                yield f"{package.relative(path)}:{node.lineno} {node.name} has no docstring"


def _public(
    tree: ast.Module | ast.ClassDef, *, methods: bool
) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        decorators = {called(one) for one in node.decorator_list}
        if decorators & {"overload", "setter"}:
            continue
        yield node
        if isinstance(node, ast.ClassDef) and methods:
            yield from _public(node, methods=True)


def _at_import(tree: ast.Module) -> Iterator[ast.Call]:
    """Calls that run when the module is imported: outside functions, though inside classes and defaults."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            pending.extend(default for default in (*node.args.defaults, *node.args.kw_defaults) if default is not None)
            pending.extend(getattr(node, "decorator_list", ()))
            continue
        if isinstance(node, ast.If) and "__main__" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Call):
            yield node
        pending.extend(ast.iter_child_nodes(node))


def _providers(module: str) -> set[str]:
    """The distributions that the top-level module may come from."""
    if module == "gateway_schemas":
        return {CONTRACT}
    found = {canonical(name) for name in _installed().get(module, ())}
    return {_HALVES.get(name, name) for name in found} or {canonical(module)}


@cache
def _installed() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


@cache
def _contract_needs(extra: str | None = None) -> frozenset[str]:
    """What the contract itself is written in and hands out: pydantic, the client's types; for twins, starlette."""
    found = set()
    for line in importlib.metadata.requires(CONTRACT) or ():
        requirement, _, marker = line.partition(";")
        named = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
        if (named[1] if named else None) in (None, extra):
            found.add(canonical(requirement))
    return frozenset(found)
