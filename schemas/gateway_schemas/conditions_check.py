"""Checks a condition's names, types and cost before it is ever evaluated."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gateway_schemas.conditions_parse import ConditionError, Node, parse

__all__ = ["Checked", "ConditionError", "Type", "check"]

NESTING_MOST = 2
"""How many of `all`, `exists`, `map`, … may stand within each other."""


@dataclass(frozen=True)
class Type:
    """A CEL type, with the fields of an object and the values of an enumeration."""

    name: str
    of: Type | None = None
    values: tuple[str, ...] = ()
    fields: Callable[[], Mapping[str, Type]] | None = field(default=None, compare=False)

    def __str__(self) -> str:
        words = {
            "double": "number",
            "int": "whole number",
            "string": "text",
            "bool": "true or false",
            "dyn": "anything",
        }
        if self.name == "list" and self.of is not None:
            return f"list of {self.of}"
        return words.get(self.name, self.name)


BOOL, INT, DOUBLE, STRING, DYN, NULL = (Type(name) for name in ("bool", "int", "double", "string", "dyn", "null"))
TIMESTAMP, DURATION = Type("timestamp"), Type("duration")
NUMBERS = ("int", "double")


def list_of(type: Type) -> Type:
    """A list of such members."""
    return Type("list", of=type)


def map_of(type: Type) -> Type:
    """Names and such values."""
    return Type("map", of=type)


def object_of(name: str, fields: Callable[[], Mapping[str, Type]]) -> Type:
    """A part of the case with these fields."""
    return Type(f"object {name}", fields=fields)


@dataclass(frozen=True)
class Checked:
    """What is known of a good condition."""

    text: str
    roots: frozenset[str]
    """The names that it begins its paths with."""
    members: Mapping[str, frozenset[str]]
    """Of `lists` and `facts`: which of them."""
    nested: bool
    """Whether it looks through a list for each member of another."""


WRITTEN_OUT = ("lists", "facts")
"""Parts of the case of which only what is named is loaded."""
MACROS = ("all", "exists", "exists_one", "map", "filter")
TIMES = ("getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getHours")
PARTS = (*TIMES, "getMinutes", "getSeconds", "getMilliseconds")
CONVERSIONS = {"int": INT, "double": DOUBLE, "string": STRING, "timestamp": TIMESTAMP, "duration": DURATION}
METHODS = ("contains", "startsWith", "endsWith", "matches", "size", *MACROS, *PARTS)
FUNCTIONS = ("has", "size", *CONVERSIONS)


def check(text: str, names: Mapping[str, Type], bad_pattern: Callable[[str], str | None]) -> Checked:
    """Check an expression that shall be true or false. Raises ConditionError with the place and, where near, the right
    word. `bad_pattern` says what is wrong with a regular expression."""
    checker = _Checker(text, names, bad_pattern)
    node = parse(text)
    found = checker.type_of(node, {})
    if found.name not in ("bool", "dyn"):
        raise ConditionError(f"a condition is true or false; this is {_a(found)}", node.at, text)
    members = {root: frozenset(names) for root, names in checker.members.items()}
    return Checked(text, frozenset(checker.roots), members, checker.nested)


class _Checker:
    def __init__(self, text: str, names: Mapping[str, Type], bad_pattern: Callable[[str], str | None]) -> None:
        self.text = text
        self.names = names
        self.bad_pattern = bad_pattern
        self.roots: set[str] = set()
        self.members: dict[str, set[str]] = {}
        self.nested = False
        self._within = 0

    def _fail(self, problem: str, node: Node) -> ConditionError:
        return ConditionError(problem, node.at, self.text)

    def type_of(self, node: Node, scope: Mapping[str, Type]) -> Type:
        match node.kind:
            case "literal":
                return self._literal(node)
            case "list":
                members = {self.type_of(part, scope) for part in node.parts}
                plain = {Type(one.name, of=one.of) for one in members}
                return list_of(plain.pop() if len(plain) == 1 else DYN)
            case "map":
                for part in node.parts:
                    self.type_of(part, scope)
                return map_of(DYN)
            case "name":
                return self._name(node, scope)
            case "field":
                return self._field(node, self.type_of(node.parts[0], scope))
            case "index":
                return self._index(node, scope)
            case "if":
                self._want(node.parts[0], scope, "bool")
                yes, no = (self.type_of(part, scope) for part in node.parts[1:])
                return yes if yes.name == no.name else DYN
            case "op":
                return self._op(node, scope)
        return self._call(node, scope)

    def _literal(self, node: Node) -> Type:
        if isinstance(node.value, bool):
            return BOOL
        if isinstance(node.value, str):
            return Type("string", values=(node.value,))
        return INT if isinstance(node.value, int) else DOUBLE if isinstance(node.value, float) else NULL

    def _name(self, node: Node, scope: Mapping[str, Type]) -> Type:
        name = str(node.value)
        if name in scope:
            return scope[name]
        if name not in self.names:
            holders = [root for root, type in self.names.items() if type.fields is not None and name in type.fields()]
            near = f"; did you mean {holders[0]}.{name}?" if holders else _near(name, self.names)
            raise self._fail(f"there is no {name}{near}", node)
        self.roots.add(name)
        return self.names[name]

    def _field(self, node: Node, target: Type) -> Type:
        name = str(node.value)
        if target.name == "dyn":
            return DYN
        if target.name == "map":
            self._member(node.parts[0], name)
            return target.of or DYN
        if target.fields is None:
            raise self._fail(f"{_a(target)} has no field {name}", node)
        fields = target.fields()
        if name not in fields:
            what = target.name.removeprefix("object ")
            raise self._fail(f"{what} has no field {name}{_near(name, fields)}", node)
        return fields[name]

    def _index(self, node: Node, scope: Mapping[str, Type]) -> Type:
        target = self.type_of(node.parts[0], scope)
        if target.name == "list":
            self._want(node.parts[1], scope, "int")
            return target.of or DYN
        if target.name == "map":
            self._want(node.parts[1], scope, "string")
            if node.parts[0].kind == "name" and node.parts[0].value in WRITTEN_OUT:
                if node.parts[1].kind != "literal":
                    raise self._fail(f"which of the {node.parts[0].value} is written out: lists.vips", node.parts[1])
                self._member(node.parts[0], str(node.parts[1].value))
            return target.of or DYN
        if target.name != "dyn":
            raise self._fail(f"{_a(target)} has no members to take one of", node)
        self.type_of(node.parts[1], scope)
        return DYN

    def _member(self, parent: Node, name: str) -> None:
        if parent.kind == "name" and parent.value in WRITTEN_OUT:
            self.members.setdefault(str(parent.value), set()).add(name)

    def _want(self, node: Node, scope: Mapping[str, Type], *wanted: str) -> Type:
        found = self.type_of(node, scope)
        if found.name not in (*wanted, "dyn"):
            raise self._fail(f"{' or '.join(_a(Type(one)) for one in wanted)} is needed; this is {_a(found)}", node)
        return found

    def _op(self, node: Node, scope: Mapping[str, Type]) -> Type:
        operator = str(node.value)
        if operator in ("&&", "||") or (operator == "!" and len(node.parts) == 1):
            for part in node.parts:
                self._want(part, scope, "bool")
            return BOOL
        if len(node.parts) == 1:
            return self._want(node.parts[0], scope, "int", "double", "duration")
        left, right = (self.type_of(part, scope) for part in node.parts)
        if operator in ("==", "!="):
            return self._equal(node, left, right)
        if operator == "in":
            return self._in(node, left, right)
        if "dyn" in (left.name, right.name):
            return BOOL if operator in ("<", "<=", ">", ">=") else DYN
        if operator in ("<", "<=", ">", ">="):
            comparable = left.name == right.name or (left.name in NUMBERS and right.name in NUMBERS)
            if comparable and (left.name in NUMBERS or left.name in ("string", "timestamp", "duration")):
                return BOOL
            raise self._fail(f"{_a(left)} cannot be compared with {_a(right)}", node)
        return self._arithmetic(node, operator, left, right)

    def _equal(self, node: Node, left: Type, right: Type) -> Type:
        if "null" in (left.name, right.name):
            raise self._fail("what is absent is asked after with has(…), not compared with null", node)
        numbers = left.name in NUMBERS and right.name in NUMBERS
        if left.name != right.name and not numbers and "dyn" not in (left.name, right.name):
            raise self._fail(f"{_a(left)} never equals {_a(right)}", node)
        self._known_value(node, left, right)
        return BOOL

    def _in(self, node: Node, left: Type, right: Type) -> Type:
        if right.name not in ("list", "map", "dyn"):
            raise self._fail(f"in needs a list or a map on its right; this is {_a(right)}", node)
        member = right.of if right.name == "list" else STRING
        if member is not None and right.name != "dyn":
            numbers = left.name in NUMBERS and member.name in NUMBERS
            if left.name != member.name and not numbers and "dyn" not in (left.name, member.name):
                raise self._fail(f"{_a(left)} is never in {_a(right)}", node)
            self._known_value(node, left, member)
        if node.parts[1].kind == "list":
            for part in node.parts[1].parts:
                self._known_value(part, left, self.type_of(part, {}) if part.kind == "literal" else DYN)
        return BOOL

    def _known_value(self, node: Node, left: Type, right: Type) -> None:
        """A word compared with one of a few must be one of them."""
        for few, one in ((left, right), (right, left)):
            words = few.name == one.name == "string" and len(few.values) > 1 and len(one.values) == 1
            if words and one.values[0] not in few.values:
                raise self._fail(f"it is never {one.values[0]!r}{_near(one.values[0], few.values)}", node)

    def _arithmetic(self, node: Node, operator: str, left: Type, right: Type) -> Type:
        pair = (left.name, right.name)
        if left.name == right.name and left.name in NUMBERS and not (operator == "%" and left.name == "double"):
            return left
        if operator == "+" and left.name == right.name and left.name in ("string", "list"):
            return Type(left.name, of=left.of)
        if operator in "+-" and pair == ("duration", "duration"):
            return DURATION
        if operator in "+-" and pair == ("timestamp", "duration"):
            return TIMESTAMP
        if operator == "-" and pair == ("timestamp", "timestamp"):
            return DURATION
        hint = "; write double(…) round the whole number" if set(pair) == set(NUMBERS) else ""
        raise self._fail(f"{operator} does not go with {_a(left)} and {_a(right)}{hint}", node)

    def _call(self, node: Node, scope: Mapping[str, Type]) -> Type:
        name = str(node.value)
        if node.method and name in MACROS:
            return self._macro(node, scope)
        if name == "has" and not node.method:
            if len(node.parts) != 1 or node.parts[0].kind != "field":
                raise self._fail("has asks after a field: has(interaction.rating)", node)
            self.type_of(node.parts[0], scope)
            return BOOL
        if name == "size" and len(node.parts) == 1:
            found = self.type_of(node.parts[0], scope)
            if found.name not in ("list", "map", "dyn"):
                raise self._fail(f"size counts the members of a list or a map; this is {_a(found)}", node)
            return INT
        if node.method and name in ("contains", "startsWith", "endsWith", "matches") and len(node.parts) == 2:
            self._want(node.parts[0], scope, "string")
            self._want(node.parts[1], scope, "string")
            if name == "matches":
                self._pattern(node.parts[1])
            return BOOL
        if node.method and name in PARTS and len(node.parts) == 1:
            wanted = ("timestamp",) if name in TIMES[:-1] else ("timestamp", "duration")
            self._want(node.parts[0], scope, *wanted)
            return INT
        if not node.method and name in CONVERSIONS and len(node.parts) == 1:
            self.type_of(node.parts[0], scope)
            self._constant(name, node.parts[0])
            return CONVERSIONS[name]
        if name in (METHODS if node.method else FUNCTIONS):
            raise self._fail(
                f"{name} is given {len(node.parts) - node.method} arguments, which is not how it works", node
            )
        raise self._fail(f"there is no function {name}{_near(name, METHODS if node.method else FUNCTIONS)}", node)

    def _constant(self, name: str, given: Node) -> None:
        if name == "duration" and isinstance(given.value, str) and given.kind == "literal":
            units = given.value.lstrip("-").replace("ms", "m")
            if not units or set(units) - set("0123456789.hms"):
                raise self._fail('a duration is written "90m", "1h30m" or "45s"', given)

    def _pattern(self, node: Node) -> None:
        if node.kind != "literal":
            raise self._fail("matches takes a pattern that is written out", node)
        problem = self.bad_pattern(node.value)
        if problem is not None:
            raise self._fail(f"the pattern cannot be used: {problem}", node)

    def _macro(self, node: Node, scope: Mapping[str, Type]) -> Type:
        name = str(node.value)
        if len(node.parts) != 3 or node.parts[1].kind != "name":
            raise self._fail(f"{name} is written list.{name}(x, …)", node)
        target = self._want(node.parts[0], scope, "list", "map")
        variable = str(node.parts[1].value)
        if variable in self.names or variable in scope:
            raise self._fail(f"{variable} has a meaning already; take another name", node.parts[1])
        member = STRING if target.name == "map" else target.of or DYN
        self._within += 1
        if self._within > NESTING_MOST:
            raise self._fail(f"more than {NESTING_MOST} of {', '.join(MACROS)} stand within each other", node)
        self.nested = self.nested or self._within > 1
        inner = {**scope, variable: member}
        found = self.type_of(node.parts[2], inner) if name == "map" else self._want(node.parts[2], inner, "bool")
        self._within -= 1
        if name == "map":
            return list_of(found)
        return list_of(member) if name == "filter" else BOOL


def _a(found: Type) -> str:
    if found.name.startswith("object "):
        return f"{found.name.removeprefix('object ')} as a whole"
    if found.name in ("bool", "dyn"):
        return str(found)
    if found.name == "null":
        return "null"
    return f"a {found}"


def _near(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; there is {', '.join(names)}" if len(names) <= 30 else ""
