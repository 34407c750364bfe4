"""How a call of `appliance.api` goes over the service's socket, and the JSON schema of all of them.

One JSON object a line: {"call": NAME, "version": API_VERSION, "parameters": {...}}, answered by {"ok": true, "version",
"result"} or {"ok": false, "version", "error": {what, where, mend, exit_code}}. `wardpose status --schema` prints the
schema.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from appliance.api import CALLS
from appliance.versions import API_VERSION
from calibration.errors import WardposeError


def understood(name: str, parameters: object) -> Any:
    """The request of the call `name`; raises `WardposeError`, in one line, for a call that isn't or a wrong field."""
    if name not in CALLS:
        raise WardposeError(f"the service has no call {name!r}", mend=f"it has: {', '.join(CALLS)}")
    try:
        return _adapter(name, "request").validate_python(parameters)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False)[0]
        if wrong["loc"][-1:] == ("reason",):
            mend = "say why in a few words, with --reason: the audit trail keeps it"
            raise WardposeError("it needs a reason", where=name, mend=mend) from None
        place = ".".join(str(part) for part in wrong["loc"])
        what = f"{place}: {wrong['msg']}" if place else wrong["msg"]
        raise WardposeError(what, where=name, mend="see `wardpose status --schema`") from None


def told(name: str, answer: object) -> Any:
    """The answer of the call `name` as plain values for JSON."""
    return _adapter(name, "answer").dump_python(answer, mode="json")


def schema() -> dict[str, Any]:
    """The JSON schema of every request and answer: `calls` by name, each with `request` and `answer`."""
    inputs = [((name, side), _MODE[side], _adapter(name, side)) for name in CALLS for side in _MODE]
    each, shared = TypeAdapter.json_schemas(inputs)
    calls = {name: {side: each[(name, side), mode] for side, mode in _MODE.items()} for name in CALLS}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "version": API_VERSION,
        "calls": calls,
        "$defs": shared.get("$defs", {}),
    }


_MODE: dict[str, Literal["validation", "serialization"]] = {"request": "validation", "answer": "serialization"}


@cache
def _adapter(name: str, side: str) -> TypeAdapter[Any]:
    return TypeAdapter(getattr(CALLS[name], side))
