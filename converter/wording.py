"""Faults of options and settings in our own words; those of pydantic name its types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_PLAIN = {
    "extra_forbidden": "no setting has this name",
    "missing": "is missing",
    "too_short": "is too short, at least {min_length} characters are needed",
    "less_than_equal": "is {given}, at most {le} is possible",
    "greater_than_equal": "is {given}, at least {ge} is needed",
    "greater_than": "is {given}, more than {gt} is needed",
    "string_pattern_mismatch": "{given!r} does not have the form {pattern}",
    "literal_error": "is {given!r}; choose {expected}",
    "int_type": "is {given!r}, a whole number is needed",
    "int_parsing": "is {given!r}, a whole number is needed",
    "int_from_float": "is {given!r}, a whole number is needed",
    "float_type": "is {given!r}, a number is needed",
    "float_parsing": "is {given!r}, a number is needed",
    "bool_type": "is {given!r}; write true or false",
    "bool_parsing": "is {given!r}; write true or false",
    "string_type": "is {given!r}, a text in quotes is needed",
    "path_type": "is {given!r}, a path in quotes is needed",
    "tuple_type": "is {given!r}, a list in [brackets] is needed",
    "byte_size": "is {given!r}, a number of bytes such as 4GiB is needed",
    "byte_size_unit": "is {given!r}, a number of bytes such as 4GiB is needed",
    "finite_number": "is {given!r}, a number is needed",
    "dict_type": "is {given!r}, a table is needed",
    "model_type": "is {given!r}, a table is needed",
}
"""By pydantic's kinds of faults."""

_SAID = (
    (re.compile(r"Input should be a valid integer\b.*"), "a whole number is needed"),
    (re.compile(r"Input should be a (?:valid|finite) number\b.*"), "a number is needed"),
    (re.compile(r"Input should be greater than or equal to (\S+)"), r"at least \1 is needed"),
    (re.compile(r"Input should be greater than (\S+)"), r"more than \1 is needed"),
    (re.compile(r"Input should be less than or equal to (\S+)"), r"at most \1 is possible"),
)
"""The same as text, as typer hands it on."""


def in_words(fault: Mapping[str, Any], *, secret: bool = False) -> str:
    """What is wrong, from one of pydantic's `errors()`; without the value where it is `secret`."""
    kind = str(fault["type"])
    if kind not in _PLAIN:
        return str(fault["msg"]).removeprefix("Value error, ")
    return _PLAIN[kind].format_map({**fault.get("ctx", {}), "given": "..." if secret else fault.get("input")})


def reworded(message: str) -> str:
    """A message of the command line's parser."""
    for pattern, words in _SAID:
        message = pattern.sub(words, message)
    return message
