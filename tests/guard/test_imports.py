"""Who may import whom, read from the code: an editable checkout makes forbidden imports work by accident."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from support.repository import (
    CONTRACT,
    DISTRIBUTIONS,
    GATEWAY,
    PLUGINS,
    Distribution,
    canonical,
    parse,
    relative,
    report,
)

HTTP_CLIENTS = {"aiohttp", "http.client", "httpcore2", "httpx", "httpx2", "requests", "urllib.request", "urllib3"}

CLIENT_CLASSES = {"Client", "AsyncClient", "HTTPTransport", "AsyncHTTPTransport"}

# Released in lockstep and documented as one: whoever declares the one has declared the other.
HALVES = {"pydantic-core": "pydantic"}

BUILT_AT_RUN_TIME = {
    *("create_engine", "create_async_engine", "sessionmaker", "async_sessionmaker", "Session", "AsyncSession"),
    *("ConnectionPool", "AsyncConnectionPool", *CLIENT_CLASSES),
    *("App", "FastAPI", "Starlette", "create_app", "PluginManager", "ProcessPool", "ThreadPool"),
    *("ProcessPoolExecutor", "ThreadPoolExecutor", "Settings", "get_settings", "load_settings", "PsycopgConnector"),
    *("Condition", "Event", "Lock", "Queue", "Semaphore", "get_event_loop", "new_event_loop"),
}


def names(distribution: Distribution) -> str:
    return distribution.name


def imports(path: Path, *, types_too: bool = True) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every absolute import; `from a import b` gives `a.b`."""
    pending: list[ast.AST] = [parse(path)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) in ("import_module", "__import__"):
            argument = node.args[0] if node.args else None
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield node.lineno, argument.value
        if isinstance(node, ast.If) and not types_too and called(node.test) == "TYPE_CHECKING":
            pending.extend(node.orelse)
        else:
            pending.extend(ast.iter_child_nodes(node))


def called(node: ast.AST) -> str:
    """The last name of `a.b.c` or `a.b.c(…)`, else nothing."""
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


@cache
def providers(module: str) -> frozenset[str]:
    """The distributions that the top-level module may come from."""
    for distribution in DISTRIBUTIONS:
        if module == distribution.package:
            return frozenset({canonical(distribution.name)})
    found = {canonical(name) for name in _installed().get(module, ())}
    return frozenset(HALVES.get(name, name) for name in found)


@cache
def _installed() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


def allowed(distribution: Distribution, path: Path) -> set[str]:
    """The distributions that this file may import from: those declared, and in testing aids those of the extra."""
    found = {canonical(distribution.name), *distribution.requires()}
    if distribution in PLUGINS:
        found |= CONTRACT.requires()  # the contract is written in pydantic and hands out the HTTP client
        if path.stem.startswith("twin"):
            found |= CONTRACT.requires("testing") | distribution.requires("twin")
    elif distribution == GATEWAY and path.parent.name == "tracing":
        found |= GATEWAY.requires("traces")
    elif distribution == CONTRACT and "testing" in path.relative_to(CONTRACT.source).parts:
        found |= CONTRACT.requires("testing")
    return found


def undeclared(distribution: Distribution) -> Iterator[str]:
    for path in distribution.modules():
        for line, name in imports(path):
            module = name.partition(".")[0]
            if module in sys.stdlib_module_names:
                continue
            if not providers(module) & allowed(distribution, path):
                yield f"{relative(path)}:{line} imports {name}"


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=names)
def test_imports_only_what_it_declares(distribution: Distribution) -> None:
    """A plugin sees the contract, the gateway sees no plugin, the contract sees neither; the rest is declared."""
    found = list(undeclared(distribution))
    assert not found, report(found, "declare it in pyproject.toml, or do without")


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=names)
def test_no_dependency_points_the_wrong_way(distribution: Distribution) -> None:
    """What a distribution declares could be imported, so the declaration is checked as well."""
    ours = {canonical(each.name) for each in DISTRIBUTIONS}
    contract = canonical(CONTRACT.name)
    assert distribution.requires() & ours == (set() if distribution == CONTRACT else {contract})


def test_only_net_opens_connections() -> None:
    """Time-outs, budgets and the guard against inner addresses sit in gateway/net; a client elsewhere has none."""
    net = GATEWAY.source / "net"
    found = [
        f"{relative(path)}:{line} imports {name}"
        for path in GATEWAY.modules()
        if net not in path.parents
        for line, name in imports(path, types_too=False)
        if any(name == client or name.startswith(f"{client}.") for client in HTTP_CLIENTS)
    ]
    assert not found, report(found, "ask gateway.net for a client, or import the type under TYPE_CHECKING")


def test_plugins_build_no_client() -> None:
    """A plugin's client is injected: with limits, in the right time, and closed by whoever opened it."""
    found = [
        f"{relative(path)}:{node.lineno} calls {called(node)}"
        for plugin in PLUGINS
        for path in plugin.modules()
        if not path.stem.startswith("twin")
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call) and called(node) in CLIENT_CLASSES
    ]
    assert not found, report(found, "use the client that the connection was given")


def at_import(tree: ast.Module) -> Iterator[ast.Call]:
    """Calls that run when the module is imported: outside functions and lambdas, though inside classes and defaults."""
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


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=names)
def test_nothing_is_built_at_import(distribution: Distribution) -> None:
    found = [
        f"{relative(path)}:{call.lineno} calls {called(call)}"
        for path in distribution.modules()
        for call in at_import(parse(path))
        if called(call) in BUILT_AT_RUN_TIME
    ]
    assert not found, report(found, "build it in a function and pass it on, as gateway.runtime does")
