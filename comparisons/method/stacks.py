"""Stacks of methods: `sft+caa`, `sft:pos+caa`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comparisons.util.directions import DIRECTIONS, Direction
from comparisons.util.errors import CompareError, unknown

if TYPE_CHECKING:
    from comparisons.method.interface import Method

METHOD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
"""What a method can be called, so that `+`, `:`, `,`, `.` and `=` can stand between names."""


@dataclass(frozen=True)
class StackElement:
    """One method of a stack.

    Attributes:
        direction: fixed by `name:pos` or `name:neg`; None takes the cell's.
    """

    name: str
    direction: Direction | None = None


@dataclass(frozen=True)
class Stack:
    """Methods used together, from left to right.

    Attributes:
        label: as typed.
        elements: at least one, no method twice.
    """

    label: str
    elements: tuple[StackElement, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The methods' names, from left to right."""
        return tuple(element.name for element in self.elements)


@dataclass(frozen=True)
class Dose:
    """What one element of a stack is used with in a cell.

    Attributes:
        direction: the element's own, or the cell's.
        strength: at least 0; 1 for a method without a dose.
    """

    name: str
    direction: Direction
    strength: float


def parse_stack(text: str) -> Stack:
    """Reads a stack.

    Raises:
        CompareError: an element is empty or no name, a direction is unknown, or a method stands in it twice.
    """
    elements = tuple(_parse_element(text, part) for part in text.split("+"))
    names = [element.name for element in elements]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise CompareError(f"stack '{text}' holds {twice} twice: name each method once.")
    return Stack(text, elements)


def _parse_element(stack: str, text: str) -> StackElement:
    if not text:
        raise CompareError(f"stack {stack!r} has an empty element: write names with one + between, such as a+b.")
    name, colon, direction = text.partition(":")
    if not METHOD_NAME.fullmatch(name):
        raise CompareError(
            f"stack {stack!r}: {name!r} is no name: a letter, then letters, digits, - and _, without blanks."
        )
    if not colon:
        return StackElement(name)
    fixed = next((known for known in DIRECTIONS if known == direction), None)
    if fixed is None:
        raise unknown(f"direction in stack {stack!r}:", " ".join(direction.split()), DIRECTIONS)
    return StackElement(name, fixed)


def check_stack(stack: Stack, classes: Mapping[str, type[Method]]) -> None:
    """Finds what can't be stacked before anything is run.

    Args:
        classes: the method of each of its names.

    Raises:
        CompareError: two of its methods change weights by an adapter.
    """
    adapting = [name for name in stack.names if classes[name].adapts]
    if len(adapting) > 1:
        raise CompareError(
            f"stack '{stack.label}' can hold one adapter, but {' and '.join(adapting)} bring one each: leave one out."
        )


def leading(stack: Stack, classes: Mapping[str, type[Method]]) -> str | None:
    """The method that takes the run's strength, the last dosed one; None where no element has a dose."""
    dosed = [name for name in stack.names if classes[name].dosed]
    return dosed[-1] if dosed else None


def supporting(stack: Stack, classes: Mapping[str, type[Method]]) -> tuple[str, ...]:
    """The dosed methods that do not take the run's strength: `--set NAME.strength` sets theirs."""
    last = leading(stack, classes)
    return tuple(name for name in stack.names if classes[name].dosed and name != last)


def check_strengths(stacks: Sequence[Stack], classes: Mapping[str, type[Method]], names: Iterable[str]) -> None:
    """Finds a `--set NAME.strength` that no stack of the run would read.

    Args:
        stacks: all of the run's.
        classes: the method of each of their names.
        names: the methods whose strength is set.

    Raises:
        CompareError: one of them leads every stack that it stands in, and so takes the run's strength.
    """
    read = {name for stack in stacks for name in supporting(stack, classes)}
    for name in names:
        if classes[name].dosed and name not in read:
            raise CompareError(
                f"--set {name}.strength changes nothing: {name} takes the run's strength wherever it stands; "
                "use --strengths."
            )


def resolve(
    stack: Stack,
    classes: Mapping[str, type[Method]],
    direction: Direction,
    strength: float,
    strengths: Mapping[str, float] | None = None,
) -> tuple[Dose, ...]:
    """What each element is used with in a cell, from left to right.

    Args:
        classes: the method of each of its names.
        strength: the run's; goes to the last dosed element.
        strengths: of the other dosed elements by name, 1 where not given. The leading method's is not read:
            in this stack it takes the run's; in another of the same run it may not lead.
    """
    given = dict.fromkeys(supporting(stack, classes), 1.0)
    given |= {name: value for name, value in (strengths or {}).items() if name in given}
    last = leading(stack, classes)
    given |= {last: strength} if last else {}
    return tuple(Dose(e.name, e.direction or direction, given.get(e.name, 1.0)) for e in stack.elements)
