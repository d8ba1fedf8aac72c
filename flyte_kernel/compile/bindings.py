"""Whether the bindings of a node feed its inputs: names, references and types.

The rules are flytepropeller's (validators/bindings.go). Checking also rewrites: a promise without a node id means an
input of the workflow and gets the id of start-node.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from flyteidl.core import interface_pb2, literals_pb2, types_pb2
from flyteidl.core.types_pb2 import LiteralType

from flyte_kernel.compile.findings import Findings
from flyte_kernel.compile.scope import START_NODE, Scope, ScopeNode
from flyte_kernel.compile.text import message_text
from flyte_kernel.compile.types import are_types_castable, is_optional, scalar_type, type_text

__all__ = ["CheckedBindings", "check_bindings", "discover_bindings", "effective_outputs"]

_VARIABLE = re.compile(r"(?:\[(\d+)\]\.)?(\w+)")


class CheckedBindings(NamedTuple):
    """What the bindings deliver, by input name, and the ids of the nodes they wait for."""

    variables: interface_pb2.VariableMap
    sources: tuple[str, ...]


class _Resolved(NamedTuple):
    type: LiteralType
    sources: tuple[str, ...] = ()


def check_bindings(scope: Scope, node: ScopeNode, inputs: interface_pb2.VariableMap) -> CheckedBindings:
    """Check the bindings of `node` against the variables it needs; what is wrong goes to the scope's findings."""
    checked = _check_each(scope, node, inputs)
    bound = {binding.var for binding in node.proto.inputs if binding.HasField("binding")}
    for name, variable in inputs.variables.items():
        if name not in bound and not is_optional(variable.type):
            scope.findings.parameter_not_bound(node.id, name)
    return checked


def discover_bindings(scope: Scope, node: ScopeNode) -> CheckedBindings:
    """Check the references of a node whose inputs are whatever is bound: a branch or an approval gate."""
    return _check_each(scope, node, None)


def _check_each(scope: Scope, node: ScopeNode, inputs: interface_pb2.VariableMap | None) -> CheckedBindings:
    checked = interface_pb2.VariableMap()
    sources: list[str] = []
    seen: set[str] = set()
    for binding in node.proto.inputs:
        if inputs is not None and binding.var not in inputs.variables:
            scope.findings.variable_not_found(node.id, binding.var)
        elif not binding.HasField("binding"):
            scope.findings.value_required(node.id, "Binding")
        elif binding.var in seen:
            scope.findings.add("ParameterBoundMoreThanOnce", node.id, f"Input [{binding.var}] is bound more than once.")
        else:
            seen.add(binding.var)
            expected = None if inputs is None else inputs.variables[binding.var].type
            resolved = _BindingCheck(scope, node, binding.var, scope.findings).check(binding.binding, expected)
            if resolved is not None:
                checked.variables[binding.var].type.CopyFrom(resolved.type)
                sources.extend(resolved.sources)
    return CheckedBindings(checked, tuple(sources))


def effective_outputs(node: ScopeNode, findings: Findings) -> dict[str, interface_pb2.Variable] | None:
    """Return the outputs under their aliases, or None if the interface is unknown or the aliases are wrong."""
    before = findings.count
    aliases: dict[str, str] = {}
    for alias in node.proto.output_aliases:
        if alias.var in aliases:
            description = (
                f"Duplicate alias [{alias.alias}] found. An output alias can only be used once in the Workflow."
            )
            findings.add("DuplicateAlias", node.id, description)
        else:
            aliases[alias.var] = alias.alias
    if node.interface is None:
        return None
    variables = node.interface.outputs.variables
    for name, alias in aliases.items():
        if name not in variables:
            findings.parameter_not_bound(node.id, alias)
    if findings.count > before:
        return None
    return {aliases.get(name, name): variable for name, variable in variables.items()}


class _BindingCheck:
    """Checks the value bound to one input; returns None where something was found."""

    def __init__(self, scope: Scope, node: ScopeNode, parameter: str, findings: Findings) -> None:
        self._scope = scope
        self._node = node
        self._parameter = parameter
        self._findings = findings

    def check(self, binding: literals_pb2.BindingData, expected: LiteralType | None) -> _Resolved | None:
        """Check one value; an `expected` of None takes any type."""
        kind = binding.WhichOneof("value")
        if kind == "scalar":
            return self._check_scalar(binding.scalar, expected)
        if kind == "promise":
            return self._check_promise(binding.promise, expected)
        if expected is not None and expected.HasField("union_type"):
            return self._check_union(binding, expected)
        if kind == "collection":
            return self._check_collection(binding.collection, expected)
        if kind == "map":
            return self._check_map(binding.map, expected)
        self._mismatching_binding(expected, "")
        return None

    def _check_union(self, binding: literals_pb2.BindingData, expected: LiteralType) -> _Resolved | None:
        matches: list[tuple[LiteralType, _Resolved]] = []
        for variant in expected.union_type.variants:
            trial = _BindingCheck(self._scope, self._node, self._parameter, Findings())
            resolved = trial.check(binding, variant)
            if resolved is not None:
                matches.append((variant, resolved))
        if len(matches) == 1:
            return matches[0][1]
        start = (
            f"Input [{self._parameter}] on node [{self._node.id}] expects bindings of union type "
            f"[{message_text(expected)}].  Received [{message_text(binding)}] which "
        )
        if matches:
            pair = f"[{message_text(matches[0][0])}] and [{message_text(matches[1][0])}]"
            description = f"{start}is ambiguous as both variants {pair} match."
            self._findings.add("AmbiguousBindingUnionValue", self._node.id, description)
        else:
            description = f"{start}does not match any of the variants."
            self._findings.add("IncompatibleBindingUnionValue", self._node.id, description)
        return None

    def _check_collection(
        self, collection: literals_pb2.BindingDataCollection, expected: LiteralType | None
    ) -> _Resolved | None:
        if expected is not None and not expected.HasField("collection_type"):
            self._mismatching_binding(expected, message_text(collection))
            return None
        element = None if expected is None else expected.collection_type
        elements = self._check_elements(collection.bindings, element)
        if elements is None:
            return None
        return _Resolved(LiteralType(collection_type=elements.type), elements.sources)

    def _check_map(self, mapping: literals_pb2.BindingDataMap, expected: LiteralType | None) -> _Resolved | None:
        if expected is not None and not expected.HasField("map_value_type"):
            self._mismatching_binding(expected, message_text(mapping))
            return None
        element = None if expected is None else expected.map_value_type
        elements = self._check_elements((mapping.bindings[key] for key in sorted(mapping.bindings)), element)
        if elements is None:
            return None
        return _Resolved(LiteralType(map_value_type=elements.type), elements.sources)

    def _check_elements(
        self, bindings: Iterable[literals_pb2.BindingData], expected: LiteralType | None
    ) -> _Resolved | None:
        before = self._findings.count
        sources: list[str] = []
        kind = LiteralType()
        for binding in bindings:
            resolved = self.check(binding, expected)
            if resolved is not None:
                kind = resolved.type
                sources.extend(resolved.sources)
        return _Resolved(kind, tuple(sources)) if self._findings.count == before else None

    def _check_promise(self, promise: types_pb2.OutputReference, expected: LiteralType | None) -> _Resolved | None:
        source = self._scope.nodes.get(promise.node_id or START_NODE)
        if source is None:
            self._findings.node_not_found(promise.node_id, promise.node_id)
            self._findings.parameter_not_bound(self._node.id, self._parameter)
            return None
        parsed = _VARIABLE.fullmatch(promise.var)
        if parsed is None:
            self._findings.add("SyntaxError", self._node.id, f"Failed to parse element [{promise.var}].")
            return None
        kind = self._source_type(source, promise, parsed, expected)
        if kind is None:
            return None
        if expected is not None and not are_types_castable(kind, expected):
            self._mismatching_variables(source, promise, kind, expected)
            return None
        promise.node_id = source.id
        return _Resolved(kind, (source.id,))

    def _source_type(
        self,
        source: ScopeNode,
        promise: types_pb2.OutputReference,
        parsed: re.Match[str],
        expected: LiteralType | None,
    ) -> LiteralType | None:
        name = parsed[2]
        outputs = effective_outputs(source, self._findings)
        if outputs is None or name not in outputs:
            self._findings.variable_not_found(source.id, name)
            self._findings.parameter_not_bound(self._node.id, self._parameter)
            return None
        kind = outputs[name].type
        if parsed[1] is not None:
            if not kind.HasField("collection_type"):
                self._mismatching_variables(source, promise, kind, expected or LiteralType())
                return None
            kind = kind.collection_type
        return self._follow(promise, kind)

    def _follow(self, promise: types_pb2.OutputReference, kind: LiteralType) -> LiteralType | None:
        """Step along the attribute path; types that know nothing of their inside stay what they are."""
        for step in promise.attr_path:
            if kind.HasField("collection_type"):
                kind = kind.collection_type
            elif kind.HasField("map_value_type"):
                kind = kind.map_value_type
            elif kind.structure.dataclass_type:
                field = step.string_value
                if field not in kind.structure.dataclass_type:
                    description = (
                        f"Variable [{promise.var}] (type [{message_text(kind)}]) doesn't have field [{field}]."
                    )
                    self._findings.add("FieldNotFound", self._node.id, description)
                    return None
                kind = kind.structure.dataclass_type[field]
        return kind

    def _check_scalar(self, scalar: literals_pb2.Scalar, expected: LiteralType | None) -> _Resolved | None:
        before = self._findings.count
        kind = scalar_type(scalar)
        if kind is None:
            value = scalar.WhichOneof("value") or "unset"
            self._findings.add("UnrecognizedValue", self._node.id, f"Unrecognized value [{value}].")
        elif expected is not None and not are_types_castable(kind, expected):
            description = (
                f"Variable [{self._parameter}] (type [{type_text(kind)}]) doesn't match expected type "
                f"[{type_text(expected)}]."
            )
            self._findings.add("MismatchingTypes", self._node.id, description)
        if expected is not None and expected.HasField("enum_type"):
            self._check_enum(scalar.primitive.string_value, list(expected.enum_type.values))
        return _Resolved(kind) if kind is not None and self._findings.count == before else None

    def _check_enum(self, value: str, allowed: list[str]) -> None:
        if value in allowed:
            return
        description = (
            f"Input [{self._parameter}] on node [{self._node.id}] is an Enum and expects value to be one of "
            f"[[{' '.join(allowed)}]].  Received [{value}]"
        )
        self._findings.add("IllegalEnumValue", self._node.id, description)

    def _mismatching_binding(self, expected: LiteralType | None, received: str) -> None:
        wanted = "" if expected is None else message_text(expected)
        description = (
            f"Input [{self._parameter}] on node [{self._node.id}] expects bindings of type [{wanted}].  "
            f"Received [{received}]"
        )
        self._findings.add("MismatchingBindings", self._node.id, description)

    def _mismatching_variables(
        self, source: ScopeNode, promise: types_pb2.OutputReference, kind: LiteralType, expected: LiteralType
    ) -> None:
        description = (
            f"The output variable '{_qualified(source, promise.var)}' has type [{type_text(kind)}], but it's assigned "
            f"to the input variable '{_qualified(self._node, self._parameter)}' which has type type "
            f"[{type_text(expected)}]."
        )
        self._findings.add("MismatchingTypes", self._node.id, description)


def _qualified(node: ScopeNode, variable: str) -> str:
    return f"{node.proto.metadata.name}.{variable}" if node.proto.HasField("metadata") else variable
