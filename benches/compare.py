#!/usr/bin/env python3
"""Compares adlake with its peers on the same data in the same run and prints the tables of RESULTS.md.

    python3 -m venv .venv && .venv/bin/pip install -r benches/requirements.txt
    cargo build --release && .venv/bin/python benches/compare.py --rows 50000000 --work /tmp/adlake-bench all

Parts: load, queries, fetch, counts, ingest, views (or `all`). Generated clicks and the loaded lake stay in --work and are used again;
ingest starts from an empty lake of its own. views is in views.py; it adds some thousand clicks to the loaded lake.
Every figure is a median over --runs rounds in which adlake and the peer take turns; the ratio is the median of the
rounds' ratios, so that a machine whose speed drifts does not favour either side.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import views

SQL = Path(__file__).resolve().parent.parent / "sql"

QUERIES = {
    "count by country": "SELECT country, count(*) AS clicks FROM {t} GROUP BY country ORDER BY country",
    "top 100 ads of one minute": (
        "SELECT ad_id, count(*) AS clicks FROM {t} WHERE event_time >= TIMESTAMPTZ '{day} 12:00:00+00' "
        "AND event_time < TIMESTAMPTZ '{day} 12:01:00+00' GROUP BY ad_id ORDER BY clicks DESC, ad_id LIMIT 100"
    ),
    "clicks and spend by ad, top 100": (
        "SELECT ad_id, count(*) AS clicks, sum(price_micros) AS spend FROM {t} "
        "GROUP BY ad_id ORDER BY clicks DESC, ad_id LIMIT 100"
    ),
    "approx distinct users by country": "SELECT country, {approx}(user_id) AS users FROM {t} GROUP BY country ORDER BY country",
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url, process, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"server ended with {process.returncode} before {url} answered")
        try:
            urllib.request.urlopen(url, timeout=2).read()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{url} did not answer in {seconds} s")


def timed(command, **options):
    """Wall seconds and peak resident MiB of a command."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, **options)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed with status {status}")
    return time.monotonic() - start, usage.ru_maxrss / 1024


def rss_mib(pid, field="VmRSS"):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return 0.0


class Server:
    """`adlake serve` over a lake, on free ports."""

    def __init__(self, binary, lake, log):
        self.http, self.flight = free_port(), free_port()
        environment = dict(os.environ, ADLAKE__HTTP__PORT=str(self.http), ADLAKE__FLIGHT__PORT=str(self.flight))
        command = [binary, "serve", "--lake", lake, "--sql", SQL]
        self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        wait_for(f"http://127.0.0.1:{self.http}/readyz", self.process)

    def connect(self):
        import adbc_driver_flightsql.dbapi as adbc

        return adbc.connect(f"grpc://127.0.0.1:{self.flight}", autocommit=True)

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


def median_ratio(ours, theirs):
    return statistics.median(a / b for a, b in zip(ours, theirs))


def row(*cells):
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def generate(args):
    clicks = args.work / f"clicks-{args.rows}"
    if not (clicks / "_done").exists():
        shutil.rmtree(clicks, ignore_errors=True)
        command = [args.binary, "generate", "--kind", "clicks", "--rows", args.rows, "--seed", 1, "--day", args.day]
        command += ["--out", clicks, "--format", "parquet", "--duplicates", "0", "--late", "0"]
        subprocess.run([str(part) for part in command], check=True)
        (clicks / "_done").touch()
    return sorted(clicks.rglob("*clicks*.parquet"))


def prepare_lake(args, lake):
    shutil.rmtree(lake, ignore_errors=True)
    subprocess.run([args.binary, "apply", "--lake", str(lake), "--sql", str(SQL)], check=True, stdout=subprocess.DEVNULL)


def bench_load(args):
    files = generate(args)
    ours, theirs, peak_ours, peak_theirs = [], [], [], []
    for _ in range(args.load_runs):
        lake = args.work / "lake"
        prepare_lake(args, lake)
        seconds, peak = timed([args.binary, "load", "--lake", str(lake), "clicks", *map(str, files)], stderr=subprocess.DEVNULL)
        ours.append(seconds)
        peak_ours.append(peak)
        out = args.work / "duckdb-sorted.parquet"
        out.unlink(missing_ok=True)
        listing = ", ".join(f"'{path}'" for path in files)
        statement = (
            f"SET threads=2; SET memory_limit='4GB'; SET temp_directory='{args.work}/duckdb-tmp'; "
            f"COPY (SELECT * FROM read_parquet([{listing}]) ORDER BY ad_id, event_time) TO '{out}' (FORMAT parquet, COMPRESSION zstd)"
        )
        seconds, peak = timed([sys.executable, "-c", f"import duckdb; duckdb.connect().execute({statement!r})"])
        theirs.append(seconds)
        peak_theirs.append(peak)
        out.unlink(missing_ok=True)
    (args.work / "lake" / "_bench_done").touch()
    print(f"\n### Load of {args.rows:,} clicks (rate ratio: higher is better; target >= 0.5)\n")
    row("", "seconds", "rows/s", "peak MiB")
    row("---", "---:", "---:", "---:")
    for name, runs, peak in (("adlake load (deduplicated, sorted, committed)", ours, peak_ours), ("DuckDB COPY … ORDER BY", theirs, peak_theirs)):
        middle = statistics.median(runs)
        row(name, f"{middle:.1f}", f"{args.rows / middle:,.0f}", f"{max(peak):,.0f}")
    row("rate, adlake / DuckDB", f"{median_ratio(theirs, ours):.2f}", "", "")


def loaded_lake(args):
    lake = args.work / "lake"
    if not (lake / "_bench_done").exists():
        prepare_lake(args, lake)
        subprocess.run([args.binary, "load", "--lake", str(lake), "clicks", *map(str, generate(args))], check=True)
        (lake / "_bench_done").touch()
    return lake


def lake_files(lake):
    from deltalake import DeltaTable

    return DeltaTable(str(lake / "tables" / "clicks")).file_uris()


def bench_queries(args, server, lake):
    import duckdb

    duck = duckdb.connect()
    duck.execute("SET threads=2; SET TimeZone='UTC'")
    source = "read_parquet([" + ", ".join(f"'{path}'" for path in lake_files(lake)) + "])"
    print(f"\n### Queries over {args.rows:,} clicks, same Parquet files (time ratio: lower is better; target <= 1.5)\n")
    row("query", "adlake ms", "DuckDB ms", "ratio")
    row("---", "---:", "---:", "---:")
    with server.connect() as connection, connection.cursor() as cursor:
        for name, text in QUERIES.items():
            mine = text.format(t="clicks", day=args.day, approx="approx_distinct")
            other = text.format(t=source, day=args.day, approx="approx_count_distinct")
            ours, theirs = [], []
            for turn in range(args.runs + 2):
                start = time.monotonic()
                cursor.execute(mine)
                left = cursor.fetch_arrow_table()
                middle = time.monotonic()
                right = duck.execute(other).to_arrow_table()
                end = time.monotonic()
                if "approx" not in name and turn == 0:
                    same = [list(line.values()) for line in left.to_pylist()] == [list(line.values()) for line in right.to_pylist()]
                    if not same:
                        raise SystemExit(f"{name}: answers differ")
                if turn >= 2:
                    ours.append((middle - start) * 1000)
                    theirs.append((end - middle) * 1000)
            row(name, f"{statistics.median(ours):.0f}", f"{statistics.median(theirs):.0f}", f"{median_ratio(ours, theirs):.2f}")


FETCH_COLUMNS = "event_time, ad_id, country, device, price_micros"


def fetch(connection, statement):
    """(seconds, seconds to first batch, rows) of a streamed read."""
    with connection.cursor() as cursor:
        start = time.monotonic()
        cursor.execute(statement)
        reader = cursor.fetch_record_batch()
        rows, first = 0, None
        for batch in reader:
            if first is None and batch.num_rows:
                first = time.monotonic() - start
            rows += batch.num_rows
        return time.monotonic() - start, first, rows


def start_roapi(args, parquet, in_memory):
    config = args.work / f"roapi-{'memory' if in_memory else 'parquet'}.yml"
    http, flight = free_port(), free_port()
    config.write_text(
        f"addr:\n  http: 127.0.0.1:{http}\n  postgres: 127.0.0.1:{free_port()}\n  flight_sql: 127.0.0.1:{flight}\n"
        f"tables:\n  - name: clicks\n    uri: {parquet}\n    option:\n      format: parquet\n      use_memory_table: {str(in_memory).lower()}\n"
    )
    roapi = str(Path(sys.executable).parent / "roapi")
    process = subprocess.Popen([roapi, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(f"http://127.0.0.1:{http}/health", process, 300)
    return process, flight


def bench_fetch(args, server, lake):
    import adbc_driver_flightsql.dbapi as adbc
    import duckdb

    rows = min(10_000_000, args.rows)
    parquet = args.work / f"fetch-{rows}.parquet"
    if not parquet.exists():
        source = "read_parquet([" + ", ".join(f"'{path}'" for path in lake_files(lake)) + "])"
        duckdb.connect().execute(f"COPY (SELECT {FETCH_COLUMNS} FROM {source} LIMIT {rows}) TO '{parquet}' (FORMAT parquet, COMPRESSION zstd)")
    peers = {}
    for name, in_memory in (("ROAPI from memory", True), ("ROAPI from Parquet", False)):
        process, port = start_roapi(args, parquet, in_memory)
        peers[name] = (process, adbc.connect(f"grpc://127.0.0.1:{port}", autocommit=True))
    mine = f"SELECT {FETCH_COLUMNS} FROM clicks LIMIT {rows}"
    theirs_text = f"SELECT {FETCH_COLUMNS} FROM clicks"
    times = {"adlake": [], **{name: [] for name in peers}}
    firsts = []
    with server.connect() as connection:
        fetch(connection, mine)
        settled = rss_mib(server.process.pid)
        for _ in range(args.runs):
            seconds, first, got = fetch(connection, mine)
            assert got == rows, got
            times["adlake"].append(seconds)
            firsts.append(first * 1000)
            for name, (_, peer) in peers.items():
                seconds, _, got = fetch(peer, theirs_text)
                assert got == rows, got
                times[name].append(seconds)
        after = rss_mib(server.process.pid)
    for process, peer in peers.values():
        peer.close()
        process.terminate()
    print(f"\n### Flight SQL fetch of {rows:,} rows x 5 columns, Python ADBC (rate ratio: higher is better; targets >= 1 and >= 3)\n")
    row("server", "seconds", "rows/s", "adlake rate / its rate")
    row("---", "---:", "---:", "---:")
    for name, runs in times.items():
        ratio = "" if name == "adlake" else f"{median_ratio(runs, times['adlake']):.2f}"
        middle = statistics.median(runs)
        row(name, f"{middle:.2f}", f"{rows / middle:,.0f}", ratio)
    print(f"\nfirst batch: {statistics.median(firsts):.1f} ms (target < 50); server memory {settled:,.0f} MiB after the first fetch, {after:,.0f} MiB after {args.runs} more")


def bench_counts(args, server):
    print(f"\n### aggregated_count of one ad and one hour over HTTP, {args.rows:,} clicks (targets p99 <= 20 ms, >= 500 requests/s)\n")
    command = [args.binary, "bench", "http", "--url", f"http://127.0.0.1:{server.http}"]
    command += ["--path", f"/v1/ads/ad{{ad}}/aggregated_count?from={args.day}T{{hour}}:00:00Z&to={args.day}T{{next_hour}}:00:00Z"]
    command += ["--connections", "8", "--requests", "20000", "--ads", "2000000"]
    subprocess.run(command, check=True)


def send(args, server, protocol, **options):
    """One run of `adlake bench ingest` against the server; its report."""
    port = server.flight if protocol in ("arrow", "grpc") else server.http
    scheme = "grpc" if protocol in ("arrow", "grpc") else "http"
    command = [args.binary, "bench", "ingest", "--json", "--protocol", protocol, "--url", f"{scheme}://127.0.0.1:{port}"]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr}")
    return json.loads(done.stdout)


def click_batches(args, size):
    """Endless generated clicks in batches of `size`, as pyarrow tables."""
    import pyarrow.parquet as parquet

    clicks = args.work / "clicks-ingest"
    if not (clicks / "_done").exists():
        shutil.rmtree(clicks, ignore_errors=True)
        command = [args.binary, "generate", "--kind", "clicks", "--rows", "2000000", "--seed", "1", "--out", clicks]
        command += ["--format", "parquet", "--duplicates", "0", "--late", "0"]
        subprocess.run([str(part) for part in command], check=True, stderr=subprocess.DEVNULL)
        (clicks / "_done").touch()
    table = parquet.read_table(sorted(clicks.rglob("*clicks*.parquet")))
    while True:
        for start in range(0, table.num_rows - size + 1, size):
            yield table.slice(start, size).combine_chunks()


def inserted_per_second(insert, batches, seconds):
    """Rows per second of a peer; every call returns when its rows are stored."""
    rows, start = 0, time.monotonic()
    while time.monotonic() - start < seconds:
        batch = next(batches)
        insert(batch)
        rows += batch.num_rows
    return rows / (time.monotonic() - start)


class ClickHouse:
    """chdb: MergeTree, no deduplication; a batch goes in as an Arrow stream, its fastest way."""

    def __init__(self, args):
        from chdb import session

        folder = args.work / "chdb-ingest"
        shutil.rmtree(folder, ignore_errors=True)
        memory = Path("/dev/shm") if Path("/dev/shm").is_dir() else args.work
        self.stream = memory / f"adlake-bench-{os.getpid()}.arrow"
        self.session = session.Session(str(folder))
        self.session.query("SET max_threads = 2")
        self.session.query("CREATE DATABASE IF NOT EXISTS bench")
        self.session.query(
            "CREATE TABLE bench.clicks (event_id String, event_time DateTime64(6, 'UTC'), impression_id Nullable(String), ad_id String, "
            "campaign_id String, user_id String, ip String, country String, device String, price_micros Nullable(Int64)) "
            "ENGINE = MergeTree PARTITION BY toDate(event_time) ORDER BY (ad_id, event_time)"
        )

    def insert(self, batch):
        import pyarrow as pa

        with pa.OSFile(str(self.stream), "wb") as file, pa.ipc.new_stream(file, batch.schema) as writer:
            writer.write_table(batch)
        self.session.query(f"INSERT INTO bench.clicks SELECT * FROM file('{self.stream}', 'ArrowStream')")

    def close(self):
        self.stream.unlink(missing_ok=True)
        self.session.close()


def delta_writer(args):
    from deltalake import write_deltalake

    folder = args.work / "deltalake-ingest"
    shutil.rmtree(folder, ignore_errors=True)
    return lambda batch: write_deltalake(str(folder), batch, mode="append")


# protocol, options, target of events/s, rows per batch of the peers it is compared with
INGEST = [
    ("arrow", {"batch": 10_000}, 500_000, 10_000),
    ("grpc", {"batch": 1_000}, 250_000, 1_000),
    ("http", {"batch": 1_000}, 150_000, 1_000),
    ("http-single", {"connections": 256}, 15_000, None),
]


def bench_ingest(args):
    lake = args.work / "lake-ingest"
    shutil.rmtree(lake, ignore_errors=True)
    prepare_lake(args, lake)
    with open(args.work / "server-ingest.log", "w") as log:
        server = Server(args.binary, str(lake), log)
        try:
            rates = ingest_rates(args, server)
            ingest_half_load(args, server, rates)
            ingest_alongside(args, server, rates)
            ingest_steady(args, server)
        finally:
            server.stop()


def ingest_rates(args, server):
    """Every protocol at full speed, the peers in the same rounds."""
    clickhouse, delta = ClickHouse(args), delta_writer(args)
    sizes = {size for *_, size in INGEST if size}
    batches = {size: click_batches(args, size) for size in sizes}
    for size in sizes:
        # Before the clock runs: the first batch makes and reads the file.
        clickhouse.insert(next(batches[size]))
        delta(next(batches[size]))
    rates = {protocol: [] for protocol, *_ in INGEST}
    reports = {}
    peers = {(peer, size): [] for peer in ("ClickHouse", "deltalake") for size in sizes}
    send(args, server, "grpc", seconds=2)
    for _ in range(args.ingest_runs):
        for protocol, options, _, size in INGEST:
            reports[protocol] = send(args, server, protocol, seconds=args.ingest_seconds, **options)
            rates[protocol].append(reports[protocol]["events_per_second"])
        for size in sizes:
            peers["ClickHouse", size].append(inserted_per_second(clickhouse.insert, batches[size], args.ingest_seconds))
            peers["deltalake", size].append(inserted_per_second(delta, batches[size], args.ingest_seconds))
    clickhouse.close()
    print("\n### Ingest: durable, deduplicated, acknowledged events/s, generator on the same machine (targets >= 1 and >= 5)\n")
    row("protocol", "rows per batch", "events/s", "target", "generator, cores", "/ ClickHouse", "/ deltalake")
    row("---", "---:", "---:", "---:", "---:", "---:", "---:")
    for protocol, options, target, size in INGEST:
        ratios = [f"{median_ratio(rates[protocol], peers[peer, size]):.2f}" if size else "" for peer in ("ClickHouse", "deltalake")]
        cores = reports[protocol]["generator_cpu_seconds"] / reports[protocol]["seconds"]
        row(protocol, options.get("batch", 1), f"{statistics.median(rates[protocol]):,.0f}", f"{target:,}", f"{cores:.2f}", *ratios)
    for (peer, size), runs in sorted(peers.items()):
        row(peer, f"{size:,}", f"{statistics.median(runs):,.0f}", "", "", "", "")
    errors = {protocol: report["errors"] for protocol, report in reports.items() if report["errors"]}
    print(f"\nerrors: {errors or 'none'}; server memory {rss_mib(server.process.pid):,.0f} MiB")
    return {protocol: statistics.median(runs) for protocol, runs in rates.items()}


def ingest_half_load(args, server, rates):
    print("\n### Latency of acknowledgement at half load, open loop (targets: p99 <= 500 ms at half of each target rate; one event on an idle server <= 30 ms)\n")
    row("protocol", "half of", "events/s sent", "p50 ms", "p99 ms", "max ms", "errors")
    row("---", "---", "---:", "---:", "---:", "---:", "---:")
    halves = [("target", {protocol: target for protocol, _, target, _ in INGEST}), ("reached", rates)]
    for half_of, full in halves:
        for protocol, options, *_ in INGEST:
            report = send(args, server, protocol, seconds=args.ingest_seconds, rate=full[protocol] / 2, **options)
            ack = report["ack_ms"]
            row(protocol, half_of, f"{full[protocol] / 2:,.0f}", f"{ack['p50']:.1f}", f"{ack['p99']:.1f}", f"{ack['max']:.1f}", sum(report["errors"].values()))
    report = send(args, server, "http-single", connections=1, rate=5, seconds=args.ingest_seconds)
    ack = report["ack_ms"]
    row("http-single, idle server", "", 5, f"{ack['p50']:.1f}", f"{ack['p99']:.1f}", f"{ack['max']:.1f}", sum(report["errors"].values()))


def ingest_alongside(args, server, rates):
    """Queries over a table at rest, alone and while clicks come in at half load."""
    with server.connect() as connection, connection.cursor() as cursor:
        resting = next(click_batches(args, 1_000_000))
        cursor.adbc_ingest("at_rest", resting.to_reader(max_chunksize=50_000), mode="replace")
        text = "SELECT country, count(*) AS clicks, sum(price_micros) AS spend FROM at_rest GROUP BY country ORDER BY country"

        def queries_per_second():
            done, start = 0, time.monotonic()
            while time.monotonic() - start < args.ingest_seconds:
                cursor.execute(text)
                cursor.fetch_arrow_table()
                done += 1
            return done / (time.monotonic() - start)

        queries_per_second()
        alone, together = [], []
        for _ in range(args.ingest_runs):
            alone.append(queries_per_second())
            sending = threading.Thread(
                target=send, args=(args, server, "grpc"), kwargs={"seconds": args.ingest_seconds + 2, "rate": rates["grpc"] / 2, "batch": 1_000}
            )
            sending.start()
            time.sleep(1)
            together.append(queries_per_second())
            sending.join()
    print("\n### Queries while gRPC ingest runs at half load (ratio: higher is better; target >= 0.7)\n")
    row("", "queries/s")
    row("---", "---:")
    row("alone", f"{statistics.median(alone):.1f}")
    row("alongside", f"{statistics.median(together):.1f}")
    row("alongside / alone", f"{median_ratio(together, alone):.2f}")


def ingest_steady(args, server):
    """Commit after commit by one sender; memory is read along the way."""
    memory, stop = [], threading.Event()

    def watch():
        while not stop.wait(1):
            memory.append(rss_mib(server.process.pid))

    watching = threading.Thread(target=watch)
    watching.start()
    batch = 1_000
    report = send(args, server, "grpc", connections=1, in_flight=1, batch=batch, rows=args.ingest_commits * batch, seconds=86_400)
    stop.set()
    watching.join()
    first, last = report["ack_p99_ms_of_first_1000"], report["ack_p99_ms_of_last_1000"]
    print(f"\n### {report['requests']:,} commits, one after the other, {batch:,} rows each (targets: p99 ratio <= 1.5, memory flat)\n")
    if first is None:
        print("fewer than 2,000 commits: no comparison")
        return
    row("", "first thousand", "last thousand", "ratio")
    row("---", "---:", "---:", "---:")
    row("commit p99 ms", f"{first:.1f}", f"{last:.1f}", f"{last / first:.2f}")
    tenth = max(1, len(memory) // 10)
    begin, end = statistics.median(memory[tenth : 2 * tenth] or memory), statistics.median(memory[-tenth:])
    row("resident MiB (second and last tenth of the run)", f"{begin:,.0f}", f"{end:,.0f}", f"{end / begin:.2f}")


def machine():
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=SQL.parent).stdout.strip()
    print(f"commit {commit}; {os.cpu_count()} cores, {cpu}; {time.strftime('%Y-%m-%d', time.gmtime())}; `{' '.join(sys.argv)}`")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = os.environ.get("CARGO_TARGET_DIR", str(SQL.parent / "target"))
    parser.add_argument("--binary", default=os.environ.get("ADLAKE", f"{target}/release/adlake"))
    parser.add_argument("--rows", type=int, default=50_000_000)
    parser.add_argument("--day", default="2026-11-01")
    parser.add_argument("--work", type=Path, default=Path("/tmp/adlake-bench"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--load-runs", type=int, default=3)
    parser.add_argument("--replay-runs", type=int, default=3)
    parser.add_argument("--ingest-runs", type=int, default=3)
    parser.add_argument("--ingest-seconds", type=float, default=10)
    parser.add_argument("--ingest-commits", type=int, default=10_000)
    parser.add_argument("parts", nargs="*", default=["all"])
    args = parser.parse_args()
    parts = {"load", "queries", "fetch", "counts", "ingest", "views"} if "all" in args.parts else set(args.parts)
    args.work.mkdir(parents=True, exist_ok=True)
    machine()
    if "load" in parts:
        bench_load(args)
    if parts & {"queries", "fetch", "counts"}:
        lake = loaded_lake(args)
        with open(args.work / "server.log", "w") as log:
            server = Server(args.binary, str(lake), log)
            try:
                if "queries" in parts:
                    bench_queries(args, server, lake)
                if "fetch" in parts:
                    bench_fetch(args, server, lake)
                if "counts" in parts:
                    bench_counts(args, server)
            finally:
                server.stop()
    if "ingest" in parts:
        bench_ingest(args)
    if "views" in parts:
        # Last: it changes the loaded lake.
        views.bench_views(args, sys.modules[__name__])


if __name__ == "__main__":
    main()
