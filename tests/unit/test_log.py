"""The log is a closed list of events, and what people wrote never gets into it."""

from __future__ import annotations

import io
import json
import logging
import re

import psycopg
import pytest

from pgsync import log
from pgsync.log import Event


def logged(level: str = "debug") -> io.StringIO:
    out = io.StringIO()
    log.configure(level=level, format="json", stream=out)
    return out


def test_an_event_is_one_line_with_its_name_level_and_fields() -> None:
    out = logged()
    log.emit(Event.SLOT_CREATED, slot="pgsync_main", lsn="0/1", failover=True)
    line = json.loads(out.getvalue())
    assert {name: line[name] for name in ("event", "level", "slot", "lsn", "failover")} == {
        "event": "slot_created",
        "level": "info",
        "slot": "pgsync_main",
        "lsn": "0/1",
        "failover": True,
    }
    assert line["timestamp"].endswith("Z")


def test_no_event_is_an_alias_of_another() -> None:
    assert {event.name for event in Event} == set(Event.__members__)


def test_a_field_outside_the_list_is_refused() -> None:
    with pytest.raises(TypeError, match="SLOT_CREATED has no field row"):
        log.emit(Event.SLOT_CREATED, row="secret")


def test_no_event_has_a_field_for_secrets_or_rows() -> None:
    for event in Event:
        for name in event.value.fields:
            assert not re.search(r"token|key|secret|password|authorization|body|row|data$|url|dsn", name), event


def test_events_below_the_level_are_dropped() -> None:
    out = logged(level="warning")
    log.emit(Event.SLOT_CREATED, slot="pgsync_main")
    log.emit(Event.SLOT_LOST, slot="pgsync_main")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["slot_lost"]


def test_an_error_is_logged_with_its_place_but_not_with_what_it_quotes() -> None:
    out = logged()
    try:
        try:
            int("4111 1111 1111 1111")
        except ValueError as exc:
            raise psycopg.errors.InvalidTextRepresentation('invalid input syntax: "4111"') from exc
    except psycopg.Error as exc:
        log.emit(Event.REQUEST_FAILED, request_id="req_1", error=exc)
    assert "4111" not in out.getvalue()
    line = json.loads(out.getvalue())
    assert (line["error"], line["sqlstate"], line["cause"]) == ("InvalidTextRepresentation", "22P02", "ValueError")
    assert "test_log.py" in line["raised_at"]


def test_text_for_a_person_is_one_line_too() -> None:
    out = io.StringIO()
    log.configure(level="info", format="text", stream=out)
    log.emit(Event.GATEWAY_STARTED, host="127.0.0.1", port=8080)
    assert len(out.getvalue().splitlines()) == 1
    assert "gateway_started" in out.getvalue()


def test_no_library_puts_lines_of_its_own_between_the_events(capsys: pytest.CaptureFixture[str]) -> None:
    logged()
    logging.getLogger("psycopg.pool").warning("error connecting in 'pool-2'")
    captured = capsys.readouterr()
    assert captured.err + captured.out == ""


def test_every_line_of_a_worker_has_its_number() -> None:
    out = io.StringIO()
    log.configure(format="json", stream=out, worker=2)
    log.emit(Event.GATEWAY_STOPPED)
    assert json.loads(out.getvalue())["worker"] == 2
