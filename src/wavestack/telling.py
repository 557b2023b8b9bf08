"""What is wrong with parameters, in words: file, key path, what was expected, the nearest known name."""

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails


def place(file: str, at: Iterable) -> str:
    """The file and the key path of a value."""
    keys = ".".join(str(key) for key in at if key != "[key]")
    return f"{file}: {keys}" if keys else file


def line(file: str, at: tuple, detail: ErrorDetails, schema: type[BaseModel]) -> str:
    """One of pydantic's errors as a line."""
    loc, kind, found = detail["loc"], detail["type"], shown(detail["input"])
    where = place(file, (*at, *loc))
    if kind == "extra_forbidden":
        return f"{where}: unknown key{nearest(str(loc[-1]), fields(schema, loc[:-1]))}"
    if kind == "unknown_name":
        known = detail["ctx"]["known"]
        return f"{where}: unknown '{detail['input']}'{nearest(str(detail['input']), known)}"
    if kind == "missing":
        return f"{where}: expected a value, and there is none"
    expected = detail["msg"].replace("Input should be ", "expected ").replace("String should match", "expected a name like")
    return f"{where}: {expected}, found {found}"


def fields(schema: Any, loc: tuple) -> list[str]:
    """Names of the fields of the schema that stands at `loc` below `schema`."""
    for key in loc:
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            schema = schema.model_fields[str(key)].annotation
        else:  # an entry of a dict[name, schema]
            schema = getattr(schema, "__args__", (None, None))[-1]
        options = [o for o in getattr(schema, "__args__", ()) if isinstance(o, type) and issubclass(o, BaseModel)]
        if options and type(None) in getattr(schema, "__args__", ()):  # schema | None
            schema = options[0]
    return list(schema.model_fields) if isinstance(schema, type) and issubclass(schema, BaseModel) else []


def nearest(name: Any, known: Iterable[str]) -> str:
    """The known name that is most like one that is not, or all of them; to be put behind what is said of it."""
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(known)}" if known else ""


def shown(value: Any) -> str:
    """A value, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
