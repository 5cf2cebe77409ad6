"""A plugin's folder as the rules read it: its project file, its code, its fixtures, and the classes it registers."""

from __future__ import annotations

import ast
import gc
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import pluggy

from gateway_schemas import hookspecs
from gateway_schemas.plugin import Plugin
from gateway_schemas.policy import Policy

Role = Literal["source", "helpdesk", "policy", "enricher", "reader"]
HOOKS: dict[Role, str] = {
    "source": "register_sources",
    "helpdesk": "register_helpdesks",
    "policy": "register_policies",
    "enricher": "register_enrichers",
    "reader": "register_readers",
}
TALKING: frozenset[Role] = frozenset({"source", "helpdesk"})
"""The roles that have a provider: fixtures, a twin, a configuration to connect with."""


class NotAPlugin(Exception):
    """The folder holds no plugin, or one that cannot be loaded. The message names the file and the mend."""


@dataclass(frozen=True)
class Registered:
    """One class that the plugin gives the host."""

    role: Role
    cls: type[Any]

    @property
    def name(self) -> str:
        """What it is called: `name`, or a policy's `type`."""
        return str(getattr(self.cls, "type" if self.role == "policy" else "name", self.cls.__name__))


@dataclass(frozen=True)
class Package:
    """One plugin's folder."""

    folder: Path

    @cached_property
    def document(self) -> dict[str, Any]:
        """`pyproject.toml`. Raises NotAPlugin."""
        path = self.folder / "pyproject.toml"
        try:
            return tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise NotAPlugin(f"{self.folder} has no pyproject.toml: name the folder of a plugin") from None
        except tomllib.TOMLDecodeError as error:
            raise NotAPlugin(f"{path}: {error}") from None

    @property
    def project(self) -> dict[str, Any]:
        """Its `[project]` table."""
        table: dict[str, Any] = self.document.get("project", {})
        return table

    @property
    def exempt(self) -> dict[str, str]:
        """Rules that do not fit this plugin, with the reason: `[tool.helpdesk-gateway.exempt]`."""
        table: dict[str, str] = self.document.get("tool", {}).get("helpdesk-gateway", {}).get("exempt", {})
        return table

    @property
    def entry_points(self) -> dict[str, str]:
        """The modules that it registers, by name."""
        return dict(self.project.get("entry-points", {}).get(hookspecs.ENTRY_POINTS, {}))

    @property
    def twins(self) -> dict[str, str]:
        """The twins that it ships, by name: `gateway_acme.twin:AcmeTwin`."""
        return dict(self.project.get("entry-points", {}).get("helpdesk_gateway.twins", {}))

    @property
    def import_name(self) -> str:
        """The name of its package. Raises NotAPlugin where no entry point says one."""
        for module in self.entry_points.values():
            return module.partition(".")[0].partition(":")[0]
        raise NotAPlugin(
            f'{self.folder / "pyproject.toml"} has no [project.entry-points."{hookspecs.ENTRY_POINTS}"]: the host finds'
            " plugins by it"
        )

    @property
    def source(self) -> Path:
        """The folder of its package."""
        return self.folder / self.import_name

    @property
    def modules(self) -> list[Path]:
        """Its Python files."""
        return sorted(self.source.rglob("*.py"))

    @property
    def product(self) -> list[Path]:
        """Its Python files without those of the twin."""
        return [path for path in self.modules if not path.stem.startswith("twin")]

    @property
    def tests(self) -> list[Path]:
        """The Python files of its tests."""
        return sorted((self.folder / "tests").rglob("*.py"))

    @property
    def fixtures(self) -> list[Path]:
        """What was received, in `fixtures/in`, without the goldens."""
        return sorted(
            path
            for path in (self.folder / "fixtures" / "in").rglob("*")
            if path.is_file() and not path.name.startswith(".") and not path.name.endswith(".golden.json")
        )

    @property
    def readme(self) -> str:
        """`README.md`; empty where there is none."""
        path = self.folder / "README.md"
        return path.read_text("utf-8") if path.is_file() else ""

    @cached_property
    def registered(self) -> tuple[Registered, ...]:
        """The classes that its hooks give. Raises NotAPlugin where it cannot be loaded."""
        found: list[Registered] = []
        for name, module in self.entry_points.items():
            manager = pluggy.PluginManager(hookspecs.PROJECT)
            manager.add_hookspecs(hookspecs)
            manager.register(self.load(module), name=name)
            manager.check_pending()
            found += [
                Registered(role, cls)
                for role, hook in HOOKS.items()
                for classes in getattr(manager.hook, hook)()
                for cls in classes or ()
            ]
        if not found:
            raise NotAPlugin(f"{self.import_name} registers nothing: implement {', '.join(HOOKS.values())}")
        return tuple(found)

    @property
    def talking(self) -> list[type[Plugin[Any]]]:
        """Its sources and helpdesks."""
        return [one.cls for one in self.registered if one.role in TALKING]

    @property
    def policies(self) -> list[type[Policy[Any]]]:
        """Its types of policies."""
        return [one.cls for one in self.registered if one.role == "policy"]

    def load(self, named: str) -> Any:
        """Import `module` or `module:attribute` from this folder. Raises NotAPlugin."""
        module, _, attribute = named.partition(":")
        if str(self.folder) not in sys.path:
            sys.path.insert(0, str(self.folder))
        try:
            loaded = importlib.import_module(module)
            place = Path(loaded.__file__ or "").resolve()
            if not place.is_relative_to(self.folder.resolve()):
                raise NotAPlugin(f"{module} was loaded from {place.parent}, not from {self.folder}: uninstall that one")
            return getattr(loaded, attribute) if attribute else loaded
        except (ImportError, AttributeError, SyntaxError) as error:
            raise NotAPlugin(f"{named} cannot be loaded: {type(error).__name__}: {error}") from error

    def relative(self, path: Path) -> str:
        """The path as findings name it."""
        return path.relative_to(self.folder).as_posix()

    def requirements(self, extra: str | None = None) -> set[str]:
        """The distributions that it depends on, or that one of its extras adds."""
        if extra is None:
            return {canonical(line) for line in self.project.get("dependencies", ())}
        return {canonical(line) for line in self.project.get("optional-dependencies", {}).get(extra, ())}


def canonical(requirement: str) -> str:
    """The name of a requirement as indexes compare it."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
    return re.sub(r"[-_.]+", "-", name[0]).lower() if name else ""


@cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    # a collection may run Python code within the parser, which CPython 3.11 answers with a SystemError (its bug 106905)
    gc.disable()
    try:
        return ast.parse(path.read_text("utf-8"), filename=str(path))
    finally:
        gc.enable()


def called(node: ast.AST) -> str:
    """The last name of `a.b.c` or `a.b.c(…)`, else nothing."""
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a chain of names, called or not; nothing of anything else."""
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every absolute import; `from a import b` gives `a.b`."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) in ("import_module", "__import__"):
            argument = node.args[0] if node.args else None
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield node.lineno, argument.value
