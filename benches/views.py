"""Materialized views: the part `views` of compare.py.

Refreshes, rewritten queries and rebuilds are timed on the loaded lake with nothing refreshed by itself (ADLAKE__MATERIALIZE__ENABLED=false),
so that what is timed is all that runs; the cost on ingest with and without the refreshes of the shipped views. What is compared
is checked to be equal first. The same 50,000 clicks go into both lakes, so that both refreshes touch the same groups.
"""

import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path

# Small (28,800 groups a day) and large (about half as many groups as clicks).
SMALL = "bench_by_country_minute"
LARGE = "clicks_by_ad_minute"
DEFINE_SMALL = (
    f"CREATE MATERIALIZED VIEW {SMALL} WITH (refresh='manual') AS SELECT date_trunc('minute', event_time) AS minute, country, "
    "count(*) AS clicks, sum(price_micros) AS spend FROM clicks GROUP BY date_trunc('minute', event_time), country"
)
GROUPS = {
    SMALL: "SELECT date_trunc('minute', event_time) AS minute, country, count(*) AS clicks, sum(price_micros) AS spend FROM {t} GROUP BY 1, 2",
    LARGE: (
        "SELECT ad_id, date_trunc('minute', event_time) AS minute, country, count(*) AS clicks, coalesce(sum(price_micros), 0) AS spend "
        "FROM {t} GROUP BY 1, 2, 3"
    ),
}
REWRITTEN = {
    "clicks and spend by country": "SELECT country, count(*) AS n, sum(price_micros) AS spend FROM {t} GROUP BY country ORDER BY country",
    "by hour": "SELECT date_trunc('hour', event_time) AS hour, count(*) AS n FROM {t} GROUP BY 1 ORDER BY 1",
    "one country by hour, 06:00 to 18:00": (
        "SELECT date_trunc('hour', event_time) AS hour, count(*) AS n, avg(price_micros) AS price FROM {t} WHERE country = 'KR' "
        "AND event_time >= TIMESTAMPTZ '{day} 06:00:00+00' AND event_time < TIMESTAMPTZ '{day} 18:00:00+00' GROUP BY 1 ORDER BY 1"
    ),
    "by country, 06:00:30 to 18:00 (cuts a minute)": (
        "SELECT country, sum(price_micros) AS spend FROM {t} WHERE event_time >= TIMESTAMPTZ '{day} 06:00:30+00' "
        "AND event_time < TIMESTAMPTZ '{day} 18:00:00+00' GROUP BY country ORDER BY country"
    ),
}
NEW_CLICKS = 50_000
SMALL_LAKE = 1_000_000


def bench_views(args, tools):
    """`tools` is compare.py itself."""
    with_small = Path(args.work) / "lake-views-small"
    lakes = {SMALL_LAKE: load(args, tools, with_small, SMALL_LAKE), args.rows: tools.loaded_lake(args)}
    batches = new_clicks(args)
    refreshes = {rows: refresh_times(args, tools, (rows, lake), batches) for rows, lake in lakes.items()}
    print_refreshes(args, tools, refreshes)
    with quiet_server(args, tools, lakes[args.rows], "views") as server:
        rewritten_queries(args, tools, server, lakes[args.rows])
        replays(args, tools, server, lakes[args.rows])
    ingest_cost(args, tools)
    planning(args)


class quiet_server:
    """A server that refreshes nothing by itself."""

    def __init__(self, args, tools, lake, name, enabled="false"):
        self.args, self.tools, self.lake, self.name, self.enabled = args, tools, lake, name, enabled

    def __enter__(self):
        os.environ["ADLAKE__MATERIALIZE__ENABLED"] = self.enabled
        try:
            self.log = open(self.args.work / f"server-{self.name}.log", "w")
            self.server = self.tools.Server(self.args.binary, str(self.lake), self.log)
        finally:
            del os.environ["ADLAKE__MATERIALIZE__ENABLED"]
        return self.server

    def __exit__(self, *_):
        self.server.stop()
        self.log.close()


def load(args, tools, lake, rows):
    """A lake with the first `rows` generated clicks."""
    if not (lake / "_bench_done").exists():
        import pyarrow.parquet as parquet

        tools.prepare_lake(args, lake)
        part = args.work / f"clicks-first-{rows}.parquet"
        first = parquet.ParquetFile(tools.generate(args)[0])
        batches, have = [], 0
        for batch in first.iter_batches(batch_size=65_536):
            batches.append(batch.slice(0, rows - have))
            have += batches[-1].num_rows
            if have == rows:
                break
        with parquet.ParquetWriter(part, batches[0].schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        subprocess.run([args.binary, "load", "--lake", str(lake), "clicks", str(part)], check=True, stderr=subprocess.DEVNULL)
        (lake / "_bench_done").touch()
    return lake


def new_clicks(args):
    """Batches of clicks that no lake has; of a seed of its own in every run, since a lake takes a click only once."""
    import pyarrow.parquet as parquet

    folder, count = args.work / "clicks-new", (args.runs + 1) * NEW_CLICKS
    shutil.rmtree(folder, ignore_errors=True)
    command = [args.binary, "generate", "--kind", "clicks", "--rows", count, "--seed", time.time_ns() % 1_000_000_000]
    command += ["--day", args.day, "--out", folder, "--format", "parquet", "--duplicates", "0", "--late", "0"]
    subprocess.run([str(part) for part in command], check=True, stderr=subprocess.DEVNULL)
    table = parquet.read_table(sorted(folder.rglob("*clicks*.parquet")))
    assert table.num_rows >= count, table.num_rows
    return [table.slice(start, NEW_CLICKS).combine_chunks() for start in range(0, count, NEW_CLICKS)]


def run(cursor, sql):
    start = time.monotonic()
    cursor.execute(sql)
    rows = cursor.fetch_arrow_table()
    return time.monotonic() - start, rows


def refresh_times(args, tools, loaded, batches):
    """By view: milliseconds of each refresh after 50,000 new clicks, and the groups it wrote."""
    (rows, lake), times = loaded, {SMALL: [], LARGE: []}
    with quiet_server(args, tools, lake, f"refresh-{rows}") as server, server.connect() as connection, connection.cursor() as cursor:
        run(cursor, f"DROP MATERIALIZED VIEW IF EXISTS {SMALL}")
        run(cursor, DEFINE_SMALL)
        for view in times:
            run(cursor, f"REFRESH MATERIALIZED VIEW {view}")
        # The first makes the index of event keys, which a server that has just started does not have.
        for turn, batch in enumerate(batches):
            cursor.adbc_ingest("clicks", batch, mode="append")
            for view in times:
                seconds, _ = run(cursor, f"REFRESH MATERIALIZED VIEW {view}")
                written = run(cursor, f"SELECT last_rows_in, last_rows_out FROM system.views WHERE view_name = '{view}'")[1].to_pylist()[0]
                if turn > 0:
                    assert written["last_rows_in"] == NEW_CLICKS, written
                    times[view].append((seconds * 1000, written["last_rows_out"]))
        for view in times:
            differing = run(cursor, f"VERIFY MATERIALIZED VIEW {view}")[1].num_rows if rows <= SMALL_LAKE else 0
            assert differing == 0, f"{view} is wrong in {differing} rows"
    return times


def print_refreshes(args, tools, refreshes):
    print(f"\n### Refresh after {NEW_CLICKS:,} new clicks (targets: <= 150 ms, ratio 0.8 to 1.2)\n")
    small, large = SMALL_LAKE, args.rows
    tools.row("view", f"{small:,} absorbed, ms", f"{large:,} absorbed, ms", "groups written", "ratio")
    tools.row("---", "---:", "---:", "---:", "---:")
    for view in (SMALL, LARGE):
        few, many = ([ms for ms, _ in refreshes[rows][view]] for rows in (small, large))
        groups = " / ".join(f"{statistics.median(count for _, count in refreshes[rows][view]):,.0f}" for rows in (small, large))
        ratio = statistics.median(many) / statistics.median(few)
        tools.row(view, f"{statistics.median(few):.1f}", f"{statistics.median(many):.1f}", groups, f"**{ratio:.2f}**")


def duckdb_over(tools, lake, args):
    import duckdb

    duck = duckdb.connect()
    duck.execute(f"SET threads=2; SET TimeZone='UTC'; SET memory_limit='8GB'; SET temp_directory='{args.work}/duckdb-tmp'")
    return duck, "read_parquet([" + ", ".join(f"'{path}'" for path in tools.lake_files(lake)) + "])"


def rewritten_queries(args, tools, server, lake):
    duck, source = duckdb_over(tools, lake, args)
    print(f"\n### Queries on {args.rows:,} raw clicks, answered from {SMALL} (targets: >= 20 x raw, >= 10 x DuckDB)\n")
    tools.row("query", "from the view ms", "raw in adlake ms", "DuckDB on raw ms", "raw / view", "DuckDB / view")
    tools.row("---", "---:", "---:", "---:", "---:", "---:")
    with server.connect() as fast, server.connect() as plain, fast.cursor() as view, plain.cursor() as raw:
        run(raw, "SET adlake.rewrite = off")
        for name, text in REWRITTEN.items():
            mine, other = (text.format(t=table, day=args.day) for table in ("clicks", source))
            plan = run(view, f"EXPLAIN {mine}")[1].to_pylist()
            assert any(f"rollup.{SMALL}" in str(line) for line in plan), f"{name} is not answered from {SMALL}"
            ways = {"view": lambda: run(view, mine), "raw": lambda: run(raw, mine), "duck": lambda: timed_duck(duck, other)}
            times = {way: [] for way in ways}
            for turn in range(args.runs + 1):
                answers = {}
                for way, ask in ways.items():
                    seconds, answers[way] = ask()
                    if turn > 0:
                        times[way].append(seconds * 1000)
                if turn == 0:
                    rows = [[list(line.values()) for line in answer.to_pylist()] for answer in answers.values()]
                    assert same(rows[0], rows[1]) and same(rows[0], rows[2]), f"{name}: answers differ"
            middle = {way: statistics.median(values) for way, values in times.items()}
            ratios = [f"**{tools.median_ratio(times[way], times['view']):.0f}**" for way in ("raw", "duck")]
            tools.row(name, f"{middle['view']:.1f}", f"{middle['raw']:,.0f}", f"{middle['duck']:,.0f}", *ratios)


def timed_duck(duck, sql):
    start = time.monotonic()
    rows = duck.execute(sql).to_arrow_table()
    return time.monotonic() - start, rows


def same(left, right):
    """Floating-point averages may differ in their last digit between engines."""
    close = lambda a, b: a == b or (isinstance(a, float) and isinstance(b, float) and abs(a - b) <= 1e-9 * max(abs(a), abs(b)))
    return len(left) == len(right) and all(len(a) == len(b) and all(map(close, a, b)) for a, b in zip(left, right))


def replays(args, tools, server, lake):
    """REFRESH … FULL against the same GROUP BY into a DuckDB table in memory, taking turns."""
    duck, source = duckdb_over(tools, lake, args)
    print(f"\n### Replay of {args.rows:,} clicks (time ratio DuckDB / adlake: higher is better; target >= 1)\n")
    tools.row("view", "rows", "adlake s", "DuckDB s", "ratio", "server peak MiB")
    tools.row("---", "---:", "---:", "---:", "---:", "---:")
    with server.connect() as connection, connection.cursor() as cursor:
        for view, text in GROUPS.items():
            ours, theirs = [], []
            for _ in range(args.replay_runs):
                ours.append(run(cursor, f"REFRESH MATERIALIZED VIEW {view} FULL")[0])
                duck.execute("DROP TABLE IF EXISTS replayed")
                start = time.monotonic()
                duck.execute(f"CREATE TABLE replayed AS {text.format(t=source)}")
                theirs.append(time.monotonic() - start)
            sums = "SELECT count(*) AS n, CAST(sum(clicks) AS BIGINT) AS clicks FROM {t}"
            mine = run(cursor, sums.format(t=view))[1].to_pylist()
            peer = duck.execute(sums.format(t="replayed")).to_arrow_table().to_pylist()
            assert [list(line.values()) for line in mine] == [list(line.values()) for line in peer], (mine, peer)
            duck.execute("DROP TABLE replayed")
            cells = [f"{statistics.median(values):.2f}" for values in (ours, theirs)]
            peak = tools.rss_mib(server.process.pid, "VmHWM")
            tools.row(view, f"{mine[0]['n']:,}", *cells, f"**{tools.median_ratio(theirs, ours):.2f}**", f"{peak:,.0f}")


def ingest_cost(args, tools):
    """gRPC at full speed with the three shipped views refreshing, and without, on fresh lakes that take turns."""
    rates = {"true": [], "false": []}
    behind = []
    for turn in range(args.ingest_runs):
        for enabled in rates:
            lake = args.work / "lake-views-ingest"
            shutil.rmtree(lake, ignore_errors=True)
            tools.prepare_lake(args, lake)
            with quiet_server(args, tools, lake, f"ingest-{enabled}", enabled) as server:
                tools.send(args, server, "grpc", seconds=1, batch=1_000)
                report = tools.send(args, server, "grpc", seconds=args.ingest_seconds, batch=1_000)
                rates[enabled].append(report["events_per_second"])
                with server.connect() as connection, connection.cursor() as cursor:
                    counts = "SELECT (SELECT sum(clicks) FROM {t}) AS in_view, (SELECT count(*) FROM clicks) AS in_table"
                    for view in ("clicks_by_ad_minute", "clicks_by_ad_hour", "clicks_by_ad_day"):
                        row = run(cursor, counts.format(t=view))[1].to_pylist()[0]
                        assert row["in_view"] == row["in_table"], (view, row)
                    pending = run(cursor, "SELECT max(pending_rows) AS n FROM system.views")[1].to_pylist()[0]["n"]
                    behind += [pending] if enabled == "true" else []
    print("\n### Three continuous views on the click stream (target: <= 25 % of ingest throughput)\n")
    tools.row("", "events/s")
    tools.row("---", "---:")
    tools.row("views not refreshed", f"{statistics.median(rates['false']):,.0f}")
    tools.row("three views refreshed continuously", f"{statistics.median(rates['true']):,.0f}")
    tools.row("they cost", f"**{(1 - tools.median_ratio(rates['true'], rates['false'])) * 100:.0f} %**")
    print(f"\nEvery view's sum was the table's count at the end of each run, with {min(behind):,} to {max(behind):,} rows not absorbed.")


def planning(args):
    """`benches/rewriting.rs`, when it has been built beside the binary."""
    program = Path(args.binary).parent / "rewriting"
    print("\n### Planning with 50 views defined (target: <= 2 ms more)\n")
    if not program.exists():
        print(f"{program} is not built: cargo build --release --features benches --bin rewriting")
        return
    done = subprocess.run([str(program)], capture_output=True, text=True)
    print(done.stdout + done.stderr)
