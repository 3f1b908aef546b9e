"""A place to resume from, as clients keep it."""

from __future__ import annotations

import base64
import binascii


def cursor_encode(epoch: str, sync_id: int) -> str:
    """An opaque resume cursor: everything up to `sync_id` was received, on the number line that `epoch` names."""
    return base64.urlsafe_b64encode(f"1:{sync_id}:{epoch}".encode()).decode().rstrip("=")


def cursor_decode(cursor: str, epoch: str) -> int | None:
    """The sync id of a cursor; None when it is not ours or of another database or number line (then: bootstrap)."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    version, _, rest = text.partition(":")
    number, _, named = rest.partition(":")
    if version != "1" or named != epoch or not (number.isascii() and number.isdigit()):
        return None
    return int(number)
