"""Hostile HTTP clients against the real process: too many at once, too slow, too small requests.

Each is about one promise: the server refuses in words instead of growing or stalling, honest clients are served meanwhile,
and what was acknowledged is there once.
"""

import asyncio
import json
import random
import time

import pytest
from hostile import PATIENCE_SECONDS, Connection, active_files, count, event, many_files, peak_mib, post
from support import KEYED, Server

SEED = 20261120


def test_a_thousand_connections_at_once_are_taken_or_told_to_come_back(tmp_path):
    """1,000 senders and a queue for seven of their batches: 200 or 429 with Retry-After, memory bounded, nothing lost or doubled."""
    many_files()
    connections, batches, rows = 1_000, 2, 100
    settings = {
        "ingest.queue_size": "64 KiB",
        "ingest.key_index_size": "32 MiB",
        "http.max_bodies_memory": "32 MiB",
        "query.memory_limit": "64 MiB",
        "storage.metadata_cache": "16 MiB",
        # The first that are answered wait, idle, for the last of a thousand.
        "http.head_timeout": "5 minutes",
        "http.body_timeout": "5 minutes",
    }
    # What the limits allow beyond the idle process, in MiB: bodies (a growing buffer is twice its content), key indexes, a
    # statement, the cache; the queue and its way to Parquet are lost in rounding; 64 KiB for each connection's buffers and
    # task; 256 MiB for the log of the table, one merge of small files, and what the allocator keeps of all that.
    bound = 2 * 32 + 32 + 64 + 16 + connections * 64 / 1024 + 256
    refusals, moments = [], random.Random(SEED)

    def request(name, batch):
        return post("keyed", b"\n".join(event(name, number) for number in range(batch * rows, (batch + 1) * rows)))

    async def send(connection, name, batch, answering):
        status, headers, answer = await answering
        while status == 429 and int(headers["retry-after"]) >= 1:
            refusals.append(json.loads(answer)["detail"])
            await asyncio.sleep(int(headers["retry-after"]) * moments.uniform(0.2, 1.5))
            status, headers, answer = await connection.ask(request(name, batch))
        assert status == 200, (status, headers, answer)
        answer = json.loads(answer)
        assert (answer["accepted"], answer["duplicates"], answer["rejected"]) == (rows, 0, []), answer
        return rows

    async def all_at_once(port):
        opened = [(f"c{n}", await Connection.open(port)) for n in range(connections)]
        accepted = 0
        for batch in range(batches):
            # Everything but the last byte; then the last bytes, so that all requests are there at once.
            requests = [(connection, request(name, batch)) for name, connection in opened]
            for connection, whole in requests:
                connection.writer.write(whole[:-1])
            await asyncio.gather(*(connection.writer.drain() for connection, _ in requests))
            for connection, whole in requests:
                connection.writer.write(whole[-1:])
            sent = (send(connection, name, batch, connection.answer()) for name, connection in opened)
            accepted += sum(await asyncio.gather(*sent))
        for _, connection in opened:
            connection.close()
        return accepted

    with Server(tmp_path / "lake", settings=settings) as server:
        server.sql(KEYED)
        idle = server.rss_mib()
        accepted = asyncio.run(asyncio.wait_for(all_at_once(server.http_port), 10 * PATIENCE_SECONDS))
        peak = peak_mib(server)
        assert accepted == connections * batches * rows
        assert count(server, "keyed") == (accepted, accepted)
    assert refusals, "the queue was never full: the test showed nothing"
    assert any("ingest.queue_size" in detail for detail in refusals), set(refusals)
    assert peak - idle < bound, f"grew from {idle:.0f} to {peak:.0f} MiB; the configuration allows {bound:.0f} MiB"
    print(f"{len(refusals)} refusals, {idle:.0f} MiB idle, {peak:.0f} MiB peak, bound {bound:.0f} MiB more")


PATIENCE = {"http.head_timeout": "6s", "http.body_timeout": "6s", "flight.handshake_timeout": "6s"}
# An HTTP connection may wait for its first byte and for the rest of the head; the rest is for slow machines.
CUT_OFF_SECONDS = 60
SLOW_OF_A_KIND = 50
HEAD = b"POST /v1/tables/keyed/rows HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n"


async def silent(_):
    pass


async def half_head(connection):
    connection.writer.write(HEAD)


async def dripping_head(connection):
    connection.writer.write(HEAD + b"x-slow: ")
    await drip(connection)


async def dripping_body(connection):
    connection.writer.write(HEAD + b"content-length: 65536\r\n\r\n")
    await drip(connection)


async def half_preface(connection):
    connection.writer.write(b"PRI * HTTP/2.0\r\n\r\nSM")


async def drip(connection):
    while True:
        connection.writer.write(b" ")
        await connection.writer.drain()
        await asyncio.sleep(1)


SLOW = {
    "http silent": ("http_port", silent),
    "http half head": ("http_port", half_head),
    "http dripping head": ("http_port", dripping_head),
    "http dripping body": ("http_port", dripping_body),
    "grpc silent": ("flight_port", silent),
    "grpc half preface": ("flight_port", half_preface),
}


async def until_cut_off(connection, behave):
    """Whether the server closed the connection in time."""
    behaving = asyncio.ensure_future(behave(connection))
    try:
        await asyncio.wait_for(connection.closed(), CUT_OFF_SECONDS)
        return True
    except asyncio.TimeoutError:
        return False
    finally:
        behaving.cancel()
        await asyncio.gather(behaving, return_exceptions=True)
        connection.close()


async def honest(port, stop):
    """One client that sends an event every tenth of a second; returns how many were taken."""
    connection, sent = await Connection.open(port), 0
    while not stop.is_set() or sent < 10:
        status, _, answer = await asyncio.wait_for(connection.ask(post("keyed", event("honest", sent))), PATIENCE_SECONDS)
        assert status == 200 and json.loads(answer)["accepted"] == 1, (status, answer)
        sent += 1
        await asyncio.sleep(0.1)
    connection.close()
    return sent


@pytest.fixture(scope="module")
def slow_clients(tmp_path_factory):
    """All kinds of slow clients at one server at the same time, and an honest one: which were cut off, what was taken."""

    async def run(server):
        opened = [
            (kind, await Connection.open(getattr(server, port)), behave)
            for kind, (port, behave) in SLOW.items()
            for _ in range(SLOW_OF_A_KIND)
        ]
        stop = asyncio.Event()
        served = asyncio.ensure_future(honest(server.http_port, stop))
        cut = await asyncio.gather(*(until_cut_off(connection, behave) for _, connection, behave in opened))
        stop.set()
        still_open = {kind: 0 for kind in SLOW}
        for (kind, *_), was_cut in zip(opened, cut):
            still_open[kind] += not was_cut
        return still_open, await served

    many_files()
    with Server(tmp_path_factory.mktemp("slow") / "lake", settings=PATIENCE) as server:
        server.sql(KEYED)
        still_open, served = asyncio.run(run(server))
        counted = count(server, "keyed")
    return still_open, served, counted


def test_honest_clients_are_served_beside_slow_ones(slow_clients):
    """While 300 connections stall, an honest client's every event is taken."""
    _, served, counted = slow_clients
    assert served >= 10 and counted == (served, served)


@pytest.mark.parametrize("kind", SLOW)
def test_slow_clients_are_cut_off(slow_clients, kind):
    """A connection that stalls, or brings a byte a second, is closed by the server."""
    still_open, *_ = slow_clients
    assert still_open[kind] == 0, f"{still_open[kind]} of {SLOW_OF_A_KIND} connections are open after {CUT_OFF_SECONDS} s"


def test_announced_bodies_that_do_not_come_take_no_memory_from_others(tmp_path):
    """20 heads that announce 64 MiB each, and send nothing, leave room for an honest client (1 GiB for all bodies)."""

    async def run(port):
        opened = [await Connection.open(port) for _ in range(20)]
        for connection in opened:
            connection.writer.write(HEAD + b"expect: 100-continue\r\ncontent-length: 67108864\r\n\r\n")
        # The server asks for a body that it has made room for, and answers one that it refuses.
        for connection in opened:
            await asyncio.wait_for(connection.reader.readuntil(b"\r\n\r\n"), PATIENCE_SECONDS)
        stop = asyncio.Event()
        stop.set()
        try:
            return await honest(port, stop)
        finally:
            for connection in opened:
                connection.close()

    with Server(tmp_path / "lake") as server:
        server.sql(KEYED)
        assert asyncio.run(run(server.http_port)) == 10


def test_a_hundred_thousand_tiny_requests_leave_few_files(tmp_path):
    """100,000 requests of one event over 64 connections: all there once, few active files, memory of a few commits."""
    connections, each = 64, 1_563
    files_max = []

    async def send(port, name):
        connection = await Connection.open(port)
        for number in range(each):
            status, _, answer = await connection.ask(post("keyed", event(name, number)))
            assert status == 200 and b'"accepted":1,' in answer, (status, answer)
        connection.close()

    async def look(server):
        loop = asyncio.get_running_loop()
        while True:
            files_max.append(await loop.run_in_executor(None, active_files, server, "keyed"))
            await asyncio.sleep(1)

    async def run(server):
        looking = asyncio.ensure_future(look(server))
        await asyncio.gather(*(send(server.http_port, f"c{n}") for n in range(connections)))
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)

    settings = {
        "maintenance.interval": "1 s",
        "ingest.key_index_size": "32 MiB",
        "query.memory_limit": "64 MiB",
        "storage.metadata_cache": "16 MiB",
    }
    # As above; requests and connections are too small to count, but the log has more commits.
    bound = 32 + 64 + 16 + 384
    with Server(tmp_path / "lake", settings=settings) as server:
        server.sql(KEYED)
        idle = server.rss_mib()
        began = time.monotonic()
        asyncio.run(asyncio.wait_for(run(server), 10 * PATIENCE_SECONDS))
        took = time.monotonic() - began
        assert count(server, "keyed") == (connections * each, connections * each)
        commits = server.sql("SELECT commits FROM system.ingest WHERE table_name = 'keyed'")[0]["commits"]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (files := active_files(server, "keyed")) > 150:
            assert time.monotonic() < deadline, f"{files} active files are left; small_files_max is 150"
            time.sleep(0.2)
        assert count(server, "keyed") == (connections * each, connections * each), "merging changed no row"
        peak = peak_mib(server)
    print(f"{took:.1f} s, {commits} commits, {max(files_max)} active files at most, {files} at the end, {idle:.0f} MiB idle, {peak:.0f} MiB peak")
    assert max(files_max) < commits / 2 and max(files_max) <= 1_000, files_max
    assert peak - idle < bound, f"grew from {idle:.0f} to {peak:.0f} MiB; the configuration allows {bound} MiB more"
