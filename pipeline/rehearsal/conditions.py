"""Evaluates the condition of a task: the part of CEL (the Common Expression Language) that TFX and kfp write."""

import ast
import operator
import re
from collections.abc import Mapping
from typing import Any

from pipeline.rehearsal.placeholders import as_text

_TOKEN = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|&&|\|\||!(?!=)|\btrue\b|\bfalse\b|\bnull\b")
_PYTHON = {"&&": " and ", "||": " or ", "!": " not ", "true": "True", "false": "False", "null": "None"}
_COMPARISONS = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, items: item in items,
}
_LONGEST = 300
_UNARY: Mapping[type[ast.unaryop], Any] = {ast.Not: operator.not_, ast.USub: operator.neg}
_FUNCTIONS: Mapping[str, Any] = {
    "int": int,
    "double": float,
    "string": as_text,
    "bool": lambda value: {"true": True, "false": False}[value] if isinstance(value, str) else bool(value),
    "size": len,
}


class ConditionError(ValueError):
    """A condition that is not understood, or that the inputs do not answer."""


def holds(condition: str, parameters: Mapping[str, Any], artifacts: Mapping[str, Any]) -> bool:
    """Whether a condition holds.

    Args:
        condition: Such as `int(inputs.parameter_values['n']) > 3 && inputs.artifacts['a'].artifacts[0].uri != ''`.
        parameters: The task's input parameters.
        artifacts: The task's input artifacts, each as `{"artifacts": [...]}`.

    Raises:
        ConditionError: If it cannot be evaluated.
    """
    text = _TOKEN.sub(lambda match: _PYTHON.get(match[0], match[0]), condition).strip()
    inputs = {"parameter_values": parameters, "artifacts": artifacts}
    try:
        return bool(_value(ast.parse(text, mode="eval").body, {"inputs": inputs}))
    except (SyntaxError, LookupError, TypeError, ValueError) as err:
        raise ConditionError(f"the condition {condition[:_LONGEST]} cannot be evaluated: {err}") from err


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return names[node.id]
        case ast.Attribute():
            return _value(node.value, names)[node.attr]
        case ast.Subscript():
            return _value(node.value, names)[_value(node.slice, names)]
        case ast.List():
            return [_value(item, names) for item in node.elts]
        case ast.BoolOp():
            values = (_value(value, names) for value in node.values)
            return all(values) if isinstance(node.op, ast.And) else any(values)
        case ast.UnaryOp():
            return _UNARY[type(node.op)](_value(node.operand, names))
        case ast.Compare(ops=[comparison], comparators=[right]):
            return _COMPARISONS[type(comparison)](_value(node.left, names), _value(right, names))
        case ast.Call(func=ast.Name(id=function), args=[argument]):
            return _FUNCTIONS[function](_value(argument, names))
    raise ValueError(f"{ast.unparse(node)} is not understood")
