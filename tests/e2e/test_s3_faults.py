"""Ingest, COPY and REFRESH against a bucket behind a bad network, with a kill -9 in the middle: exact in the end.

One request in twenty is dropped, one in twenty is answered 500 or 503 (a conditional write 409), some take effect and their answer is lost, some are
late (`fault_proxy`). Clients send again what was not acknowledged. Afterwards every row that was acknowledged is there once
(ACK-1, DED-1, GC-1), and the view is true (MV-1).

ADLAKE_FAULT_SECONDS sets how long the load lasts (30), ADLAKE_SEED the seed of the faults.
"""

import http.client
import json
import os
import threading
import time
import urllib.error
import urllib.request

from fault_proxy import FaultProxy
from support import Gateway, Server

SECONDS = float(os.environ.get("ADLAKE_FAULT_SECONDS", "30"))
SEED = int(os.environ.get("ADLAKE_SEED", "20261120"))
BATCH, FILE_ROWS, PRODUCERS = 25, 100, 3
ONE_REQUEST_SECONDS, ONE_BATCH_SECONDS = 60, 240

TABLE = """
CREATE TABLE faults (event_id VARCHAR NOT NULL, event_time TIMESTAMP WITH TIME ZONE NOT NULL, batch VARCHAR NOT NULL, price_micros BIGINT NOT NULL)
WITH (event_time='event_time', event_key='event_id', partition_by='day(event_time)', sort_by='batch')
"""
VIEW = """
CREATE MATERIALIZED VIEW fault_batches WITH (refresh='manual') AS
SELECT batch, count(*) AS events, sum(price_micros) AS spend FROM faults GROUP BY batch
"""


def lines(batch, count):
    rows = [{"event_id": f"{batch}-{n}", "event_time": f"2026-11-{1 + n % 3:02}T00:00:00Z", "batch": batch, "price_micros": n * n} for n in range(count)]
    return "\n".join(map(json.dumps, rows)).encode()


class Load:
    """Clients that send until told; the server may be another one when they send again."""

    def __init__(self, server):
        self.server, self.stop = server, threading.Event()
        self.lock, self.acknowledged, self.again, self.refreshes = threading.Lock(), {}, 0, 0

    def post(self, path, body, content_type):
        request = urllib.request.Request(self.server.http_url + path, body, {"content-type": content_type})
        with urllib.request.urlopen(request, timeout=ONE_REQUEST_SECONDS) as response:
            return json.loads(response.read())

    def sql(self, statement):
        return self.post("/v1/sql", json.dumps({"sql": statement}).encode(), "application/json")

    def until_told(self, send):
        """Repeats `send` until it is answered well. A refusal that says the request is wrong is a failure of the test."""
        end = time.monotonic() + ONE_BATCH_SECONDS
        while True:
            try:
                return send()
            except urllib.error.HTTPError as error:
                text = error.read().decode(errors="replace")
                assert error.code in (409, 429) or error.code >= 500, (error.code, text)
                last = f"{error.code} {text}"
            except (OSError, ValueError, http.client.HTTPException) as error:
                last = repr(error)
            assert time.monotonic() < end, f"not acknowledged in {ONE_BATCH_SECONDS} s: {last}"
            with self.lock:
                self.again += 1
            time.sleep(0.05)

    def produce(self, name):
        number = 0
        while not self.stop.is_set():
            batch = f"{name}x{number:05}"
            number += 1
            body = lines(batch, BATCH)
            reply = self.until_told(lambda: self.post("/v1/tables/faults/rows", body, "application/x-ndjson"))
            assert reply["accepted"] + reply["duplicates"] == BATCH, reply
            with self.lock:
                self.acknowledged[batch] = BATCH

    def copy(self, folder):
        number = 0
        while not self.stop.is_set():
            batch = f"file{number:05}"
            number += 1
            (folder / f"{batch}.ndjson").write_bytes(lines(batch, FILE_ROWS))
            self.until_told(lambda: self.sql(f"COPY INTO faults FROM '{folder}/{batch}.ndjson'"))
            with self.lock:
                self.acknowledged[batch] = FILE_ROWS
            self.stop.wait(0.3)

    def refresh(self):
        while not self.stop.is_set():
            self.until_told(lambda: self.sql("REFRESH MATERIALIZED VIEW fault_batches"))
            self.refreshes += 1
            self.stop.wait(0.5)


def guarded(failures, job, *arguments):
    try:
        job(*arguments)
    except BaseException as error:  # noqa: BLE001: told to the test below
        failures.append(error)


def test_nothing_is_lost_or_doubled_behind_a_bad_network(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    with Gateway(tmp_path / "s3") as gateway, FaultProxy(gateway.port, seed=SEED) as proxy:
        def start():
            return Server("s3://ads/faults", settings=gateway.settings(proxy.endpoint), folder=tmp_path)

        proxy.pause()
        server = start()
        server.sql(TABLE)
        server.sql(VIEW)
        proxy.resume()
        load, failures = Load(server), []
        jobs = [(load.produce, f"p{n}") for n in range(PRODUCERS)] + [(load.copy, folder), (load.refresh,)]
        threads = [threading.Thread(target=guarded, args=(failures, *job)) for job in jobs]
        for thread in threads:
            thread.start()
        load.stop.wait(SECONDS / 2)
        server.kill()
        load.server = server = start()
        load.stop.wait(SECONDS / 2)
        load.stop.set()
        for thread in threads:
            thread.join()
        if failures:
            server.kill()
            raise AssertionError((failures, server.tail()))

        proxy.pause()
        server.sql("REFRESH MATERIALIZED VIEW fault_batches")
        expected = {batch: (count, count, sum(n * n for n in range(count))) for batch, count in load.acknowledged.items()}
        rows = server.sql("SELECT batch, count(*) AS n, count(DISTINCT event_id) AS ids, sum(price_micros) AS spend FROM faults GROUP BY batch")
        assert {row["batch"]: (row["n"], row["ids"], row["spend"]) for row in rows} == expected
        view = server.sql("SELECT batch, events, spend FROM fault_batches")
        assert {row["batch"]: (row["events"], row["spend"]) for row in view} == {batch: (n, spend) for batch, (n, _, spend) in expected.items()}
        assert server.stop() == 0, server.tail()
        print(f"{len(expected)} batches and files, {load.refreshes} refreshes, {load.again} sent again; requests: {dict(proxy.done)}")
        assert all(proxy.done[fault] > 0 for fault in ("drop", 500, 503, "lose", "delay")), proxy.done
        assert len(expected) > 20 and load.refreshes > 0, "the clients got almost nothing done; the test showed nothing"
