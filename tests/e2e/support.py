"""A server under test: the real binary (environment ADLAKE) over a lake of the test's, on free ports.

With ADLAKE_TEST_LAKE=s3 the lakes of all tests lie in a bucket of a real S3-compatible server (`Gateway`) instead of a
folder; tests keep naming folders, and say `location(lake)` where a command wants it.
"""

import atexit
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ADLAKE = os.environ.get("ADLAKE", "adlake")
TOOLS = Path(__file__).resolve().parent.parent / ".tools"
START_SECONDS, STOP_SECONDS = 60, 300

# A table whose events are taken once, by their key.
KEYED = """
CREATE TABLE keyed (event_id VARCHAR NOT NULL, event_time TIMESTAMP WITH TIME ZONE NOT NULL, number BIGINT NOT NULL)
WITH (event_time='event_time', event_key='event_id', partition_by='day(event_time)', sort_by='event_time')
"""


def _ports():
    """Ports below those the system gives to outgoing connections: such a connection would take one between the probe and its use."""
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        first = 0
    if first < 12_000:  # unknown, or no room below: what Linux has unless told otherwise
        first = 32_768
    ports = list(range(first // 2, first))
    random.shuffle(ports)
    yield from itertools.cycle(ports)


_PORTS = _ports()


def free_port():
    """A port nobody listens on, and that this process has not given out lately."""
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


ON_S3 = os.environ.get("ADLAKE_TEST_LAKE") == "s3"
ACCESS, SECRET, REGION = "adlake-test", "adlake-test-secret", "us-east-1"


class Gateway:
    """versitygw over a folder: with its posix back end a bucket is a folder, a key is a file. A context manager."""

    def __init__(self, root, buckets=("ads",)):
        self.root = Path(root)
        for bucket in buckets:
            (self.root / bucket).mkdir(parents=True)
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        command = [str(TOOLS / "bin" / "versitygw"), "--access", ACCESS, "--secret", SECRET, "--region", REGION]
        command += ["--port", f"127.0.0.1:{self.port}", "posix", str(self.root)]
        with open(f"{self.root}.log", "w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(200):
            try:
                urllib.request.urlopen(self.endpoint, timeout=2)
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.05)
        self.close()
        raise RuntimeError("versitygw does not answer")

    def settings(self, endpoint=None):
        """Configuration that reaches it, or a proxy before it."""
        return {
            "storage.s3.endpoint": endpoint or self.endpoint,
            "storage.s3.region": REGION,
            "storage.s3.access_key_id": ACCESS,
            "storage.s3.secret_access_key": SECRET,
            "storage.s3.allow_http": "true",
        }

    def close(self):
        # Told to end nicely, it waits for idle connections of its clients.
        self.process.kill()
        self.process.wait(30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def variables(settings):
    """Configuration keys as environment variables."""
    return {"ADLAKE__" + key.upper().replace(".", "__"): str(value) for key, value in settings.items()}


_shared = None


def _gateway():
    """The one that holds the lakes of all tests; what is started from now on inherits how to reach it."""
    global _shared
    if _shared is None:
        _shared = Gateway(Path(tempfile.mkdtemp(prefix="adlake-s3-")) / "s3", buckets=("lakes",))
        atexit.register(_shared.close)
        os.environ.update(variables(_shared.settings()))
    return _shared


def location(lake):
    """What `--lake` says for the test's folder `lake`."""
    if not ON_S3 or "://" in str(lake):
        return str(lake)
    _gateway()
    return f"s3://lakes/{str(lake).strip('/')}"


def files(lake):
    """The folder in which the lake's files can be looked at."""
    return _gateway().root / "lakes" / str(lake).strip("/") if ON_S3 else Path(lake)


class Server:
    """`adlake serve`, started by the constructor, ready when it returns. A context manager that stops it."""

    def __init__(self, lake, sql=None, settings=None, log=None, folder=None, arguments=(), tls=None):
        """`lake`: folder or s3://…. `sql`: folder of definitions to apply at start. `settings`: {"section.key": value}.
        `log`: file for its output. `folder`: where it runs, beside the lake unless said. `arguments`: more of the command line.
        `tls`: an ssl.SSLContext for its clients, when the settings make it speak TLS; then it is called by the name localhost."""
        self.lake = Path(lake)
        folder = Path(folder) if folder else self.lake.parent
        self.http_port, self.flight_port = free_port(), free_port()
        self.tls = tls
        self.http_url = f"https://localhost:{self.http_port}" if tls else f"http://127.0.0.1:{self.http_port}"
        self.flight_url = f"grpc+tls://localhost:{self.flight_port}" if tls else f"grpc://127.0.0.1:{self.flight_port}"
        keys = {"http.port": self.http_port, "flight.port": self.flight_port, "lake.sql": ""}
        # Tests tell their servers to load files of theirs.
        keys = {**keys, "query.allowed_locations": "/, s3://ads", **(settings or {})}
        place = location(lake)
        environment = {**os.environ, **variables(keys)}
        command = [ADLAKE, "serve", "--lake", place, *arguments]
        if sql is not None:
            command += ["--sql", str(sql)]
        self.log = Path(log) if log else folder / f"{self.lake.name}.log"
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=folder)
        self._wait_until_ready()

    def _wait_until_ready(self):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"adlake serve ended with {self.process.returncode}:\n{self.tail()}")
            try:
                urllib.request.urlopen(self.http_url + "/readyz", timeout=2, context=self.tls).read()
                return
            except OSError:
                time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"adlake serve was not ready in {START_SECONDS} s:\n{self.tail()}")

    def tail(self):
        return self.log.read_text(errors="replace")[-4000:]

    def sql(self, statement, params=None):
        """Runs a statement over HTTP; returns the rows as dictionaries, of COPY one per file, or how many rows it changed."""
        body = json.dumps({"sql": statement, **({"params": params} if params else {})}).encode()
        request = urllib.request.Request(self.http_url + "/v1/sql", body, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=120, context=self.tls) as response:
                answer = json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{statement}: {error.code} {error.read().decode(errors='replace')}") from None
        if "columns" not in answer:
            return answer.get("details", answer.get("rows"))
        names = [column["name"] for column in answer["columns"]]
        return [dict(zip(names, row)) for row in answer["rows"]]

    def rows(self, table, body, headers=None, timeout=60):
        """POSTs NDJSON rows; goes where a 307 says the table's owner is. HTTP and network errors are raised."""
        url = f"{self.http_url}/v1/tables/{table}/rows"
        headers = {"content-type": "application/x-ndjson", **(headers or {})}
        for _ in range(3):
            try:
                request = urllib.request.Request(url, body, headers)
                with urllib.request.urlopen(request, timeout=timeout, context=self.tls) as response:
                    return json.loads(response.read())
            except urllib.error.HTTPError as error:
                if error.code != 307:
                    raise
                url = error.headers["Location"]
        raise OSError(f"sent in circles, last to {url}")

    def kill(self):
        """kill -9, as a power cut would."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"adlake serve did not stop in {STOP_SECONDS} s:\n{self.tail()}") from None

    def rss_mib(self):
        """Resident memory now."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is not None:
            return
        if kind is None:
            code = self.stop()
            assert code == 0, f"adlake serve ended with {code}:\n{self.tail()}"
        else:
            self.kill()
