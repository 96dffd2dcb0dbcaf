"""Bodies that become a thousand times larger, or say so: refused in words, in the memory the limits allow.

Limits are small here (8 MiB messages and bodies, 64 MiB of Arrow when decompressed), so that one GiB shows.
"""

import gzip
import json
import struct
import urllib.error
import zlib
from concurrent.futures import ThreadPoolExecutor

import grpc
import pyarrow as pa
import pytest
from hostile import PATIENCE_SECONDS, count, event, forget_peak, peak_mib
from support import KEYED, Server

GIB = 1 << 30
SETTINGS = {
    "http.max_body_size": "8 MiB",
    "http.max_bodies_memory": "32 MiB",
    "flight.max_message_size": "8 MiB",
    "server.append_memory": "64 MiB",
}
# What a refused bomb may cost: the plain bytes of the largest limit (8 times a message of 8 MiB), twice because buffers
# double as they grow, the message itself, and 64 MiB for everything else that goes on.
BOUND_MIB = 2 * 64 + 8 + 64


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("lake") / "lake", settings=SETTINGS) as running:
        running.sql(KEYED)
        yield running


@pytest.fixture
def channel(server):
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{server.flight_port}", options=options) as channel:
        yield channel


@pytest.fixture(autouse=True)
def lives_in_its_memory(server, request):
    """Whatever a test sends, the server stays within the bound and takes the next event."""
    before = count(server, "keyed")[0]
    idle = server.rss_mib()
    forget_peak(server)
    yield
    peak = peak_mib(server)
    name = request.node.name
    print(f"{idle:.0f} MiB before, {peak:.0f} MiB peak")
    assert server.rows("keyed", event(name, 0))["accepted"] == 1
    assert count(server, "keyed") == (before + 1, before + 1)
    assert peak - idle < BOUND_MIB, f"grew from {idle:.0f} to {peak:.0f} MiB; the limits allow {BOUND_MIB} MiB more"


def gzip_zeros(size):
    """A gzip file of `size` zeros, a multiple of 1 MiB, made of one compressed MiB over and over."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(size >> 20):
        checksum = zlib.crc32(bytes(1 << 20), checksum)
    end = packer.flush() + struct.pack("<II", checksum, size & 0xFFFFFFFF)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + block * (size >> 20) + end


def zstd_zeros(size):
    return pa.compress(bytes(size), codec="zstd", asbytes=True)


def test_the_bombs_are_what_they_say():
    """The tests' own bombs are valid and decompress to what they claim."""
    assert gzip.decompress(gzip_zeros(4 << 20)) == bytes(4 << 20)
    assert pa.decompress(zstd_zeros(4 << 20), 4 << 20, codec="zstd", asbytes=True) == bytes(4 << 20)


@pytest.mark.parametrize("coding, pack", [("gzip", gzip_zeros), ("zstd", zstd_zeros)])
def test_one_gib_in_a_compressed_body(server, coding, pack):
    """20 bodies at once, each one GiB when decompressed: 413 that names the limit, or 429 while memory is short."""
    bomb = pack(GIB)
    assert len(bomb) < 2 << 20, len(bomb)

    def send(_):
        with pytest.raises(urllib.error.HTTPError) as caught:
            server.rows("keyed", bomb, {"content-encoding": coding}, timeout=PATIENCE_SECONDS)
        return caught.value.code, json.loads(caught.value.read())["detail"]

    with ThreadPoolExecutor(20) as pool:
        answers = set(pool.map(send, range(20)))
    codes = {code for code, _ in answers}
    assert 413 in codes and codes <= {413, 429}, answers
    assert all("http.max_body_size" in detail for code, detail in answers if code == 413), answers


def test_a_gzip_message(ingest, channel):
    """A message of 128 MiB in 128 KiB of gzip is refused before it is 128 MiB."""
    messages, stubs = ingest
    request = messages.AppendRequest(table="keyed", ndjson=bytes(128 << 20))
    with pytest.raises(grpc.RpcError) as caught:
        stubs.IngestStub(channel).Append(request, compression=grpc.Compression.Gzip, timeout=PATIENCE_SECONDS)
    # UNIMPLEMENTED names the encodings that are taken, as the gRPC specification of compression says.
    assert caught.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNIMPLEMENTED), caught.value
    assert "gzip" in caught.value.details() or "max_message_size" in caught.value.details(), caught.value.details()


def test_a_message_that_is_too_large(ingest, channel):
    """A plain message over the limit is RESOURCE_EXHAUSTED and names the limit, on both methods."""
    messages, stubs = ingest
    request = messages.AppendRequest(table="keyed", ndjson=bytes(9 << 20))
    stub = stubs.IngestStub(channel)
    for call in (lambda: stub.Append(request, timeout=PATIENCE_SECONDS), lambda: list(stub.AppendStream(iter([request])))):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, caught.value
        assert "flight.max_message_size" in caught.value.details(), caught.value.details()


def one_row(size, compression):
    """An Arrow stream: one row whose event_id is `size` zeros."""
    offsets = pa.py_buffer(struct.pack("<ii", 0, size))
    text = pa.StringArray.from_buffers(1, offsets, pa.py_buffer(bytes(size)))
    sink = pa.BufferOutputStream()
    schema = pa.schema([("event_id", pa.string()), ("event_time", pa.timestamp("us", "UTC")), ("number", pa.int64())])
    batch = pa.record_batch([text, pa.array([0], pa.timestamp("us", "UTC")), pa.array([1])], schema=schema)
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


MAGIC = {"lz4": b"\x04\x22\x4d\x18", "zstd": b"\x28\xb5\x2f\xfd"}


def liar(size, compression, claimed):
    """The same with another length before the compressed bytes."""
    stream, magic = one_row(size, compression), MAGIC[compression]
    honest = struct.pack("<q", size) + magic
    assert stream.count(honest) == 1
    return stream.replace(honest, struct.pack("<q", claimed) + magic)


LIARS = {
    "claims a tebibyte": lambda: liar(1 << 20, "zstd", 1 << 40),
    "claims the most there is": lambda: liar(1 << 20, "lz4", (1 << 63) - 1),
    "claims less than nothing": lambda: liar(1 << 20, "lz4", -2),
    "is a gibibyte of lz4": lambda: one_row(GIB, "lz4"),
    "is a gibibyte of zstd": lambda: one_row(GIB, "zstd"),
    "is a gibibyte of lz4 that claims a kibibyte": lambda: liar(GIB, "lz4", 1 << 10),
    "is a gibibyte of zstd that claims a kibibyte": lambda: liar(GIB, "zstd", 1 << 10),
}
REFUSALS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)


@pytest.mark.parametrize("kind", LIARS)
def test_arrow_buffers_in_append(ingest, channel, kind):
    """A compressed Arrow buffer is believed neither too much nor too little: one bad batch, and the stream goes on."""
    messages, stubs = ingest
    bomb = messages.AppendRequest(table="keyed", request_id=1, arrow_ipc=LIARS[kind]())
    good = messages.AppendRequest(table="keyed", request_id=2, ndjson=b"")
    assert bomb.ByteSize() < 8 << 20, bomb.ByteSize()
    replies = stubs.IngestStub(channel).AppendStream(iter([bomb, good]), timeout=PATIENCE_SECONDS)
    replies = {reply.request_id: reply for reply in replies}
    assert replies[1].error.code in [code.value[0] for code in REFUSALS], replies[1]
    assert "Arrow" in replies[1].error.message, replies[1]
    assert not replies[2].HasField("error"), replies[2]


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(0x80 | number & 0x7F)
        number >>= 7
    return bytes([*out, number])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def flight_data(stream, table):
    """The messages of an Arrow stream as encoded FlightData (arrow/format/Flight.proto), the first with a descriptor."""
    descriptor = field(1, b"\x08\x01" + field(3, table.encode()))
    for message in pa.ipc.MessageReader.open_stream(stream):
        body = message.body.to_pybytes() if message.body else b""
        yield descriptor + field(2, message.metadata.to_pybytes()) + field(1000, body)
        descriptor = b""


@pytest.mark.parametrize("kind", LIARS)
def test_arrow_buffers_in_do_put(channel, kind):
    """The same over Flight's DoPut, where a message that cannot be read ends the call."""
    put = channel.stream_stream("/arrow.flight.protocol.FlightService/DoPut")
    with pytest.raises(grpc.RpcError) as caught:
        list(put(flight_data(LIARS[kind](), "keyed"), timeout=PATIENCE_SECONDS))
    assert caught.value.code() in REFUSALS, caught.value
