"""The ground moves under running ingest: a table goes away, gains columns, the disk is full, the clock goes back.

Against the real process: every batch is answered in words, what was acknowledged is there once, and ingest goes on.
"""

import datetime
import glob
import json
import os
import queue
import subprocess
import threading
import time
import urllib.error
import uuid

import grpc
import pytest
from deltalake import DeltaTable
from hostile import PATIENCE_SECONDS, count, event
from support import KEYED, Server

NOT_FOUND = grpc.StatusCode.NOT_FOUND.value[0]


class Stream:
    """One AppendStream, a batch at a time."""

    def __init__(self, server, ingest):
        self.messages, stubs = ingest
        self.channel = grpc.insecure_channel(f"127.0.0.1:{server.flight_port}")
        self.outgoing, self.sent = queue.Queue(), 0
        self.replies = stubs.IngestStub(self.channel).AppendStream(iter(self.outgoing.get, None), timeout=2 * PATIENCE_SECONDS)

    def send(self, table, *lines):
        """Sends NDJSON lines; returns the reply."""
        self.sent += 1
        self.outgoing.put(self.messages.AppendRequest(table=table, request_id=self.sent, ndjson=b"\n".join(lines)))
        reply = next(self.replies)
        assert reply.request_id == self.sent, reply
        return reply

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.outgoing.put(None)
        if kind is None:
            assert list(self.replies) == []
        self.channel.close()


def test_a_table_dropped_under_a_stream(tmp_path, ingest):
    """Batches for a dropped table are NOT_FOUND, the stream and its other table live on, a table made anew starts empty."""
    with Server(tmp_path / "lake") as server, Stream(server, ingest) as stream:
        server.sql(KEYED)
        server.sql(KEYED.replace("keyed", "other"))
        for number in range(10):
            assert stream.send("keyed", event("a", number)).accepted == 1
        server.sql("DROP TABLE keyed")
        for number in range(3):
            reply = stream.send("keyed", event("a", number))
            assert reply.error.code == NOT_FOUND and "keyed" in reply.error.message, reply
            assert stream.send("other", event("a", number)).accepted == 1
        server.sql(KEYED)
        assert stream.send("keyed", event("a", 0), event("a", 1)).accepted == 2, "the keys of the old table are forgotten"
        assert count(server, "keyed") == (2, 2) and count(server, "other") == (3, 3)


def test_a_table_dropped_under_batches_in_flight(tmp_path, ingest):
    """300 batches in one stream, 32 of them in work when the table is dropped: each has one reply, taken or NOT_FOUND."""
    messages, stubs = ingest
    with Server(tmp_path / "lake") as server, grpc.insecure_channel(f"127.0.0.1:{server.flight_port}") as channel:
        server.sql(KEYED)
        dropped = threading.Event()

        def batch(number):
            # The second half is sent when the table is gone; the first is in work meanwhile.
            assert number < 150 or dropped.wait(PATIENCE_SECONDS)
            lines = b"\n".join(event(f"b{number}", row) for row in range(10))
            return messages.AppendRequest(table="keyed", request_id=number, ndjson=lines)

        replies = {}
        for reply in stubs.IngestStub(channel).AppendStream(map(batch, range(300)), timeout=PATIENCE_SECONDS):
            assert reply.request_id not in replies
            replies[reply.request_id] = (reply.accepted, reply.error.code, reply.error.message)
            if len(replies) == 50:
                server.sql("DROP TABLE keyed")
                dropped.set()
        assert sorted(replies) == list(range(300))
        others = [reply for reply in replies.values() if reply[:2] not in ((10, 0), (0, NOT_FOUND))]
        assert not others, (len(others), others[:3])
        assert all(replies[number][1] == NOT_FOUND for number in range(150, 300))


def test_a_table_dropped_and_made_anew_under_senders(tmp_path):
    """Eight senders while their table is dropped and made ten times: 200 or an answer in words, and the last one counts right."""
    with Server(tmp_path / "lake") as server:
        server.sql(KEYED)
        stop, answers, failures = threading.Event(), [], []

        def send(name):
            number = 0
            while not stop.is_set():
                number += 1
                try:
                    answers.append(server.rows("keyed", event(name, number))["accepted"])
                except urllib.error.HTTPError as error:
                    detail = json.loads(error.read())["detail"]
                    answers.append(error.code)
                    # 404: it is gone; 409: it was replaced while the rows were on their way.
                    if error.code not in (404, 409) or "keyed" not in detail:
                        failures.append((error.code, detail))

        def answered(more):
            wanted, deadline = len(answers) + more, time.monotonic() + PATIENCE_SECONDS
            while len(answers) < wanted and time.monotonic() < deadline:
                time.sleep(0.001)

        threads = [threading.Thread(target=send, args=(f"s{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(10):
                answered(40)
                server.sql("DROP TABLE keyed")
                answered(20)
                server.sql(KEYED)
            answered(40)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not failures, (len(failures), failures[:5])
        assert 404 in answers and 1 in answers
        n, ids = count(server, "keyed")
        assert n == ids > 0
        assert server.rows("keyed", event("after", 0))["accepted"] == 1
        assert count(server, "keyed") == (n + 1, n + 1)


def test_columns_added_under_a_stream(tmp_path, ingest):
    """A field is rejected before its column exists and kept after; rows without it are taken throughout."""
    with Server(tmp_path / "lake") as server, Stream(server, ingest) as stream:
        server.sql(KEYED)
        for column in range(5):
            plain, rich = event(f"plain{column}", 0), event(f"rich{column}", 0, **{f"c{column}": 7})
            reply = stream.send("keyed", plain, rich)
            assert (reply.accepted, len(reply.rejected)) == (1, 1), reply
            assert f"c{column}" in reply.rejected[0].field + reply.rejected[0].reason, reply
            server.sql(f"ALTER TABLE keyed ADD COLUMN c{column} BIGINT")
            reply = stream.send("keyed", plain, rich)
            assert (reply.accepted, reply.duplicates, len(reply.rejected)) == (1, 1, 0), reply
        sums = ", ".join(f"sum(c{column}) AS c{column}" for column in range(5))
        assert server.sql(f"SELECT {sums} FROM keyed") == [{f"c{column}": 7 for column in range(5)}]
        assert count(server, "keyed") == (10, 10)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    mount = [*sudo, "mount", "-t", "tmpfs", "-o", "size=24m,mode=777", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"THE FULL DISK IS NOT TESTED: this machine allows no mount: {done.stderr.strip()}")
    yield folder
    subprocess.run([*sudo, "umount", "-l", str(folder)], check=True)


def free(folder):
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


class Numbered:
    """One producer of numbered batches that no compression makes small."""

    def __init__(self, server):
        self.server, self.accepted = server, 0

    def send(self):
        """Sends the next batch, the same one until it is taken. Returns None, or the status and words of a refusal."""
        first = self.accepted * 200
        rows = [event("d", first + n, text=uuid.uuid5(uuid.NAMESPACE_OID, str(first + n)).hex) for n in range(200)]
        try:
            reply = self.server.rows("disk", b"\n".join(rows), {"Adlake-Producer-Id": "p", "Adlake-Sequence": str(self.accepted)})
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())["detail"]
        assert reply["accepted"] + reply["duplicates"] == 200 and not reply["rejected"], reply
        self.accepted += 1
        return None


def check_disk(server, producer, lake):
    """Every acknowledged row once, by SQL and by another Delta reader."""
    assert count(server, "disk", f"number < {producer.accepted * 200}") == (producer.accepted * 200,) * 2
    assert count(server, "disk")[0] in (producer.accepted * 200, (producer.accepted + 1) * 200)
    assert DeltaTable(str(lake / "tables" / "disk")).to_pyarrow_table(columns=["number"]).num_rows == count(server, "disk")[0]


DISK_SETTINGS = {"maintenance.enabled": "false", "lease.ttl": "1s", "lease.renew": "300ms"}


def test_a_full_disk_loses_nothing_and_ingest_goes_on(tmp_path, small_disk):
    """The disk fills mid-commit: refused in words, reads go on, also after kill -9; with space again the same batch is taken."""
    lake, ballast = small_disk / "lake", small_disk / "ballast"
    table = KEYED.replace("keyed", "disk").replace("number BIGINT NOT NULL", "number BIGINT NOT NULL, text VARCHAR")
    folder = tmp_path / "beside"
    folder.mkdir()
    with Server(lake, folder=folder, settings=DISK_SETTINGS) as server:
        server.sql(table)
        producer = Numbered(server)
        for _ in range(20):
            assert producer.send() is None
        # All but a little of the space: what follows fills it in the middle of some commit.
        ballast.write_bytes(bytes(free(small_disk) - (256 << 10)))
        refusals = []
        for _ in range(1_000):
            refused = producer.send()
            refusals += [refused] if refused else []
            if len(refusals) == 50:
                # The holder of the table's lease cannot write its renewal either.
                time.sleep(2)
            if len(refusals) == 60:
                break
        assert len(refusals) == 60
        print(set(refusals))
        assert {code for code, _ in refusals} == {503}, set(refusals)
        assert all("disk is full" in detail and str(small_disk) not in detail for _, detail in refusals), set(refusals)
        assert server.sql("SELECT 1 AS n") == [{"n": 1}]
        check_disk(server, producer, lake)
        known = {file.rsplit("/", 1)[1] for file in DeltaTable(str(lake / "tables" / "disk")).file_uris()}
        left = {file.name for file in (lake / "tables" / "disk").rglob("*.parquet*") if "_delta_log" not in file.parts} - known
        assert not left, f"files of refused batches fill the disk: {left}"
        server.kill()
    with Server(lake, folder=folder, settings=DISK_SETTINGS) as server:
        producer.server = server
        check_disk(server, producer, lake)
        refused = producer.send()
        assert refused is None or "disk is full" in refused[1], refused
        ballast.unlink()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while refused := producer.send():
            assert time.monotonic() < deadline, refused
        for _ in range(20):
            assert producer.send() is None
        check_disk(server, producer, lake)
        server.sql("OPTIMIZE TABLE disk")
        check_disk(server, producer, lake)


@pytest.fixture
def clock(tmp_path, monkeypatch):
    """Sets how far the wall clock of servers started from now on is away ("-2h"); the monotonic clock is left alone."""
    (library,) = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1") or [None]
    assert library, "libfaketime is not installed; tests/run.sh tools installs it"
    file = tmp_path / "clock"

    def set_to(offset):
        file.with_suffix(".new").write_text(offset + "\n")
        file.with_suffix(".new").rename(file)

    set_to("+0")
    for name, value in {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    return set_to


def hours_ago(hours):
    return (datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def now_of(server):
    return datetime.datetime.fromisoformat(server.sql("SELECT now() AS now")[0]["now"])


def watermark(server):
    return server.sql("SELECT watermark FROM system.ingest WHERE table_name = 'clocked' AND source = 'requests'")[0]["watermark"]


CLOCKED = KEYED.replace("keyed", "clocked").replace("WITH (", "WITH (lateness='4 days', clock_skew='1 hour', ")


def test_a_clock_that_goes_back_and_forth(tmp_path, clock):
    """-30 h, +30 h and back, also over a restart: events are taken once, the watermark does not go back, the lease is kept."""
    lake, sent = tmp_path / "lake", 0
    log = tmp_path / "first.log"
    server = Server(lake, log=log, settings={"lease.ttl": "10s", "lease.renew": "500ms"})
    try:
        server.sql(CLOCKED)
        seen, began = [], now_of(server)
        for step, offset in enumerate(["+0", "-30h", "+30h", "-5m", "+0"]):
            clock(offset)
            time.sleep(1.2)  # longer than libfaketime and two renewals of the lease need
            if step == 3:
                server.kill()
                server = Server(lake, log=tmp_path / "second.log")
            body = b"\n".join(event("a", n, event_time=hours_ago(31)) for n in range(step * 10 + 20))
            reply = server.rows("clocked", body, {"Adlake-Producer-Id": "p", "Adlake-Sequence": str(step)})
            late = [row for row in reply["rejected"] if "clock_skew" in row["reason"] or "lateness" in row["reason"]]
            assert not late and reply["accepted"] == step * 10 + 20 - sent, (offset, reply)
            sent += reply["accepted"]
            again = server.rows("clocked", body, {"Adlake-Producer-Id": "p", "Adlake-Sequence": str(step)})
            assert again["replayed"] and again["accepted"] == reply["accepted"], again
            assert count(server, "clocked") == (sent, sent)
            seen.append(watermark(server))
        assert seen == sorted(seen), seen
        assert abs((now_of(server) - began).total_seconds()) < 4 * PATIENCE_SECONDS
        assert server.sql("SELECT fence FROM system.leases WHERE name = 'ingest-clocked'") == [{"fence": 2}], "one owner per process"
        assert server.stop() == 0
    finally:
        server.kill()
    assert DeltaTable(str(lake / "tables" / "clocked")).to_pyarrow_table(columns=["number"]).num_rows == sent


def test_events_ahead_of_a_clock_that_went_back(tmp_path, clock):
    """With the clock two hours back, events of now are from the future: rejected by name, kept, and taken by REPLAY later."""
    with Server(tmp_path / "lake") as server:
        server.sql(CLOCKED)
        assert server.rows("clocked", event("a", 0, event_time=hours_ago(0)))["accepted"] == 1
        clock("-2h")
        time.sleep(1.2)
        reply = server.rows("clocked", event("a", 1, event_time=hours_ago(0)))
        assert reply["accepted"] == 0 and "clock_skew" in reply["rejected"][0]["reason"], reply
        clock("+0")
        time.sleep(1.2)
        server.sql("REPLAY REJECTS FROM clocked")
        assert count(server, "clocked") == (2, 2)
