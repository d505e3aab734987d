"""Tests of config/reading.py."""

from __future__ import annotations

import sys
import types
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

from turnout.config import schema
from turnout.config.reading import Reader
from turnout.config.yaml_source import parse
from turnout.core.secret import Secret


def read(text: str) -> tuple[schema.ConfigTable, list[str]]:
    """What a text says, and what is wrong with it."""
    reader = Reader(parse(text.encode(), "t.yaml"))
    table = reader.read()
    return table, [str(one) for one in reader.problems]


def test_reads_tables_lists_choices_and_scalars() -> None:
    """Every shape of the schema: a table, a table of tables, a list, one of several types."""
    table, problems = read(
        """
server: {port: 4001, master_key: abc}
models: {m: {provider: p, price: free, can: [tools]}, n: {provider: p, price: {input: 1, output: 2.5}}}
routes: {r: {models: {m: 1, n: 0.5}}, s: {models: [m]}}
rollouts: {x: {tasks: all, candidate: {models: [m]}}, y: {tasks: [chat], candidate: {provider: p}}}
"""
    )
    assert problems == []
    assert table.server == schema.ServerTable(port=4001, master_key=Secret("abc"))
    assert table.models is not None
    assert table.models["m"] == schema.ModelTable(provider="p", price="free", can=["tools"])
    assert table.models["n"].price == schema.PriceTable(input=1000, output=2500)
    assert table.routes == {"r": schema.RouteTable(models={"m": 1.0, "n": 0.5}), "s": schema.RouteTable(models=["m"])}
    assert table.rollouts is not None
    assert table.rollouts["x"].tasks == "all"
    assert table.rollouts["y"].tasks == ["chat"]


def test_text_is_what_was_written() -> None:
    """A field for text takes Norway, a zip code and a time as they stand; a number's field reads decimally."""
    table, problems = read("models: {m: {provider: p, id: 0123, region: no}}\nserver: {port: 0123}\n")
    assert problems == []
    assert table.models == {"m": schema.ModelTable(provider="p", id="0123", region="no")}
    assert table.server == schema.ServerTable(port=123)


def test_nothing_said_is_the_same_as_no_key() -> None:
    """`server:`, `port: ~` and a provider without a value leave everything at its default."""
    table, problems = read("server:\nretry: {backoff: ~}\nproviders:\n  openrouter:\ntasks: null\n")
    assert problems == []
    assert table == schema.ConfigTable(retry=schema.RetryTable(), providers={"openrouter": schema.ProviderTable()})


def test_reading_goes_on_after_a_problem() -> None:
    """What does not fit counts as not said, in a list as None so that the others keep their places."""
    table, problems = read("server: {port: x, host: y}\nmodels: {m: {provider: p, can: [jsn, tools]}}\nzzz: 1\n")
    assert [one.split(": ")[0] for one in problems] == [
        "t.yaml:1:16 server.port",
        "t.yaml:2:33 models.m.can[0]",
        "t.yaml:3:1 zzz",
    ]
    assert table.server == schema.ServerTable(host="y")
    assert table.models == {"m": schema.ModelTable(provider="p", can=[None, "tools"])}


def test_keys_for_anchors_are_the_readers_own() -> None:
    """At the top, `x-…` is ignored; further down it is an unknown key."""
    assert read("x-any: [1, {2: 3}]\n")[1] == []
    assert read("server: {x-any: 1}\n")[1][0].startswith("t.yaml:1:10 server.x-any: unknown key")


def hints(struct: Any) -> list[Any]:
    """Every type that the fields of a table are made of."""
    found = []
    todo = [get_type_hints(struct, include_extras=True)[name] for name in struct.__struct_fields__]
    while todo:
        hint = todo.pop()
        found.append(hint)
        if get_origin(hint) in (Union, types.UnionType, list, dict):
            todo += get_args(hint)
    return found


def test_every_type_of_the_schema_can_be_read() -> None:
    """A table, a list, a dict, None, or a scalar with a Leaf: the schema holds nothing that the reader cannot read."""
    structs = [one for one in vars(schema).values() if isinstance(one, type) and issubclass(one, schema.Table)]
    assert len(structs) > 10
    for struct in structs:
        assert set(struct.REQUIRED) <= set(struct.__struct_fields__)
        for hint in hints(struct):
            is_leaf = get_origin(hint) is Annotated and any(isinstance(one, schema.Leaf) for one in hint.__metadata__)
            is_struct = isinstance(hint, type) and issubclass(hint, msgspec.Struct)
            is_made_of_others = get_origin(hint) in (Union, types.UnionType, list, dict)
            assert is_leaf or is_struct or is_made_of_others or hint in (types.NoneType, str), (struct, hint)


def test_reading_again_compiles_nothing() -> None:
    """The schema's annotations are evaluated once, so a request to read the config again runs no new code (T97)."""
    text = "models: {m: {provider: p}}\nserver: {port: 1}\n"
    read(text)
    called: set[str] = set()
    sys.setprofile(lambda frame, _event, _argument: called.add(frame.f_code.co_name))
    read(text)
    sys.setprofile(None)
    assert "_table" in called
    assert "get_type_hints" not in called
