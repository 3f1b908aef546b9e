"""One change as one reader sees it: which action it is for him, and the delta of contract 2.4 that says so."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import orjson

from pgsync.expression import Reader
from pgsync.stream.ring import Key, groups_of_change
from pgsync.stream.transaction import Change

# Actions that no delta can say: the rows have to be loaded anew.
RELOADS: Final = frozenset({"T", "R", "F"})


@lru_cache(maxsize=4096)
def _groups_json(groups: tuple[str, ...]) -> bytes:
    return orjson.dumps(list(groups))


@lru_cache(maxsize=4096)
def _participant_json(participant: tuple[str, str] | None) -> bytes:
    return b"null" if participant is None else orjson.dumps({"kind": participant[0], "id": participant[1]})


@lru_cache(maxsize=4096)
def _string_json(text: str | None) -> bytes:
    return orjson.dumps(text)


def encode_delta(
    change: Change, action: str, groups: tuple[str, ...], committed_at: str, data: bytes | None = None
) -> bytes:
    """One delta of contract 2.4. `action` and `groups` are those of the change as its reader sees it; D has no data.

    `data` is the row when the log does not have all of it.
    """
    if data is None and action != "D":
        data = change.data
    origin = change.origin
    return b"".join(
        (
            b'{"id":%d,"actionType":"%b","modelName":' % (change.sync_id, action.encode()),
            _string_json(change.model.typename),
            b',"modelId":',
            orjson.dumps(change.row_id),
            b',"data":',
            b"null" if data is None else data,
            b',"syncGroups":',
            _groups_json(groups),
            b"" if change.transaction_id is None else b',"transactionId":%b' % orjson.dumps(change.transaction_id),
            b',"createdAt":',
            _string_json(committed_at),
            b',"actor":',
            _participant_json(origin.actor),
            b',"onBehalfOf":',
            _participant_json(origin.on_behalf_of),
            b',"capabilityId":',
            _string_json(origin.capability_id),
            b',"confirmationState":"auto"}',
        )
    )


def seen_as(change: Change, keys: frozenset[Key], reader: Reader | None) -> tuple[str, tuple[str, ...]] | None:
    """The action and groups of a change for a session with these keys, one of which finds the change.

    A row that leaves what a session may see, by its groups or by the model's read rule, is a D there; one that enters
    is an I; both carry only the groups of their side. None: neither the old nor the new row is the reader's to see.
    Where the log does not have the old row, it counts as seen for what must go and as unseen for what must come.
    """
    judged, previous = change.judged, change.previous_groups
    if judged is None and (previous is None or change.action != "U"):
        return change.action, groups_of_change(change)
    is_seen = was_seen = True
    if change.action == "U" and previous is not None:
        organization = change.organization
        is_seen = any((organization, group) in keys for group in change.groups)
        was_seen = any((organization, group) in keys for group in previous)
    if judged is not None:
        if reader is None:
            return None
        row, old = judged.row, judged.previous_row
        is_seen = is_seen and row is not None and judged.matches(row, reader)
        if change.action in ("I", "R"):
            return (change.action, groups_of_change(change)) if is_seen else None
        if old is not None:
            was_seen = was_seen and judged.matches(old, reader)
        elif is_seen:
            return "I", groups_of_change(change)
        if change.action == "D":
            return ("D", groups_of_change(change)) if was_seen else None
    if is_seen:
        return ("U" if was_seen else "I"), groups_of_change(change)
    if was_seen:
        return "D", groups_of_change(change) if previous is None else previous
    return None
