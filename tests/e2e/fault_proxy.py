"""A TCP proxy between adlake and an S3 server that does to requests what networks and servers do.

    adlake ──► FaultProxy ──► versitygw        bytes are forwarded as they are, so the signed Host header stays true

Per request, decided by a seeded generator: the connection is closed before anything is forwarded (`drop`); 500 or 503, or to a
conditional write 409 as S3 does, is answered and nothing forwarded (`status`); the request is forwarded, takes effect, and the connection is closed instead of
the answer (`lose`); the answer comes late (`delay`). What was done is counted in `FaultProxy.done`.
"""

import asyncio
import random
import threading
from collections import Counter

HEAD_MAX = 64 * 1024
CODES = {
    409: ("Conflict", "ConditionalRequestConflict", "A conflicting operation occurred."),
    500: ("Internal Server Error", "InternalError", "We encountered an internal error. Please try again."),
    503: ("Service Unavailable", "SlowDown", "Please reduce your request rate."),
}


class Broken(Exception):
    """The other end closed, or speaks something else than HTTP/1.1."""


def header(head, name):
    """The value of a header in the raw head of a message; None when it has none."""
    wanted = name.lower().encode() + b":"
    for line in head.split(b"\r\n")[1:]:
        if line.lower().startswith(wanted):
            return line[len(wanted):].strip().decode()
    return None


async def read_head(reader):
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise Broken from error


async def read_chunked(reader):
    """A chunked body, as it came."""
    parts = []
    while True:
        line = await reader.readline()
        parts.append(line)
        size = int(line.split(b";")[0], 16)
        if size == 0:
            while True:
                trailer = await reader.readline()
                parts.append(trailer)
                if trailer in (b"\r\n", b""):
                    return b"".join(parts)
        parts.append(await reader.readexactly(size + 2))


async def read_body(reader, head, bodyless=False):
    if bodyless:
        return b""
    if (header(head, "transfer-encoding") or "").lower() == "chunked":
        return await read_chunked(reader)
    return await reader.readexactly(int(header(head, "content-length") or 0))


class FaultProxy:
    """Listens on 127.0.0.1 when constructed; a context manager that closes it. `pause()` forwards everything unharmed."""

    def __init__(self, target_port, seed=1, drop=0.05, status=0.05, lose=0.03, delay=0.2, delay_seconds=0.2):
        self.target_port, self.delay_seconds = target_port, delay_seconds
        self.chances = {"drop": drop, "status": status, "lose": lose, "delay": delay}
        self.random, self.done, self.active = random.Random(seed), Counter(), True
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server = asyncio.run_coroutine_threadsafe(self._listen(), self.loop).result(10)
        self.port = self.server.sockets[0].getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"

    async def _listen(self):
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_MAX)

    def pause(self):
        self.active = False

    def resume(self):
        self.active = True

    def close(self):
        async def stop():
            self.server.close()
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()

        asyncio.run_coroutine_threadsafe(stop(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _fault(self):
        """What happens to the next request."""
        if not self.active:
            return "none"
        roll = self.random.random()
        for name, chance in self.chances.items():
            if roll < chance:
                return name
            roll -= chance
        return "none"

    async def _serve(self, reader, writer):
        upstream = None
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self.target_port, limit=HEAD_MAX)
            while await self._one(reader, writer, *upstream):
                pass
        except (Broken, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, upstream and upstream[1]):
                if end:
                    end.close()

    async def _one(self, reader, writer, up_reader, up_writer):
        """One request and its answer; whether the connection lives on."""
        head = await read_head(reader)
        fault = self._fault()
        self.done[fault] += 1
        if fault == "drop":
            return False
        if (header(head, "expect") or "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:"))
        body = await read_body(reader, head)
        method = head.split(b" ", 1)[0]
        if fault == "status":
            writer.write(self._refusal(method, header(head, "if-none-match") is not None))
            await writer.drain()
            return True
        up_writer.write(head + body)
        await up_writer.drain()
        answer = await read_head(up_reader)
        code = int(answer.split(b" ")[1])
        answer_body = await read_body(up_reader, answer, bodyless=method == b"HEAD" or code in (204, 304))
        if fault == "lose":
            return False
        if fault == "delay":
            await asyncio.sleep(self.random.uniform(0, self.delay_seconds))
        writer.write(answer + answer_body)
        await writer.drain()
        return (header(answer, "connection") or "").lower() != "close"

    def _refusal(self, method, is_conditional):
        code = 409 if is_conditional else self.random.choice([500, 503])
        self.done[code] += 1
        reason, name, message = CODES[code]
        text = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{name}</Code><Message>{message}</Message></Error>'
        body = b"" if method == b"HEAD" else text.encode()
        return f"HTTP/1.1 {code} {reason}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
