"""What ought to become of a recording, by the network's rules alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.demo.recordings import RecordingBroken, Tree, beyond_reach, by_matter, load

Said = tuple[str, str, str]
"""Id, author (`Acme` is the company), text."""


def conversation(*said: Said, company: str = "Acme", name: str = "a") -> dict[str, Any]:
    messages = [
        {
            "id": id,
            "from": "agent" if author == company else "customer",
            "author": author,
            "at": f"2020-03-01T10:{int(id):02}:00Z",
            "text": text,
        }
        for id, author, text in said
    ]
    return {"id": name, "company": company, "messages": messages}


def trees(folder: Path, *conversations: dict[str, Any]) -> tuple[Tree, ...]:
    path = folder / "recording.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in conversations), "utf-8")
    return load(path).trees


def ways(tree: Tree) -> list[str]:
    return [message.way for message in tree.messages]


def brings(tree: Tree) -> list[list[str]]:
    return [[one.id for one in message.brings] for message in tree.messages]


def test_whoever_names_the_company_is_answered_in_the_helpdesk(tmp_path: Path) -> None:
    (tree,) = trees(tmp_path, conversation(("1", "c1", "@acme help"), ("2", "Acme", "here"), ("3", "c1", "thanks")))
    assert ways(tree) == ["customer", "helpdesk", "customer"]
    assert brings(tree) == [["1"], [], ["3"]], "an answer to the company is told without its name"


def test_whoever_does_not_is_answered_on_the_network_and_becomes_a_matter(tmp_path: Path) -> None:
    (tree,) = trees(tmp_path, conversation(("1", "c1", "it rains"), ("2", "Acme", "sorry"), ("3", "c1", "ok")))
    assert ways(tree) == ["customer", "native", "customer"]
    assert brings(tree) == [[], ["1"], ["3"]]
    assert set(tree.matters) == {"c1"}


def test_earlier_posts_come_with_the_one_that_names_the_company(tmp_path: Path) -> None:
    said = [(str(n), "c1", "no name") for n in range(1, 4)]
    (tree,) = trees(tmp_path, conversation(*said, ("4", "c1", "@Acme now"), ("5", "Acme", "here")))
    assert brings(tree)[3] == ["2", "3", "4"], "its parent is fetched and brings its own parent; no further"
    assert [message.id for message in beyond_reach(tree)] == ["1"]
    assert [message.id for message in by_matter(tree)["c1"]] == ["2", "3", "4"]


def test_a_stranger_whom_a_customer_answers_is_context(tmp_path: Path) -> None:
    (tree,) = trees(tmp_path, conversation(("1", "c1", "look"), ("2", "c2", "@Acme you too?"), ("3", "Acme", "yes")))
    assert (tree.context_authors, set(tree.matters)) == ({"c1"}, {"c2"})
    assert brings(tree) == [[], ["2"], []]


def test_conversations_that_share_posts_are_one_tree(tmp_path: Path) -> None:
    one = conversation(("1", "c1", "@Acme a"), ("2", "Acme", "b"), ("3", "c1", "c"), name="one")
    two = conversation(("1", "c1", "@Acme a"), ("2", "Acme", "b"), ("4", "c2", "d"), name="two")
    (tree,) = trees(tmp_path, one, two)
    assert [(message.id, message.parent.id if message.parent else None) for message in tree.messages] == [
        ("1", None),
        ("2", "1"),
        ("3", "2"),
        ("4", "2"),
    ]
    assert set(tree.matters) == {"c1", "c2"}


def test_texts_are_as_their_authors_typed_them(tmp_path: Path) -> None:
    (tree,) = trees(tmp_path, conversation(("1", "c1", "@Acme me &amp; you &lt;3")))
    assert tree.messages[0].text == "@Acme me & you <3"


def test_a_company_that_is_only_named_gets_the_matter(tmp_path: Path) -> None:
    other = conversation(("5", "c1", "@Other hello"), ("6", "Other", "hi"), company="Other", name="b")
    first, _ = trees(tmp_path, conversation(("1", "c1", "@Other is worse"), ("2", "Acme", "sorry"), name="a"), other)
    assert first.matters == {"c1": frozenset({"Other"})}
    assert ways(first) == ["customer", "native"], "Acme's people do not see it in their helpdesk"


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"id": "a"}',
        json.dumps(conversation(("1", "c1", "x"), company="not a handle")),
        json.dumps(conversation()),
        json.dumps(conversation(("1", "c1", "x"))).replace("Z", ""),
        json.dumps(conversation(("1", "c1", "x"))).replace('"id": "1"', '"id": "one"'),
        json.dumps(conversation(("1", "c1", "x"))).replace('"customer"', '"bystander"'),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "recording.jsonl"
    path.write_text(json.dumps(conversation(("1", "c1", "x"))) + "\n" + line + "\n", "utf-8")
    with pytest.raises(RecordingBroken, match="line 2"):
        load(path)


def test_an_empty_file_is_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "recording.jsonl"
    path.write_text("\n", "utf-8")
    with pytest.raises(RecordingBroken, match="no conversations"):
        load(path)
