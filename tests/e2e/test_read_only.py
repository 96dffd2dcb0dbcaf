"""`serve --read-only`: a replica beside the writer on one lake sees every acknowledged row within a second, and writes nothing."""

import json
import time
import urllib.error
import urllib.request

import adbc_driver_flightsql.dbapi as adbc
import pytest
from support import Server, files, location

FOLLOW_SECONDS = 1.0
# Definitions are looked for twice a second; no promise is made of them.
DEFINITIONS_SECONDS = 10
TABLE = "CREATE TABLE events (event_id VARCHAR NOT NULL, event_time TIMESTAMP WITH TIME ZONE NOT NULL, price_micros BIGINT) WITH (event_time='event_time', event_key='event_id')"
CHANGES = [
    "INSERT INTO events VALUES ('x', TIMESTAMPTZ '2026-11-01 00:00:00+00', 1)",
    "CREATE TABLE other (a BIGINT)",
    "CREATE VIEW v AS SELECT 1 AS a",
    "DROP TABLE events",
    "ALTER TABLE events ADD COLUMN note VARCHAR",
    "REFRESH MATERIALIZED VIEW sums",
    "COPY INTO events FROM 'nowhere.ndjson'",
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    lake = tmp_path_factory.mktemp("replica") / "lake"
    with Server(lake) as writer:
        writer.sql(TABLE)
        writer.sql("CREATE MATERIALIZED VIEW sums WITH (refresh='manual') AS SELECT sum(price_micros) AS spend FROM events")
        settings = {"server.write_at": writer.http_url}
        with Server(lake, settings=settings, log=lake.parent / "replica.log", arguments=["--read-only"]) as replica:
            yield writer, replica


def post(server, body):
    request = urllib.request.Request(server.http_url + "/v1/tables/events/rows", body, {"content-type": "application/x-ndjson"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.loads(response.read())


def row(name, price=1):
    return json.dumps({"event_id": name, "event_time": "2026-11-01T00:00:00Z", "price_micros": price}).encode()


def wait_for(question, wanted, seconds=FOLLOW_SECONDS):
    """Seconds until `question` answers `wanted`; fails when it takes longer than `seconds`, of rows what a replica may lag."""
    began = time.monotonic()
    while True:
        asked = time.monotonic()
        try:
            found = question()
        except RuntimeError as error:
            found = error
        if found == wanted:
            return time.monotonic() - began
        assert asked - began <= seconds, f"after {asked - began:.2f} s still {found}, not {wanted}"
        time.sleep(0.01)


def test_an_acknowledged_row_is_on_the_replica_within_a_second(pair):
    writer, replica = pair
    (before,) = writer.sql("SELECT count(*) AS n FROM events")
    lags = []
    for number in range(1, 21):
        assert post(writer, row(f"lag{number}"))["accepted"] == 1
        lags.append(wait_for(lambda: replica.sql("SELECT count(*) AS n FROM events"), [{"n": before["n"] + number}]))
    print(f"replica lag: longest {max(lags) * 1e3:.0f} ms of {len(lags)}")


def test_definitions_follow_too(pair):
    writer, replica = pair
    writer.sql("CREATE VIEW followed AS SELECT 42 AS answer")
    wait_for(lambda: replica.sql("SELECT answer FROM followed"), [{"answer": 42}], DEFINITIONS_SECONDS)
    writer.sql("DROP VIEW followed")
    began = time.monotonic()
    while True:
        asked = time.monotonic()
        try:
            replica.sql("SELECT answer FROM followed")
        except RuntimeError:
            return
        assert asked - began <= DEFINITIONS_SECONDS, "a dropped view is still there"


@pytest.mark.parametrize("statement", CHANGES)
def test_changes_are_refused_and_say_where_to_write(pair, statement):
    writer, replica = pair
    with pytest.raises(RuntimeError) as refused:
        replica.sql(statement)
    text = str(refused.value)
    assert "read-only" in text and writer.http_url in text and "failed_precondition" in text, text


def test_rows_are_refused_on_every_protocol(pair):
    writer, replica = pair
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(replica, row("refused"))
    text = refused.value.read().decode()
    assert "read-only" in text and writer.http_url in text and refused.value.code in (400, 409, 412), (refused.value.code, text)
    with adbc.connect(replica.flight_url, autocommit=True) as connection, connection.cursor() as cursor:
        with pytest.raises(adbc.Error, match="read-only"):
            cursor.execute("INSERT INTO events VALUES ('x', TIMESTAMPTZ '2026-11-01 00:00:00+00', 1)")
    assert writer.sql("SELECT count(*) AS n FROM events WHERE event_id = 'refused'") == [{"n": 0}]


def test_a_replica_needs_no_right_to_write(tmp_path):
    """It leaves no file of its own in the lake, and does not make one that is not there."""
    lake = tmp_path / "lake"
    with Server(lake) as writer:
        writer.sql(TABLE)
        post(writer, row("a"))
    before = sorted(path for path in files(lake).rglob("*"))
    with Server(lake, arguments=["--read-only"]) as replica:
        assert replica.sql("SELECT count(*) AS n FROM events") == [{"n": 1}]
    assert sorted(path for path in files(lake).rglob("*")) == before
    if "://" not in location(lake):
        with pytest.raises(RuntimeError, match="cannot|not"):
            Server(tmp_path / "absent", arguments=["--read-only"])
        assert not (tmp_path / "absent").exists()
