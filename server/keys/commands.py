"""`python -m server keys`: makes, lists, rotates, revokes and removes the keys of a file."""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from nowait.settings import PREFIX
from server.keys.file import KeyFile, KeyFileError
from server.keys.key import EARLY, VALID, Key, check_name, check_owner
from server.keys.limits import Limits, Rate
from server.keys.scopes import AREAS, Scope, Scopes
from server.keys.token import Token

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LIMITS = tuple(field.name for field in fields(Limits))
_AT_ONCE = {"in_flight": "requests", "streams": "streams of rows", "subscribers": "subscribers and consumers"}
_KEY = "the id of one key, as list shows it, or a name for all of its keys"
_SCOPES = f"AREA[.read|.write][:NAME|:PREFIX*]; areas are {', '.join(AREAS)}. May be given more than once"


class Failed(Exception):
    """What was asked for cannot be done; the text is one line."""


def add_to(commands: Any) -> None:
    """Add the commands to a program's, `argparse`'s; each has `run`, which takes its options.

    Returns: by `run`, the exit status.
    """
    keys = commands.add_parser("keys", help="the keys of clients", description=__doc__)
    file = os.environ.get(f"{PREFIX}KEYS")
    what = f"the file, {PREFIX}KEYS otherwise"
    keys.add_argument("--file", type=Path, default=file and Path(file), required=not file, help=what)
    verbs = keys.add_subparsers(required=True, metavar="make|list|rotate|revoke|remove")

    made = "Prints a key, which nobody keeps."
    make = verbs.add_parser("make", help="a key for a name that has none", description=made)
    make.set_defaults(run=_running(_make))
    make.add_argument("name", type=_argument(check_name))
    make.add_argument("--scope", type=_argument(Scope.parse), action="append", required=True, help=_SCOPES)
    make.add_argument("--owner", type=_argument(check_owner), help="of its jobs and schedules; the name otherwise")
    make.add_argument("--expires", type=_argument(_duration), metavar="TIME", help="such as 12h or 90d from now")
    _add_limits(make)

    listed = verbs.add_parser("list", help="all keys, without their texts")
    listed.set_defaults(run=_running(_list))
    listed.add_argument("--json", action="store_true", help="for programs")

    rotate = verbs.add_parser("rotate", help="another key for a name", description="Prints a key that replaces others.")
    rotate.set_defaults(run=_running(_rotate))
    rotate.add_argument("name", type=_argument(check_name))
    what = "how long the others remain valid; 1d otherwise"
    rotate.add_argument("--overlap", type=_argument(_duration), default=timedelta(days=1), metavar="TIME", help=what)
    rotate.add_argument("--expires", type=_argument(_duration), metavar="TIME", help="of the new one; never otherwise")
    what = f"{_SCOPES}; those of the last one otherwise"
    rotate.add_argument("--scope", type=_argument(Scope.parse), action="append", help=what)
    _add_limits(rotate, default=argparse.SUPPRESS)

    revoke = verbs.add_parser("revoke", help="end a key, or all of a name, now")
    revoke.set_defaults(run=_running(_revoke))
    revoke.add_argument("key", metavar="ID|NAME", help=_KEY)

    remove = verbs.add_parser("remove", help="forget a key, or all of a name, that ended before")
    remove.set_defaults(run=_running(_remove))
    remove.add_argument("key", metavar="ID|NAME", help=_KEY)


def _add_limits(command: argparse.ArgumentParser, default: str | None = None) -> None:
    """The options of limits; with argparse.SUPPRESS, those that are not given are none of the options."""
    otherwise = "no limit otherwise" if default is None else "as before otherwise; none for no limit"
    rate = _argument(_or_none(Rate.parse))
    what = f"REQUESTS/SECONDS, such as 100/60; {otherwise}"
    command.add_argument("--rate", type=rate, default=default, metavar="RATE", help=what)
    for limit in _LIMITS[1:]:
        option, parse = f"--{limit.replace('_', '-')}", _argument(_or_none(_positive))
        what = f"{_AT_ONCE[limit]} at once; {otherwise}"
        command.add_argument(option, type=parse, default=default, metavar="N", help=what)


def _make(options: argparse.Namespace) -> None:
    with KeyFile(options.file).editing() as keys:
        if any(key.name == options.name and key.state(_now()) in (VALID, EARLY) for key in keys):
            raise Failed(f"{options.name}: there is a key of that name; rotate makes another one")
        owner = options.name if options.owner is None else options.owner
        limits = Limits(**_given_limits(options))
        template = Key("", b"", options.name, owner, Scopes(options.scope), limits, _now())
        token, key = _fresh(template, options.expires)
        keys.append(key)
    print(token.text)


def _list(options: argparse.Namespace) -> None:
    keys = KeyFile(options.file).read()
    states = {key.id: key.state(_now()) for key in keys}
    if options.json:
        documents = [{**key.document(), "state": states[key.id]} for key in keys]
        print(json.dumps([{name: each[name] for name in each if name != "digest"} for each in documents], indent=2))
        return
    for key in keys:
        limits = " ".join(f"{name}={value}" for name, value in key.limits.document().items())
        expires = f"until {key.expires:%Y-%m-%d %H:%M}Z" if key.expires else "without end"
        owner = "" if key.owner == key.name else f"owner={key.owner!r}"
        print(*filter(None, (key.id, key.name, states[key.id], expires, *key.scopes.texts(), limits, owner)))


def _rotate(options: argparse.Namespace) -> None:
    with KeyFile(options.file).editing() as keys:
        now = _now()
        own = [index for index, key in enumerate(keys) if key.name == options.name]
        if not own:
            raise Failed(f"{options.name}: there is no key of that name")
        last = keys[own[-1]]
        scopes = last.scopes if options.scope is None else Scopes(options.scope)
        limits = replace(last.limits, **_given_limits(options))
        token, key = _fresh(replace(last, scopes=scopes, limits=limits, not_before=None, revoked=None), options.expires)
        end = now + options.overlap
        for index in own:
            before = keys[index]
            if before.revoked is None:
                keys[index] = replace(before, expires=min(end, before.expires or end))
        keys.append(key)
    print(token.text)


def _revoke(options: argparse.Namespace) -> None:
    with KeyFile(options.file).editing() as keys:
        found = [index for index, key in enumerate(keys) if options.key in (key.id, key.name)]
        if not found:
            raise Failed(f"{options.key}: there is no key of that id or name")
        for index in found:
            keys[index] = replace(keys[index], revoked=keys[index].revoked or _now())


def _remove(options: argparse.Namespace) -> None:
    with KeyFile(options.file).editing() as keys:
        found = [key for key in keys if options.key in (key.id, key.name)]
        ended = [key for key in found if key.state(_now()) not in (VALID, EARLY)]
        if not ended:
            what = "its key is valid: revoke ends it" if found else "there is no key of that id or name"
            raise Failed(f"{options.key}: {what}")
        keys[:] = [key for key in keys if key not in ended]


def _given_limits(options: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(options).items() if name in _LIMITS}


def _fresh(template: Key, lifetime: timedelta | None) -> tuple[Token, Key]:
    """A new key, as another one is."""
    token, now = Token.new(), _now()
    expires = None if lifetime is None else now + lifetime
    return token, replace(template, id=token.id, digest=token.digest, created=now, expires=expires)


def _running(command: Callable[[argparse.Namespace], None]) -> Callable[[argparse.Namespace], int]:
    def run(options: argparse.Namespace) -> int:
        try:
            command(options)
        except (Failed, KeyFileError) as error:
            print(error, file=sys.stderr)
            return 1
        return 0

    return run


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


def _duration(text: str) -> timedelta:
    match = re.fullmatch("([0-9]{1,6})([smhd])", text)
    if match is None:
        raise ValueError(f"{text!r} is not allowed, expected a number with s, m, h or d, such as 90d")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def _positive(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,5}", text):
        raise ValueError(f"{text!r} is not allowed, expected an integer from 1 on")
    return int(text)


def _or_none(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """As `parse`, and None for `none`."""
    return lambda text: None if text == "none" else parse(text)


def _argument(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """As argparse has it: with its text for what is not allowed."""

    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parsed
