"""Rules that read what belongs to a plugin besides its code: project file, classes, fixtures, README, twin."""

from __future__ import annotations

import fnmatch
import inspect
import json
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from gateway_schemas.authoring.kit import CONTRACTS, contract_tests
from gateway_schemas.authoring.package import TALKING, Package, Role
from gateway_schemas.authoring.rules import rule
from gateway_schemas.authoring.rules_of_code import CONTRACT
from gateway_schemas.capabilities import HelpdeskCapabilities, SourceCapabilities
from gateway_schemas.plugin import CONTRACT as VERSION
from gateway_schemas.plugin import Plugin
from gateway_schemas.source import Source

TESTED: frozenset[Role] = TALKING | {"policy"}
_SECRET = re.compile(
    r"(?:^|_)(?:secrets?|passwords?|passphrases?|tokens?|api_keys?|private_keys?|access_keys?|credentials?)$"
)
_HEADINGS = {
    "talking": ("What it does", "Connect", "Configuration", "Limits", "Faults it knows"),
}


@rule("bronze", "Registers classes that keep the contract")
def registers(package: Package) -> Iterator[str]:
    """The host finds the module by its entry point, calls its hooks once, and makes one instance for each connection.
    A class that lacks a method or speaks another version of the contract is listed as broken.
    """
    for one in package.registered:
        if inspect.isabstract(one.cls):
            yield f"{one.cls.__name__} lacks {', '.join(sorted(one.cls.__abstractmethods__))}"
        if getattr(one.cls, "contract", VERSION) != VERSION:
            yield f"{one.cls.__name__} is written for contract {one.cls.contract}; this is {VERSION}"
        for attribute in {"policy": ("type", "Params"), "reader": ("name", "version")}.get(
            one.role, ("name", "Config", "capabilities") if one.role in TALKING else ("name", "Config")
        ):
            if not hasattr(one.cls, attribute):
                yield f"{one.cls.__name__} does not set {attribute}"
    if len(package.talking) == 1 and package.talking[0].name not in package.entry_points:
        yield f"the entry point is not called {package.talking[0].name}, as the plugin is"


@rule("bronze", "Depends on one line of the contract")
def contract_bounded(package: Package) -> Iterator[str]:
    """`helpdesk-gateway-schemas>=0.1,<0.2`: the oldest version that it works with, and none that may break it."""
    lines = [line for line in package.project.get("dependencies", ()) if line.startswith(CONTRACT)]
    if not lines:
        yield f"pyproject.toml does not depend on {CONTRACT}"
    for line in lines:
        if ">=" not in line or "<" not in line.replace("<=", ""):
            yield f"pyproject.toml: {line} needs a lower and an upper bound"


@rule("bronze", "Types its secrets", roles=TALKING)
def secrets_typed(package: Package) -> Iterator[str]:
    """`SecretStr` fields are encrypted at rest, left out of answers, and never printed. A field whose name ends in
    secret, token, password, key of an API, or credentials holds one.
    """
    for cls in package.talking:
        for model in (cls.Config, cls.AppConfig):
            yield from _untyped(model, model.__name__, set())


@rule("bronze", "Has a README with the usual headings")
def readme(package: Package) -> Iterator[str]:
    """Whoever connects the plugin looks for the same things in the same places: What it does, Connect …,
    Configuration, Limits (stated honestly: what it cannot do), Faults it knows. A package of policies has a heading for
    each type instead, or is one.
    """
    if not package.readme.strip():
        yield "README.md is missing"
        return
    headings = [line.lstrip("#").strip() for line in package.readme.splitlines() if line.startswith("#")]
    if package.talking:
        for wanted in _HEADINGS["talking"]:
            if not any(heading.startswith(wanted) for heading in headings):
                yield f"README.md has no heading `## {wanted}`"
    for policy in package.policies:
        if not any(policy.type in heading for heading in headings) and f"`{policy.type}`" not in package.readme:
            yield f"README.md does not name the policy type {policy.type}"


@rule("bronze", "Has a contract test for every class", roles=TESTED)
def contract_test(package: Package) -> Iterator[str]:
    """A subclass of `SourceContract`, `HelpdeskContract` or `PolicyContract` for each class that the plugin registers:

    class TestAcme(SourceContract):
        plugin = AcmeSource
        fixtures = Path(__file__).parents[1] / "fixtures"
        adapter = AcmeAdapter
    """
    tests = list(contract_tests(package))
    for one in package.registered:
        base = CONTRACTS.get(one.role)
        if base and not any(test.base == base and test.plugin == one.cls.__name__ for test in tests):
            yield f"no class in tests/ is a {base} with `plugin = {one.cls.__name__}`"


@rule("bronze", "Passes the conformance kit", roles=TESTED)
def contract_passes(package: Package) -> Iterator[str]:
    """The kit plays the host, the customers and the accidents; each of its checks is named after the fault that it
    looks for and says how to mend it (`docs/kit/`). What the provider does not offer is skipped with its reason.
    """
    yield from ()  # found by running the tests; see `report.evaluate`


@rule("bronze", "Has a fixture for everything that it declares", roles=TALKING)
def fixture_for_every_event(package: Package) -> Iterator[str]:
    """What no recorded delivery shows, no test has seen. A fixture `fixtures/in/<event>__<case>` for each event that
    `events` in `[tool.helpdesk-gateway]` lists; an interaction of each kind that a source's capabilities name in some
    golden; a request (`.http`) where webhooks are declared and a page where polling is.
    """
    names = [path.name for path in package.fixtures]
    for event in package.document.get("tool", {}).get("helpdesk-gateway", {}).get("events", ()):
        if not any(name.startswith(f"{event}__") for name in names):
            yield f"fixtures/in has no {event}__…"
    requests = [name for name in names if name.endswith(".http")]
    shown = set(re.findall(r'"kind": "(\w+)"', _goldens(package)))
    for cls in package.talking:
        capabilities = getattr(cls, "capabilities", None)
        if not isinstance(capabilities, SourceCapabilities | HelpdeskCapabilities):
            continue
        if capabilities.webhook and not requests:
            yield f"{cls.name} declares webhooks, and fixtures/in has no request (.http)"
        if capabilities.poll and len(requests) == len(names):
            yield f"{cls.name} declares polling, and fixtures/in has no page"
        if isinstance(capabilities, SourceCapabilities):
            for kind in sorted(capabilities.kinds - shown):
                yield f"{cls.name} declares the kind {kind}, and no golden has one"


@rule("silver", "Says where its fixtures come from", roles=TALKING)
def sources_named(package: Package) -> Iterator[str]:
    """`fixtures/SOURCES.md` names for each fixture the provider's documentation that its shape is from, by file name or
    pattern in backticks (`post_*`): a fixture that was made up proves nothing.
    """
    path = package.folder / "fixtures" / "SOURCES.md"
    if not path.is_file():
        yield "fixtures/SOURCES.md is missing"
        return
    patterns = re.findall(r"`([^`\s]+)`", path.read_text("utf-8"))
    for fixture in package.fixtures:
        if not any(fnmatch.fnmatchcase(name, one) for one in patterns for name in _names(fixture.name)):
            yield f"fixtures/SOURCES.md does not say where {fixture.name} comes from"


@rule("silver", "Keeps the bytes of its fixtures", roles=TALKING)
def fixture_bytes(package: Package) -> Iterator[str]:
    """A signature is over bytes: `*.http -text` in a `.gitattributes` at or above the fixtures keeps git from changing
    the ends of lines.
    """
    if not any(fixture.suffix == ".http" for fixture in package.fixtures):
        return
    inside = package.folder / "fixtures" / "in"
    above = [inside, *inside.parents]
    found = [folder / ".gitattributes" for folder in above if (folder / ".gitattributes").is_file()]
    if not any(re.search(r"^\*\.http\s.*-text", path.read_text("utf-8"), re.MULTILINE) for path in found):
        yield "no .gitattributes says `*.http -text`"


@rule("silver", "Ships a twin", roles=TALKING)
def ships_twin(package: Package) -> Iterator[str]:
    """A twin is the provider on loopback, written from its documentation: the kit, the demo and whoever mends the
    plugin need it. It is named in `[project.entry-points."helpdesk_gateway.twins"]` under the plugin's name, and what
    it needs in the extra `twin`.
    """
    for cls in package.talking:
        if cls.name not in package.twins:
            yield f"pyproject.toml names no twin {cls.name}"
    extra = package.project.get("optional-dependencies", {}).get("twin", ())
    if package.twins and not any(re.match(rf"{CONTRACT}\[.*\btesting\b", line) for line in extra):
        yield f"pyproject.toml: the extra `twin` does not ask for {CONTRACT}[testing]"


@rule("silver", "Says which hosts it talks to", roles=TALKING)
def hosts_named(package: Package) -> Iterator[str]:
    """`hosts_of` names the base URLs of a connection; the host lets its requests go nowhere else."""
    for cls in package.talking:
        if cls.hosts_of.__func__ is Plugin.hosts_of.__func__:  # type: ignore[attr-defined]
            yield f"{cls.__name__} has no hosts_of"


@rule("silver", "Knows the provider's rate limits", roles=TALKING, exemptible=True)
def budgets_declared(package: Package) -> Iterator[str]:
    """`budgets`, or `budgets_of` where they go by plan, let the host spread calls and leave room for replies. Without
    them the first 429 in a crisis is how one learns of the limit.
    """
    for cls in package.talking:
        if not cls.budgets and cls.budgets_of.__func__ is Plugin.budgets_of.__func__:  # type: ignore[attr-defined]
            yield f"{cls.__name__} declares no budgets"


@rule("gold", "Describes every setting")
def settings_described(package: Package) -> Iterator[str]:
    """Every field of the configuration, or of a policy's parameters, has a description in its schema or a line in the
    README: an admin fills them in without reading code.
    """
    models = [model for cls in package.talking for model in (cls.Config, cls.AppConfig)]
    for model in [*models, *(policy.Params for policy in package.policies)]:
        for name, field in model.model_fields.items():
            if not field.description and not re.search(rf"[`\"]{name}[`\"]", package.readme):
                yield f"{model.__name__}.{name} is described neither in its schema nor in README.md"


@rule("gold", "Tells how long an answer may be", roles=frozenset({"source"}))
def limits_told(package: Package) -> Iterator[str]:
    """The README names every limit of text that the capabilities declare, in figures."""
    for cls in package.talking:
        if issubclass(cls, Source):
            for target, text in sorted(cls.capabilities.text.items()):
                if not {str(text.limit), f"{text.limit:,}"} & set(re.findall(r"\d[\d,]*\d|\d", package.readme)):
                    yield f"README.md does not say that a {target} may have {text.limit:,}"


@rule("gold", "Has a twin to play with", roles=TALKING)
def twin_plays(package: Package) -> Iterator[str]:
    """`gateway twin NAME` runs it: it can be made without arguments but `time` and `seed`, has `actions` that its page
    offers, `furnish` gives a configuration to connect with, and `snapshot` is JSON.
    """
    for name, place in package.twins.items():
        twin = package.load(place)(seed=1)
        if not twin.actions:
            yield f"{place} offers no actions"
        twin.url = "http://127.0.0.1:9001"
        try:
            given = twin.furnish()
        except TypeError as error:
            yield f"{place} has no furnish: {error}"
            continue
        cls = next((cls for cls in package.talking if cls.name == name), None)
        try:
            if cls is not None:
                cls.Config.model_validate(given.get("config", {}))
                cls.AppConfig.model_validate(given.get("app") or {})
        except ValidationError as error:
            yield f"{place}.furnish gives no valid configuration: {error.error_count()} errors in {error.title}"
        try:
            json.dumps(to_jsonable_python(twin.snapshot()))
        except (PydanticSerializationError, ValueError) as error:
            yield f"{place}.snapshot is no JSON: {error}"


@rule("gold", "Names its tests after itself")
def tests_named(package: Package) -> Iterator[str]:
    """`tests/test_acme_poll.py`: the tests of many plugins run side by side, and a report says whose it was."""
    words = {package.import_name.removeprefix("gateway_"), *(one.name for one in package.registered)}
    for path in package.tests:
        if path.name.startswith("test_") and package.talking and not any(word in path.stem for word in words):
            yield f"{package.relative(path)} is not called test_{min(words, key=len)}_…"
    if not package.tests:
        yield "there are no tests"


def _goldens(package: Package) -> str:
    folder = package.folder / "fixtures"
    return "".join(path.read_text("utf-8") for path in sorted(folder.rglob("*.json")) if _is_golden(path))


def _is_golden(path: Path) -> bool:
    return path.name.endswith(".golden.json") or path.parent.name == "golden"


def _names(name: str) -> tuple[str, ...]:
    stem = name.rpartition(".")[0]
    return (name, stem, f"in/{name}")


def _untyped(model: type[BaseModel], path: str, seen: set[type[BaseModel]]) -> Iterator[str]:
    if model in seen:
        return
    seen.add(model)
    for name, field in model.model_fields.items():
        parts = list(_parts(field.annotation))
        if _SECRET.search(name) and str in parts and not {SecretStr, SecretBytes} & set(parts):
            yield f"{path}.{name} holds a secret and is no SecretStr"
        for part in parts:
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _untyped(part, f"{path}.{name}", seen)


def _parts(annotation: Any) -> Iterator[Any]:
    """The classes that an annotation is made of."""
    origin = typing.get_origin(annotation)
    if origin in (Union, types.UnionType) or origin is not None:
        for one in typing.get_args(annotation):
            yield from _parts(one)
    else:
        yield annotation
