"""gRPC ingest as a Python producer does it: stubs generated from proto/, typed messages, streams; and pyarrow's DoPut."""

import json
import time
import uuid
from pathlib import Path

import grpc
import pyarrow as pa
import pyarrow.flight as flight
import pytest
from support import Server

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("lake") / "lake", sql=ROOT / "sql") as running:
        yield running


@pytest.fixture
def stub(server, ingest):
    with grpc.insecure_channel(f"127.0.0.1:{server.flight_port}") as channel:
        yield ingest[1].IngestStub(channel)


def click(messages, event_id, **fields):
    return messages.Click(event_id=event_id, event_time=time.time_ns() // 1000, ad_id="a", **fields)


def test_typed_rows(server, ingest, stub):
    messages, _ = ingest
    ids = [uuid.uuid4().hex for _ in range(3)]
    rows = [click(messages, event_id, country="KR", price_micros=5) for event_id in ids]
    reply = stub.Append(messages.AppendRequest(table="clicks", request_id=7, clicks=messages.Clicks(rows=rows)))
    assert (reply.request_id, reply.accepted, reply.duplicates) == (7, 3, 0)
    reply = stub.Append(messages.AppendRequest(table="clicks", clicks=messages.Clicks(rows=rows + [messages.Click(ad_id="a")])))
    assert (reply.accepted, reply.duplicates) == (0, 3)
    assert reply.rejected[0].row == 4 and reply.rejected[0].reason
    quoted = ", ".join(f"'{event_id}'" for event_id in ids)
    assert server.sql(f"SELECT count(*) AS n, sum(price_micros) AS s FROM clicks WHERE event_id IN ({quoted})") == [{"n": 3, "s": 15}]


def test_errors_say_what_to_do(ingest, stub):
    messages, _ = ingest
    with pytest.raises(grpc.RpcError) as caught:
        stub.Append(messages.AppendRequest(table="click", clicks=messages.Clicks(rows=[click(messages, "x")])))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert "did you mean 'clicks'?" in caught.value.details()
    assert dict(caught.value.trailing_metadata())["error-kind"] == "not_found"


def test_a_stream_with_a_bad_batch(server, ingest, stub):
    messages, _ = ingest
    name = uuid.uuid4().hex

    def batch(number):
        if number == 5:
            return messages.AppendRequest(table="clicks", request_id=number, arrow_ipc=b"not arrow")
        rows = [click(messages, f"{name}-{number}-{row}") for row in range(100)]
        return messages.AppendRequest(table="clicks", request_id=number, clicks=messages.Clicks(rows=rows))

    replies = {reply.request_id: reply for reply in stub.AppendStream(batch(number) for number in range(10))}
    assert sorted(replies) == list(range(10))
    assert replies[5].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert sum(reply.accepted for reply in replies.values()) == 900
    assert server.sql(f"SELECT count(*) AS n FROM clicks WHERE event_id LIKE '{name}-%'") == [{"n": 900}]


def rows_of(name, count):
    return pa.table(
        {
            "event_id": pa.array([f"{name}-{row}" for row in range(count)]).dictionary_encode(),
            "event_time": pa.array([time.time_ns() // 1000] * count, pa.timestamp("us", "UTC")),
            "ad_id": pa.array(["a"] * count, pa.large_string()),
        }
    )


def test_pyarrow_do_put(server):
    name = uuid.uuid4().hex
    table = rows_of(name, 1_000)
    with flight.connect(server.flight_url) as client:
        writer, reader = client.do_put(flight.FlightDescriptor.for_path("clicks"), table.schema)
        with writer:
            for number, batch in enumerate(table.to_batches(max_chunksize=100)):
                writer.write_with_metadata(batch, json.dumps({"request_id": number}).encode())
            writer.done_writing()
            answers = [json.loads(reader.read().to_pybytes()) for _ in range(10)]
        assert sorted(answer["request_id"] for answer in answers) == list(range(10))
        assert sum(answer["accepted"] for answer in answers) == 1_000

        # A client that looks at no answer still learns that rows were refused.
        writer, _ = client.do_put(flight.FlightDescriptor.for_path("clicks"), pa.schema([("event_ids", pa.string())]))
        with pytest.raises(pa.ArrowInvalid, match="event_ids"):
            writer.write_table(pa.table({"event_ids": ["x"]}))
            writer.close()
    assert server.sql(f"SELECT count(*) AS n FROM clicks WHERE event_id LIKE '{name}-%'") == [{"n": 1_000}]
