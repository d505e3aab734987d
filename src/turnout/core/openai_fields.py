"""Splits a JSON body into its top-level members, and reads one of them: what every OpenAI dialect does first.

The members' bytes are not touched and, being only skipped over, cost half of what decoding them would. Skipping still
checks the syntax (NaN, a BOM, lone surrogates and control characters are refused by msgspec) but not the UTF-8 inside
strings, so that is checked here: what is authorised must be what the vendor reads (RELIABILITY T49, T50).
A member given twice: the last one counts, and the only one that goes on.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from turnout.errors import InvalidRequest

T = TypeVar("T")


class _Metadata(msgspec.Struct):
    task: str | None = None


TEXT: msgspec.json.Decoder[str | None] = msgspec.json.Decoder(str | None)
NUMBER: msgspec.json.Decoder[int | None] = msgspec.json.Decoder(int | None)

_METADATA: msgspec.json.Decoder[_Metadata | None] = msgspec.json.Decoder(_Metadata | None)
_SPLIT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def split(body: bytes) -> dict[str, msgspec.Raw]:
    """Return the members of the JSON object in `body`, in order. Raises InvalidRequest if it is none. O(bytes)."""
    try:
        if not body.isascii():
            str(body, "utf-8")
        return _SPLIT.decode(body)
    except UnicodeDecodeError as problem:
        raise InvalidRequest(f"The body is not valid UTF-8 (byte {problem.start}).") from None
    except msgspec.ValidationError:
        raise InvalidRequest('The body must be a JSON object: {"model": …}.') from None
    except ValueError as problem:
        raise InvalidRequest(
            f"The body is not valid JSON: {str(problem).removeprefix('JSON is malformed: ')}."
        ) from None
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None


def read(fields: dict[str, msgspec.Raw], name: str, decoder: msgspec.json.Decoder[T | None]) -> T | None:
    """Return one member, None if it is not there or null. Raises InvalidRequest, naming it, if it is of the wrong type."""
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        return decoder.decode(raw)
    except ValueError as problem:
        what, _, where = str(problem).partition(" - at `$")
        param = name + where.rstrip("`")
        raise InvalidRequest(f"`{param}`: {what[:1].lower()}{what[1:]}.", param=param) from None


def take_task(fields: dict[str, msgspec.Raw]) -> str:
    """Return `metadata.task`, "" if there is none, and take it out of `fields`: it is meant for us.

    A vendor may refuse `metadata` altogether (OpenAI does without `store`), so it does not go on for our word's sake.
    Raises InvalidRequest if it is of the wrong type.
    """
    if "metadata" not in fields:
        return ""
    metadata = read(fields, "metadata", _METADATA)
    if metadata is None or not metadata.task:
        return ""
    rest = _SPLIT.decode(fields["metadata"])
    del rest["task"]
    if rest:
        fields["metadata"] = msgspec.Raw(msgspec.json.encode(rest))
    else:
        del fields["metadata"]
    return metadata.task
