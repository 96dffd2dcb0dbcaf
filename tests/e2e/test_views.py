"""Continuous materialized views of a real server that is killed while rows come in: each is its query, at every moment."""

import random
import threading
import time

from support import KEYED, Server
from test_ingest import Producer, check_alive, events

KILLS = 8
SEED = 20261121
VIEWS = {
    "by_minute": "SELECT date_trunc('minute', event_time) AS minute, count(*) AS events, sum(number) AS total FROM keyed GROUP BY 1",
    "by_day": "SELECT date_trunc('day', event_time) AS day, avg(number) AS mean, max(event_id) AS last FROM keyed GROUP BY 1",
    "distinct_days": "SELECT count(DISTINCT date_trunc('day', event_time)) AS days FROM keyed",
}


def verified(server, view):
    """VERIFY compares the view with its query at one version; no row is a difference."""
    return server.sql(f"VERIFY MATERIALIZED VIEW {view}")


def test_continuous_views_are_right_through_kills(tmp_path):
    lake, moments, stop = tmp_path / "lake", random.Random(SEED), threading.Event()
    server = Server(lake)
    server.sql(KEYED)
    for view, query in VIEWS.items():
        server.sql(f"CREATE MATERIALIZED VIEW {view} WITH (refresh='continuous') AS {query}")
    servers = [server]
    producers = [Producer(f"views{n}", "keyed", events, servers, stop) for n in range(3)]
    for producer in producers:
        producer.start()
    try:
        for _ in range(KILLS):
            time.sleep(moments.uniform(0.5, 1.2))
            assert verified(server, "by_minute") == [] and verified(server, "by_day") == []
            server.kill()
            server = Server(lake)
            servers[:] = [server]
            check_alive(producers)
        stop.set()
        for producer in producers:
            producer.join()
        check_alive(producers)
        # A continuous view rests nine times as long as its refresh took, up to a minute.
        deadline = time.monotonic() + 240
        while any(row["pending_rows"] != 0 for row in server.sql("SELECT pending_rows FROM system.views WHERE strategy = 'incremental'")):
            assert time.monotonic() < deadline, server.sql("SELECT * FROM system.views")
            time.sleep(0.1)
        for view in ("by_minute", "by_day"):
            assert verified(server, view) == []
        (counted,) = server.sql("SELECT count(*) AS n FROM keyed WHERE event_id IS NOT NULL")
        (summed,) = server.sql("SELECT sum(events) AS n FROM by_minute")
        assert counted["n"] == summed["n"] > KILLS * 100
        # Kept as a whole: as of its last refresh, which follows by itself.
        deadline = time.monotonic() + 240
        while verified(server, "distinct_days"):
            assert time.monotonic() < deadline, server.sql("SELECT * FROM system.views")
            time.sleep(0.1)
    finally:
        stop.set()
        server.kill()
