"""The connection to MongoDB: how it is made, how long it may take, and what its errors mean.

`MONGODB_URI` holds a password: no message names more of it than the hosts, and what the driver says is searched for it.

Two limits hold. A call ends within MONGODB_TIMEOUT, by asyncio's clock. A server that cannot be found is given up after SELECTION_S: the
driver keeps to that only without a time limit of its own (`timeoutMS`, `pymongo.timeout`), under which it looks for a server, and repeats
what failed, until that limit is over. So it is given none, and repeats a read once.

Who was lost may come back with nothing in it. `losses` counts that: what was found or made there counts while the number stays.
"""

from __future__ import annotations

import asyncio
import re
import warnings
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote_plus

from bson.binary import UUID_SUBTYPE
from bson.codec_options import CodecOptions
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DocumentTooLarge, OperationFailure, PyMongoError, ServerSelectionTimeoutError
from pymongo.monitoring import ServerClosedEvent, ServerDescriptionChangedEvent, ServerListener, ServerOpeningEvent
from pymongo.write_concern import WriteConcern

from ...errors import ConfigError, StoreFull, StoreUnavailable, ZjpError

COLLECTION = "records"
SELECTION_S = 2.0
"""How long a call looks for a server that may answer. Longer would keep readers waiting for one that is away; the outbox asks again."""
CONNECTIONS_MAX = 16
"""Of one node, unless the URI says otherwise: the outbox needs one, readers few."""
REASON_CHARS_MAX = 300

_SCHEMES = ("mongodb://", "mongodb+srv://")
DUPLICATE, TOO_LARGE = 11000, 10334
_FINAL = {DUPLICATE, 2, 14, 16, 22, 52, 56, 57, 121, 171, TOO_LARGE, 17280, 17419}
"""Of one document, however often it is sent: BadValue, TypeMismatch, InvalidLength, InvalidBSON, DollarPrefixedFieldName, EmptyFieldName,
DottedFieldName, DocumentValidationFailure, CannotIndexParallelArrays, BSONObjectTooLarge, KeyTooLong, too large after the update."""
_OF_ID = re.compile(r"index: (?:\S*\$)?_id_(?!\w)")
"""In the message of a server that does not tell the key apart from it (before 4.4)."""
_LARGE = {16, TOO_LARGE}
_DENIED = {13: "is not authorized", 18: "cannot authenticate"}
_FULL = {12501, 14031}
"""Quota exceeded, OutOfDiskSpace."""
_NOBODY = "Unknown"
"""What the driver calls a server that it does not reach."""

Reply = Mapping[str, Any]


class Losses(ServerListener):
    """Counts. The driver calls it in the loop."""

    def __init__(self) -> None:
        self.count = 0

    def opened(self, event: ServerOpeningEvent) -> None:
        """Nothing is known of it yet."""

    def closed(self, event: ServerClosedEvent) -> None:
        """It is no longer one of the replica set, or the client was closed."""

    def description_changed(self, event: ServerDescriptionChangedEvent) -> None:
        if event.new_description.server_type_name == _NOBODY != event.previous_description.server_type_name:
            self.count += 1


class Server:
    """One client and the collection of the records. Raises ConfigError where the URI is none."""

    def __init__(self, uri: str, *, database: str, timeout_s: float) -> None:
        self._secrets = _secrets_of(uri)
        self._name = f"{hosts_of(uri)}/{database}"
        self._timeout_s = timeout_s
        self._losses = Losses()
        self._write_concern = {"w": "majority", "j": True, "wtimeout": int(timeout_s * 1000)}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "error", UserWarning
                )  # the driver's word for an option that it is going to ignore
                self._client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(uri, **self._options(uri))
            self.records: AsyncCollection[dict[str, Any]] = self._client.get_database(
                database,
                codec_options=CodecOptions(tz_aware=True),
                read_preference=ReadPreference.PRIMARY,
                write_concern=WriteConcern(w="majority", j=True, wtimeout=int(timeout_s * 1000)),
            ).get_collection(COLLECTION)
        except (PyMongoError, ValueError, TypeError, UserWarning) as error:
            raise ConfigError(f"MONGODB_URI ({self._name}) is not usable: {self._text(error)}") from None

    def _options(self, uri: str) -> dict[str, Any]:
        options = {
            "appname": "zjp",
            "timeoutMS": None,
            "socketTimeoutMS": int(self._timeout_s * 1000),
            "serverSelectionTimeoutMS": int(min(SELECTION_S, self._timeout_s) * 1000),
            "connectTimeoutMS": int(min(SELECTION_S, self._timeout_s) * 1000),
            "event_listeners": [self._losses],
        }
        if "maxpoolsize=" not in uri.lower():
            options["maxPoolSize"] = CONNECTIONS_MAX
        return options

    async def close(self) -> None:
        await self._client.close()

    @property
    def losses(self) -> int:
        """How often it was lost, or refused something (an index that is not there, say)."""
        return self._losses.count

    @asynccontextmanager
    async def asked(self, within_s: float | None = None) -> AsyncIterator[AsyncCollection[dict[str, Any]]]:
        """For one call: it ends in time, with errors of zjp's own. Raises: StoreUnavailable, StoreFull."""
        try:
            async with asyncio.timeout(within_s or self._timeout_s):
                yield self.records
        except TimeoutError as error:  # no loss: a server that is replaced breaks the driver's connections
            raise self._late("no answer") from error
        except PyMongoError as error:
            if not error.timeout:
                self._losses.count += 1
            raise self.translated(error) from error
        except DocumentTooLarge as error:  # to the driver it is no error of its own kind
            raise self._refused({"code": TOO_LARGE, "errmsg": str(error)}) from error

    async def command(self, records: AsyncCollection[dict[str, Any]], command: dict[str, Any]) -> Sequence[Reply]:
        """A command that writes. Returns the write errors that are final for their documents, duplicates among them; the others are
        written then. Raises what other refusals mean: of all of it nothing counts as written."""
        reply: Reply = await records.database.command(command | {"ordered": False, "writeConcern": self._write_concern})
        errors: Sequence[Reply] = reply.get("writeErrors", ())
        for error in errors:
            if error["code"] not in _FINAL:
                raise self._refused({**error, "errmsg": f"document {_id_in(command, error)}: {error.get('errmsg')}"})
        if "writeConcernError" in reply:
            raise self._refused(reply["writeConcernError"])
        return errors

    def translated(self, error: PyMongoError) -> ZjpError:
        # Who cannot be found is not found by waiting longer.
        if error.timeout and not isinstance(error, ServerSelectionTimeoutError):
            return self._late(self._text(error))
        if isinstance(error, OperationFailure):
            return self._refused({"code": error.code, "errmsg": (error.details or {}).get("errmsg") or str(error)})
        return StoreUnavailable(
            f"MongoDB {self._name} does not answer: {self._text(error)}; check MONGODB_URI, that the server runs, and the network"
        )

    def _late(self, reason: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"MongoDB {self._name} did not answer in time ({reason}); check that it runs and can be reached, "
            f"or raise MONGODB_TIMEOUT ({self._timeout_s:g}s)"
        )

    def _refused(self, error: Reply) -> ZjpError:
        code, text = error.get("code"), self.reason(error)
        if code in _DENIED:
            return StoreDenied(
                f"MongoDB {self._name}: the user of MONGODB_URI {_DENIED[code]}: {text}; "
                "check its name and password, and that it has the role readWrite on that database"
            )
        if code in _FULL or "space quota" in text:
            return StoreFull(
                f"MongoDB {self._name} is full: {text} (code {code}); free space there or lower RECORDS_TTL"
            )
        return StoreUnavailable(f"MongoDB {self._name} refused: {text} (code {code}); the log of the server says more")

    def reason(self, error: Reply) -> str:
        """Why one document was refused, as the server said it."""
        return self._text(error.get("errmsg", "no reason given"))

    def _text(self, error: object) -> str:
        text = " ".join(str(error).split(", Timeout:")[0].split(", full error:")[0].split())
        text = re.sub(r" \(configured timeouts: [^)]*\)", "", text)  # of its monitor, not of the call
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text if len(text) <= REASON_CHARS_MAX else text[:REASON_CHARS_MAX] + "..."


class StoreDenied(StoreUnavailable):
    """Name, password or role are wrong. It waits for somebody who changes them, here or on the server."""


def _id_in(command: dict[str, Any], error: Reply) -> str:
    """Of the document that the error is about, as a shell shows it."""
    documents = command.get("documents") or [update["u"] for update in command["updates"]]
    key = documents[error["index"]]["_id"]
    return str(key.as_uuid()) if key.subtype == UUID_SUBTYPE else bytes(key).hex()


def is_too_large(error: Exception) -> bool:
    """A command that the server, or the driver knowing its limit, refuses whole."""
    return isinstance(error, DocumentTooLarge) or (isinstance(error, OperationFailure) and error.code in _LARGE)


def is_there(error: Reply) -> bool:
    """The server has a document of this `_id`. Another unique index, which zjp has not made, keeps out what is not there."""
    if error["code"] != DUPLICATE:
        return False
    key = error.get("keyPattern")
    return _OF_ID.search(str(error.get("errmsg"))) is not None if key is None else dict(key) == {"_id": 1}


def check_uri(uri: str) -> None:
    """Raises: ConfigError."""
    if not uri.startswith(_SCHEMES):
        scheme = re.match(r"[a-z0-9+.-]{1,20}:(?=//)", uri)
        begins = f"begins with {scheme[0]!r}" if scheme else "has no scheme"
        raise ConfigError(f"MONGODB_URI {begins}, it must begin with mongodb:// or mongodb+srv://")


def _login_and_hosts(uri: str) -> tuple[str, str]:
    rest = uri.partition("://")[2]
    login, at, hosts = re.split(r"[/?]", rest, maxsplit=1)[0].rpartition("@")
    return (login, hosts) if at else ("", hosts)


def hosts_of(uri: str) -> str:
    login, hosts = _login_and_hosts(uri)
    # A password with a "/" in it that was not escaped ends up among the hosts, where the URI is refused but must not be shown.
    return hosts if login or "@" not in uri else "host not shown"


def _secrets_of(uri: str) -> Sequence[str]:
    rest = uri.partition("://")[2]
    login = rest.rpartition("@")[0]
    password = login.partition(":")[2]
    options = re.findall(r"(?:password|secret|token)[^=&]*=([^&]+)", rest.partition("?")[2], re.IGNORECASE)
    known = {password, unquote_plus(password), login, *options, *map(unquote_plus, options)}
    return sorted((secret for secret in known if secret), key=len, reverse=True)
