"""What hostile clients are made of: HTTP/1.1 by hand over asyncio, the memory a server has needed, tables to send to."""

import asyncio
import json
import resource
from pathlib import Path

# Long enough for a slow machine; no test waits for it when all is well.
PATIENCE_SECONDS = 60


def many_files(count=8192):
    """Lets this process, and the server it starts, hold thousands of connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count if hard == resource.RLIM_INFINITY else min(count, hard), hard))


def event(name, number, **fields):
    """One NDJSON line."""
    row = {"event_id": f"{name}-{number}", "event_time": f"2026-11-05T10:00:{number % 60:02}Z", "number": number}
    return json.dumps({**row, **fields}).encode()


def post(table, body, headers=()):
    """A request as bytes."""
    lines = [f"POST /v1/tables/{table}/rows HTTP/1.1", "host: x", "content-type: application/x-ndjson", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers)]).encode() + b"\r\n\r\n" + body


class Connection:
    """One kept-alive connection to the server's HTTP port."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port):
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request):
        """Sends a request; returns status, headers (lower case) and body of the answer."""
        self.writer.write(request)
        return await self.answer()

    async def answer(self):
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        return int(head[0].split()[1]), headers, await self.reader.readexactly(int(headers["content-length"]))

    async def closed(self):
        """Returns when the server has closed the connection."""
        try:
            while await self.reader.read(65_536):
                pass
        except ConnectionError:
            pass

    def close(self):
        self.writer.close()


def forget_peak(server):
    """What `peak_mib` tells counts from here."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")


def peak_mib(server):
    """The most memory that was resident."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def count(server, table, where="true"):
    """Rows and distinct event ids."""
    (row,) = server.sql(f"SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM {table} WHERE {where}")
    return row["n"], row["ids"]


def active_files(server, table):
    (row,) = server.sql(f"SELECT files FROM system.tables WHERE name = '{table}'")
    return row["files"]
