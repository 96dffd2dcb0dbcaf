"""kill -9 at random moments under ingest, load and refresh: no acknowledged row lost, none doubled, no half view.

Named invariants checked after every kill: ACK-1 (an acknowledged batch is whole), DED-1 (no event twice, though every
unacknowledged batch is sent again), GC-1 (a batch is there whole or not at all), RUN-1 and MV-1 (the view holds whole
batches only, and every batch acknowledged before the last acknowledged refresh began).

ADLAKE_KILLS sets the number of kills (50), ADLAKE_SEED the seed of the moments.
"""

import http.client
import json
import os
import random
import subprocess
import threading
import time
import urllib.error
import urllib.request

from support import ADLAKE, Server, location

KILLS = int(os.environ.get("ADLAKE_KILLS", "50"))
SEED = int(os.environ.get("ADLAKE_SEED", "20261120"))
BATCH, FILE_ROWS = 50, 200

TABLE = """
CREATE TABLE kill_events (
  event_id VARCHAR NOT NULL, event_time TIMESTAMP WITH TIME ZONE NOT NULL, batch VARCHAR NOT NULL, price_micros BIGINT NOT NULL
) WITH (event_time='event_time', event_key='event_id', partition_by='day(event_time)', sort_by='batch, event_time')
"""
VIEW = """
CREATE MATERIALIZED VIEW kill_batches WITH (refresh='manual') AS
SELECT batch, count(*) AS events, sum(price_micros) AS spend FROM kill_events GROUP BY batch
"""


def rows_of(batch, count):
    return [
        {"event_id": f"{batch}-{n}", "event_time": f"2026-11-{1 + n % 5:02}T12:00:{n % 60:02}Z", "batch": batch, "price_micros": n}
        for n in range(count)
    ]


def ndjson(rows):
    return "\n".join(json.dumps(row) for row in rows).encode()


def post(server, path, body, content_type, timeout=120):
    request = urllib.request.Request(server.http_url + path, body, {"content-type": content_type})
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return json.loads(response.read())


def sql(server, statement):
    return post(server, "/v1/sql", json.dumps({"sql": statement}).encode(), "application/json")


class Ledger:
    """What clients were told. A batch or file is noted as acknowledged only after the reply has been read."""

    def __init__(self):
        self.lock = threading.Lock()
        self.acknowledged, self.unacknowledged, self.loaded = set(), [], set()
        self.in_last_refresh, self.refreshes = set(), 0
        self.failures = []
        self.next = 0

    def fail(self, what):
        """An answer that no client should get; the connection's end is not one."""
        with self.lock:
            self.failures.append(what)

    def new_batch(self):
        with self.lock:
            if self.unacknowledged and self.next % 2:
                self.next += 1
                return self.unacknowledged.pop(0)
            self.next += 1
            return f"batch{self.next:06}"


def produce(server, ledger, stop):
    while not stop.is_set():
        batch = ledger.new_batch()
        try:
            reply = post(server, "/v1/tables/kill_events/rows", ndjson(rows_of(batch, BATCH)), "application/x-ndjson")
        except urllib.error.HTTPError as error:
            return ledger.fail(f"{batch}: {error.code} {error.read().decode(errors='replace')}")
        except (OSError, ValueError, http.client.HTTPException):
            with ledger.lock:
                ledger.unacknowledged.append(batch)
            return
        if reply["accepted"] + reply["duplicates"] != BATCH or reply["rejected"]:
            return ledger.fail(f"{batch}: {reply}")
        with ledger.lock:
            ledger.acknowledged.add(batch)


def load(server, ledger, stop, folder, round_number):
    for number in range(1000):
        if stop.is_set():
            return
        name = f"file{round_number:03}x{number:04}"
        path = folder / f"{name}.ndjson"
        path.write_bytes(ndjson(rows_of(name, FILE_ROWS)))
        try:
            sql(server, f"COPY INTO kill_events FROM '{path}'")
        except urllib.error.HTTPError as error:
            return ledger.fail(f"{name}: {error.code} {error.read().decode(errors='replace')}")
        except (OSError, ValueError, http.client.HTTPException):
            return
        with ledger.lock:
            ledger.loaded.add(name)


def refresh(server, ledger, stop):
    while not stop.is_set():
        with ledger.lock:
            before = set(ledger.acknowledged | ledger.loaded)
        try:
            sql(server, "REFRESH MATERIALIZED VIEW kill_batches")
        except urllib.error.HTTPError as error:
            return ledger.fail(f"REFRESH: {error.code} {error.read().decode(errors='replace')}")
        except (OSError, ValueError, http.client.HTTPException):
            return
        with ledger.lock:
            ledger.in_last_refresh = before
            ledger.refreshes += 1


def expected(name):
    return FILE_ROWS if name.startswith("file") else BATCH


def table_of(server, statement):
    answer = sql(server, statement)
    names = [column["name"] for column in answer["columns"]]
    return [dict(zip(names, row)) if isinstance(row, list) else row for row in answer["rows"]]


def check(server, ledger):
    counted = table_of(server, "SELECT batch, count(*) AS n, count(DISTINCT event_id) AS ids, sum(price_micros) AS spend FROM kill_events GROUP BY batch")
    present = {row["batch"] for row in counted}
    for row in counted:
        wanted = expected(row["batch"])
        assert (row["n"], row["ids"], row["spend"]) == (wanted, wanted, sum(range(wanted))), f"doubled or torn: {row}"
    lost = (ledger.acknowledged | ledger.loaded) - present
    assert not lost, f"acknowledged and lost: {sorted(lost)[:5]}"
    view = table_of(server, "SELECT batch, events, spend FROM kill_batches")
    for row in view:
        wanted = expected(row["batch"])
        assert (row["events"], row["spend"]) == (wanted, sum(range(wanted))), f"half a view: {row}"
    missing = ledger.in_last_refresh - {row["batch"] for row in view}
    assert not missing, f"in an acknowledged refresh and gone: {sorted(missing)[:5]}"


def test_kill_at_random_moments(tmp_path):
    moments = random.Random(SEED)
    ledger, lake, files = Ledger(), tmp_path / "lake", tmp_path / "files"
    files.mkdir()
    for kill in range(KILLS):
        with Server(lake) as server:
            if kill == 0:
                sql(server, TABLE)
                sql(server, VIEW)
            check(server, ledger)
            stop = threading.Event()
            jobs = [(produce, server, ledger, stop), (produce, server, ledger, stop)]
            jobs += [(load, server, ledger, stop, files, kill), (refresh, server, ledger, stop)]
            threads = [threading.Thread(target=job, args=arguments) for job, *arguments in jobs]
            for thread in threads:
                thread.start()
            time.sleep(moments.uniform(0.02, 0.7))
            server.kill()
            stop.set()
            for thread in threads:
                thread.join()
            assert not ledger.failures, ledger.failures
    assert ledger.refreshes and ledger.loaded, "no refresh or no file was acknowledged; the test showed nothing of them"
    with Server(lake) as server:
        check(server, ledger)
        for name in sorted(path.stem for path in files.iterdir()):
            sql(server, f"COPY INTO kill_events FROM '{files / name}.ndjson'")
            ledger.loaded.add(name)
        check(server, ledger)
    print(f"{KILLS} kills: {len(ledger.acknowledged)} batches and {len(ledger.loaded)} files acknowledged, all there once")
    assert len(ledger.acknowledged) > KILLS // 3, "the producers got almost nothing done; the test showed nothing"


def test_kill_a_load_half_way(tmp_path):
    """A killed `adlake load` leaves nothing visible, and the next one loads the file once."""
    lake, path = tmp_path / "lake", tmp_path / "big.ndjson"
    with open(path, "wb") as out:
        for part in range(40):
            out.write(ndjson(rows_of(f"part{part}", 5_000)) + b"\n")
    whole = 40 * 5_000
    with Server(lake) as server:
        sql(server, TABLE)
    moments = random.Random(SEED + 1)
    command = [ADLAKE, "load", "--lake", location(lake), "kill_events", str(path)]
    for _ in range(5):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.05, 1.0))
        process.kill()
        process.wait()
        with Server(lake) as server:
            (row,) = table_of(server, "SELECT count(*) AS n FROM kill_events")
            assert row["n"] in (0, whole), row
    for expected_word in ("loaded", "already loaded"):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert expected_word in (done.stdout + done.stderr).lower(), done
    with Server(lake) as server:
        (row,) = table_of(server, "SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM kill_events")
        assert (row["n"], row["ids"]) == (whole, whole), row
