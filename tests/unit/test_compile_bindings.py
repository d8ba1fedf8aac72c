"""What may be bound to an input and what the compiler says when it may not."""

from __future__ import annotations

import pytest
from flyteidl.core import literals_pb2, types_pb2

from flyte_kernel.compile.text import message_text
from tests.support.templates import (
    BOOL,
    FLOAT,
    INT,
    STR,
    STRUCT,
    LiteralType,
    bound,
    bound_list,
    bound_map,
    compiled,
    edges,
    enum,
    findings_of,
    integer,
    list_of,
    map_of,
    optional,
    promise,
    string,
    task,
    task_node,
    union,
    workflow,
)

Finding = tuple[str, str, str]


def dataclass_type(**fields: LiteralType) -> LiteralType:
    kind = LiteralType(simple="STRUCT")
    for name, field in fields.items():
        kind.structure.dataclass_type[name].CopyFrom(field)
    return kind


def found(expected: LiteralType, *bindings: literals_pb2.Binding, source: LiteralType = INT) -> tuple[Finding, ...]:
    """Bind to input `a` of node n1; node n0 gives `o0` of type `source`, the workflow's input `w` is an integer."""
    template = workflow("wf", [task_node("n0", "give"), task_node("n1", "take", *bindings)], {"w": INT})
    return findings_of(template, [task("give", {}, {"o0": source}), task("take", {"a": expected})])


def upstream(expected: LiteralType, binding: literals_pb2.Binding, source: LiteralType = INT) -> list[str]:
    template = workflow("wf", [task_node("n0", "give"), task_node("n1", "take", binding)], {"w": INT})
    closure = compiled(template, [task("give", {}, {"o0": source}), task("take", {"a": expected})])
    return edges(closure.primary.connections.upstream)["n1"]


def item(binding: literals_pb2.Binding) -> literals_pb2.BindingData:
    return binding.binding


ONE = item(bound("", integer(1)))
TEXT = item(bound("", string("x")))


def test_names_of_inputs() -> None:
    assert found(INT, promise("a", "", "w"), promise("b", "", "w")) == (
        ("VariableNameNotFound", "n1", "Variable [b] not found on node [n1]."),
    )
    assert found(INT, promise("a", "", "w"), promise("a", "n0", "o0")) == (
        ("ParameterBoundMoreThanOnce", "n1", "Input [a] is bound more than once."),
    )
    assert found(INT) == (("ParameterNotBound", "n1", "Parameter not bound [a]."),)
    assert found(INT, literals_pb2.Binding(var="a")) == (
        ("ParameterNotBound", "n1", "Parameter not bound [a]."),
        ("ValueRequired", "n1", "Value required [Binding]."),
    )


def test_only_optional_inputs_may_stay_unbound() -> None:
    template = workflow("wf", [task_node("n0", "take")])
    compiled(template, [task("take", {"a": optional(INT)})])
    assert findings_of(template, [task("take", {"a": union(INT, STR)})]) == (
        ("ParameterNotBound", "n0", "Parameter not bound [a]."),
    )


def test_references() -> None:
    not_bound = ("ParameterNotBound", "n1", "Parameter not bound [a].")
    assert found(INT, promise("a", "ghost", "o0")) == (
        ("NodeReferenceNotFound", "ghost", "Referenced node [ghost] not found."),
        not_bound,
    )
    assert found(INT, promise("a", "n0", "o1")) == (
        not_bound,
        ("VariableNameNotFound", "n0", "Variable [o1] not found on node [n0]."),
    )
    assert found(INT, promise("a", "n0", "o-0")) == (("SyntaxError", "n1", "Failed to parse element [o-0]."),)


def test_indexed_references_step_into_lists() -> None:
    assert upstream(INT, promise("a", "n0", "[3].o0"), source=list_of(INT)) == ["n0"]
    assert [code for code, _, _ in found(INT, promise("a", "n0", "[3].o0"))] == ["MismatchingTypes"]


def test_types_of_references() -> None:
    assert found(STR, promise("a", "n0", "o0")) == (
        (
            "MismatchingTypes",
            "n1",
            "The output variable 'o0' has type [simple:INTEGER], but it's assigned to the input variable 'a' "
            "which has type type [simple:STRING].",
        ),
    )


def test_types_of_references_are_told_with_the_names_of_nodes() -> None:
    give, take = task_node("n0", "give"), task_node("n1", "take", promise("a", "n0", "o0"))
    give.metadata.name, take.metadata.name = "giver", "taker"
    tasks = [task("give", {}, {"o0": INT}), task("take", {"a": FLOAT})]
    ((_, _, description),) = findings_of(workflow("wf", [give, take]), tasks)
    assert "output variable 'giver.o0'" in description
    assert "input variable 'taker.a'" in description


@pytest.mark.parametrize(
    ("source", "path", "expected"),
    [
        (list_of(INT), (0,), INT),
        (map_of(STR), ("k",), STR),
        (dataclass_type(x=INT, y=list_of(STR)), ("x",), INT),
        (dataclass_type(x=INT, y=list_of(STR)), ("y", 1), STR),
        (list_of(map_of(dataclass_type(z=BOOL))), (0, "k", "z"), BOOL),
        (STRUCT, ("x", "y"), STRUCT),
        (INT, ("x",), INT),
    ],
)
def test_attribute_paths(source: LiteralType, path: tuple[str | int, ...], expected: LiteralType) -> None:
    assert upstream(expected, promise("a", "n0", "o0", *path), source=source) == ["n0"]
    other = STR if expected == BOOL else BOOL
    assert [code for code, _, _ in found(other, promise("a", "n0", "o0", *path), source=source)] == ["MismatchingTypes"]


def test_attribute_paths_must_exist() -> None:
    kind = dataclass_type(x=INT)
    assert found(INT, promise("a", "n0", "o0", "y"), source=kind) == (
        ("FieldNotFound", "n1", f"Variable [o0] (type [{message_text(kind)}]) doesn't have field [y]."),
    )


def test_scalars() -> None:
    assert upstream(INT, bound("a", integer(1))) == ["start-node"]
    assert found(FLOAT, bound("a", integer(1))) == (
        ("MismatchingTypes", "n1", "Variable [a] (type [simple:INTEGER]) doesn't match expected type [simple:FLOAT]."),
    )
    assert found(INT, bound("a", literals_pb2.Scalar(blob=literals_pb2.Blob(uri="x")))) == (
        ("UnrecognizedValue", "n1", "Unrecognized value [blob]."),
    )


def test_enums() -> None:
    assert upstream(enum("red", "blue"), bound("a", string("blue"))) == ["start-node"]
    assert found(enum("red", "blue"), bound("a", string("green"))) == (
        (
            "IllegalEnumValue",
            "n1",
            "Input [a] on node [n1] is an Enum and expects value to be one of [[red blue]].  Received [green]",
        ),
    )


def test_union_scalars() -> None:
    value = literals_pb2.Scalar(union=literals_pb2.Union(value=literals_pb2.Literal(scalar=integer(1)), type=INT))
    assert upstream(optional(INT), bound("a", value)) == ["start-node"]
    assert [code for code, _, _ in found(optional(STR), bound("a", value))] == ["MismatchingTypes"]


def test_lists_and_maps_take_elements_from_anywhere() -> None:
    assert upstream(list_of(INT), bound_list("a", ONE, item(promise("", "n0", "o0")), item(promise("", "", "w")))) == [
        "n0",
        "start-node",
    ]
    assert upstream(map_of(INT), bound_map("a", {"x": ONE, "y": item(promise("", "n0", "o0"))})) == ["n0"]
    assert upstream(list_of(INT), bound_list("a")) == ["start-node"]
    assert upstream(list_of(list_of(INT)), bound_list("a", item(bound_list("", ONE)))) == ["start-node"]


def test_every_bad_element_is_told() -> None:
    assert found(list_of(STR), bound_list("a", ONE, TEXT, item(promise("", "n0", "nope")))) == (
        ("MismatchingTypes", "n1", "Variable [a] (type [simple:INTEGER]) doesn't match expected type [simple:STRING]."),
        ("ParameterNotBound", "n1", "Parameter not bound [a]."),
        ("VariableNameNotFound", "n0", "Variable [nope] not found on node [n0]."),
    )


def test_collections_against_other_types() -> None:
    assert found(INT, bound_list("a", ONE)) == (
        (
            "MismatchingBindings",
            "n1",
            "Input [a] on node [n1] expects bindings of type [simple:INTEGER].  "
            "Received [bindings:{scalar:{primitive:{integer:1}}}]",
        ),
    )
    assert [code for code, _, _ in found(list_of(INT), bound_map("a", {"x": ONE}))] == ["MismatchingBindings"]
    assert [code for code, _, _ in found(INT, literals_pb2.Binding(var="a", binding=literals_pb2.BindingData()))] == [
        "MismatchingBindings"
    ]


def test_collections_against_unions_need_exactly_one_variant() -> None:
    assert upstream(union(list_of(INT), STR), bound_list("a", item(promise("", "n0", "o0")))) == ["n0"]
    ambiguous = union(list_of(INT), list_of(optional(INT)))
    assert found(ambiguous, bound_list("a", ONE)) == (
        (
            "AmbiguousBindingUnionValue",
            "n1",
            f"Input [a] on node [n1] expects bindings of union type [{message_text(ambiguous)}].  "
            f"Received [{message_text(item(bound_list('', ONE)))}] which is ambiguous as both variants "
            f"[{message_text(list_of(INT))}] and [{message_text(list_of(optional(INT)))}] match.",
        ),
    )
    wrong = union(list_of(STR), STR)
    assert found(wrong, bound_list("a", ONE)) == (
        (
            "IncompatibleBindingUnionValue",
            "n1",
            f"Input [a] on node [n1] expects bindings of union type [{message_text(wrong)}].  "
            f"Received [{message_text(item(bound_list('', ONE)))}] which does not match any of the variants.",
        ),
    )


def test_workflow_outputs_are_checked_like_inputs() -> None:
    template = workflow(
        "wf", [task_node("n0", "give")], {}, {"r": STR, "s": INT}, [promise("r", "n0", "o0"), promise("t", "n0", "o0")]
    )
    assert [(code, node) for code, node, _ in findings_of(template, [task("give", {}, {"o0": INT})])] == [
        ("MismatchingTypes", "end-node"),
        ("ParameterNotBound", "end-node"),
        ("VariableNameNotFound", "end-node"),
    ]


def test_struct_types_are_told_by_their_fields() -> None:
    kind = dataclass_type(x=INT)
    ((_, _, description),) = found(INT, promise("a", "n0", "o0"), source=kind)
    assert "has type [Simple: STRUCT structure{dataclass_type:{key:x value:{simple:INTEGER}}]" in description
    assert isinstance(kind, types_pb2.LiteralType)
