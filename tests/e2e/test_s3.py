"""The lake in a bucket: a real S3-compatible server on this machine.

versitygw (github.com/versity/versitygw, Apache-2.0), built from its Go module: one small binary, and its create-if-absent is
atomic: `adlake doctor` proves that below. Its posix back end keeps objects as files, which lets tests look at them.
"""

import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest
from support import ADLAKE, SECRET, Gateway, Server, variables

TABLE = """
CREATE TABLE events (event_id VARCHAR NOT NULL, event_time TIMESTAMP WITH TIME ZONE NOT NULL, ad_id VARCHAR, price_micros BIGINT)
WITH (event_time='event_time', event_key='event_id', partition_by='day(event_time)', sort_by='ad_id, event_time')
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("gateway") / "s3") as running:
        yield running


@pytest.fixture
def serve(gateway, tmp_path, monkeypatch):
    monkeypatch.setenv("ADLAKE_TEST_SECRET", SECRET)
    settings = {**gateway.settings(), "storage.s3.secret_access_key": "env:ADLAKE_TEST_SECRET"}

    def start(prefix):
        return Server(f"s3://ads/{prefix}", settings=settings, folder=tmp_path)

    return start


@pytest.fixture
def adlake(gateway, tmp_path):
    """Runs one command against the gateway."""

    def run(*arguments, **settings):
        environment = {**os.environ, **variables({**gateway.settings(), **settings})}
        command = [ADLAKE, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=tmp_path)

    return run


def rows(start, count):
    lines = [{"event_id": f"e{n}", "event_time": f"2026-11-{1 + n % 3:02}T00:00:00Z", "ad_id": f"ad{n % 7}", "price_micros": n} for n in range(start, start + count)]
    return "\n".join(map(json.dumps, lines)).encode()


def post(server, body):
    return server.rows("events", body)


def test_a_lake_in_a_bucket(serve, gateway):
    with serve("lake") as server:
        server.sql(TABLE)
        server.sql("CREATE MATERIALIZED VIEW by_ad WITH (refresh='manual') AS SELECT ad_id, sum(price_micros) AS spend FROM events GROUP BY ad_id")
        assert post(server, rows(0, 100))["accepted"] == 100
        again = post(server, rows(50, 100))
        assert (again["accepted"], again["duplicates"]) == (50, 50)
        server.sql("REFRESH MATERIALIZED VIEW by_ad")
        assert server.sql("SELECT sum(spend) AS spend FROM by_ad") == [{"spend": sum(range(150))}]
    with serve("lake") as server:
        assert server.sql("SELECT count(*) AS n FROM events WHERE ad_id = 'ad3'") == [{"n": len(range(3, 150, 7))}]
    assert (gateway.root / "ads" / "lake" / "tables" / "events" / "_delta_log" / "00000000000000000000.json").exists()


def test_files_are_copied_from_a_bucket(serve, gateway):
    incoming = gateway.root / "ads" / "incoming"
    incoming.mkdir()
    (incoming / "a.ndjson").write_bytes(rows(0, 10))
    (incoming / "b.ndjson").write_bytes(rows(10, 10))
    with serve("copied") as server:
        server.sql(TABLE)
        assert [line["rows"] for line in server.sql("COPY INTO events FROM 's3://ads/incoming/*.ndjson'")] == [10, 10]
        assert {line["status"] for line in server.sql("COPY INTO events FROM 's3://ads/incoming/*.ndjson'")} == {"already loaded"}
        assert server.sql("SELECT count(*) AS n FROM events") == [{"n": 20}]


def until_taken(server, body):
    """Sends again while the server is too busy; the table's keys make that harmless."""
    for _ in range(100):
        try:
            return post(server, body)
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503):
                raise
            time.sleep(0.1)
    raise AssertionError("busy all the time")


def test_two_processes_write_one_table(serve):
    """Every commit is create-if-absent: two writers never lose or double a row."""
    with serve("shared") as left:
        left.sql(TABLE)
        with serve("shared") as right:
            def send(server, parts):
                for part in parts:
                    until_taken(server, rows(part * 10, 20))

            threads = [threading.Thread(target=send, args=(left, range(0, 20))), threading.Thread(target=send, args=(right, range(5, 25)))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for server in (left, right):
                deadline = time.monotonic() + 60
                while (seen := server.sql("SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM events")[0]) != {"n": 260, "ids": 260}:
                    assert time.monotonic() < deadline, seen
                    time.sleep(0.1)


def test_kill_while_writing_to_a_bucket(serve):
    acknowledged, failures = [], []
    with serve("killed") as server:
        server.sql(TABLE)
    for round_number in range(5):
        with serve("killed") as server:
            def send():
                try:
                    for part in range(1000):
                        key = round_number * 1000 + part
                        reply = post(server, rows(key * 10, 10))
                        if reply["accepted"] + reply["duplicates"] != 10:
                            return failures.append(reply)
                        acknowledged.append(key)
                except urllib.error.HTTPError as error:
                    failures.append(f"{error.code} {error.read().decode(errors='replace')}")
                except (OSError, ValueError):
                    pass

            sender = threading.Thread(target=send)
            sender.start()
            time.sleep(0.5 + 0.13 * round_number)
            server.kill()
            sender.join()
            assert not failures, failures
    with serve("killed") as server:
        (seen,) = server.sql("SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM events")
        assert seen["n"] == seen["ids"] and seen["n"] % 10 == 0 and seen["n"] >= 10 * len(acknowledged) > 0, (seen, len(acknowledged))


def test_wrong_credentials_are_said(adlake):
    done = adlake("sql", "--lake", "s3://ads/lake", "-c", "SELECT 1", **{"storage.s3.secret_access_key": "wrong"})
    assert done.returncode == 1 and "wrong" not in done.stderr.lower().replace("wrong credentials", ""), done
    assert any(word in done.stderr.lower() for word in ("credential", "signature", "access", "denied", "403")), done.stderr


def test_the_gateway_is_fit_for_a_lake(adlake, gateway):
    """Why versitygw: `adlake doctor` finds its create-if-absent atomic, and nothing else amiss."""
    done = adlake("doctor", "--lake", "s3://ads/doctor", "--json")
    report = json.loads(done.stdout)
    verdicts = {check["name"]: check["verdict"] for check in report["checks"]}
    assert done.returncode == 0 and report["ok"], done.stdout
    for name in ("location", "put", "get", "list", "delete", "create if absent", "consistency", "multipart upload", "clock", "tables"):
        assert verdicts[name] == "ok", done.stdout
    assert not list((gateway.root / "ads").glob("doctor/_doctor/*/*")), "the probe is deleted"


def test_doctor_says_what_to_mend(adlake):
    absent = adlake("doctor", "--lake", "s3://nowhere/lake")
    assert absent.returncode == 1 and "adlake init s3://nowhere/lake" in absent.stdout, absent
    denied = adlake("doctor", "--lake", "s3://ads/lake", **{"storage.s3.secret_access_key": "wrong"})
    assert denied.returncode == 1 and "FAIL" in denied.stdout and "storage.s3" in denied.stdout, denied


def test_init_makes_a_bucket_once(adlake, gateway):
    dry = adlake("init", "s3://fresh/lake", "--dry-run")
    assert dry.returncode == 0 and "would do" in dry.stdout and not (gateway.root / "fresh").exists(), dry
    made = adlake("init", "s3://fresh/lake")
    assert made.returncode == 0 and (gateway.root / "fresh").is_dir(), made
    assert "done           bucket" in made.stdout, made.stdout
    again = adlake("init", "s3://fresh/lake")
    assert again.returncode == 0 and "already so     bucket" in again.stdout and "\ndone" not in again.stdout, again.stdout
    assert adlake("doctor", "--lake", "s3://fresh/lake").returncode == 0
