"""The one-line text form of messages."""

from __future__ import annotations

from flyteidl.core import literals_pb2

from flyte_kernel.compile.identifiers import entity_id, identifier
from flyte_kernel.compile.text import message_text
from flyte_kernel.ids import EntityId
from tests.support.templates import INT, STR, enum, integer, interface, literal, literal_map, string, union


def test_identifiers_read_as_the_reference_writes_them() -> None:
    key = EntityId(1, "flytesnacks", "development", "no.such", "v")
    assert message_text(identifier(key)) == (
        'resource_type:TASK project:"flytesnacks" domain:"development" name:"no.such" version:"v"'
    )
    assert entity_id(identifier(key)) == key


def test_unspecified_types_are_not_shown() -> None:
    assert message_text(identifier(EntityId(0, "p", "", "", ""))) == 'project:"p"'


def test_nesting_repetition_and_maps() -> None:
    assert message_text(union(INT, STR)) == "union_type:{variants:{simple:INTEGER} variants:{simple:STRING}}"
    assert message_text(enum("a", 'b"\n')) == 'enum_type:{values:"a" values:"b\\"\\n"}'
    assert message_text(literal_map({"b": literal(integer(0)), "a": literal(string("x"))})) == (
        'literals:{key:"a" value:{scalar:{primitive:{string_value:"x"}}}} '
        'literals:{key:"b" value:{scalar:{primitive:{integer:0}}}}'
    )
    assert message_text(interface()) == "inputs:{} outputs:{}"


def test_numbers_and_bytes() -> None:
    assert message_text(literals_pb2.Primitive(float_value=2.0)) == "float_value:2"
    assert message_text(literals_pb2.Primitive(float_value=0.5)) == "float_value:0.5"
    assert message_text(literals_pb2.Primitive(float_value=float("nan"))) == "float_value:nan"
    assert message_text(literals_pb2.Primitive(float_value=float("-inf"))) == "float_value:-inf"
    assert message_text(literals_pb2.Primitive(boolean=False)) == "boolean:false"
    assert message_text(literals_pb2.Binary(value=b"ab", tag="t")) == 'value:"ab" tag:"t"'
