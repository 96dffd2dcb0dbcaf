"""Runs sqllogictest files through Flight SQL (ADBC): the project's own, and DataFusion's, whose dialect it speaks too.

A file is records (`statement ok|error|count N`, `query TYPES [rowsort|valuesort]`, `----`, expected answer). Each is compared
word by word, as the runners in Rust do; `<slt:ignore>` stands for any word, `(empty)` for an empty value.

As a program it lists how each file of a folder fares on the server at grpc://…:  slt.py grpc://127.0.0.1:50051 FOLDER
(DataFusion's: `cargo info datafusion-sqllogictest@VERSION` leaves them in ~/.cargo/registry/src/*/…/test_files).
"""

import datetime
import re
import sys
import zoneinfo
from dataclasses import dataclass, field
from pathlib import Path

import adbc_driver_flightsql.dbapi as flight
import adbc_driver_manager
import numpy
import pyarrow as pa

CODE = re.compile(r"^[A-Z_]+: (?:\[FlightSQL\] )?(?P<message>.*?) \((?P<code>\w+); [^()]*(?:\[[^]]*\])?\)(?:\..*)?$", re.S)


@dataclass
class Record:
    kind: str  # "statement" or "query"
    line: int
    words: list  # what follows the kind
    sql: str
    expected: list = None
    only: list = field(default_factory=list)


def parse(text):
    """The records of a file. Conditions (`onlyif`, `skipif`) are kept; other controls are passed over."""
    records, lines, at, only = [], text.splitlines(), 0, []
    while at < len(lines):
        words = lines[at].split()
        start = at
        at += 1
        if not words or words[0].startswith("#"):
            continue
        if words[0] in ("onlyif", "skipif"):
            only.append(words)
            continue
        if words[0] == "halt":
            break
        if words[0] not in ("statement", "query"):
            continue
        sql = []
        while at < len(lines) and lines[at].strip() and lines[at].strip() != "----":
            sql.append(lines[at])
            at += 1
        record = Record(words[0], start + 1, words[1:], "\n".join(sql), only=only)
        only = []
        if at < len(lines) and lines[at].strip() == "----":
            at += 1
            end = at
            while end < len(lines) and (lines[end].strip() or goes_on(record, lines[end + 1 : end + 2])):
                end += 1
            record.expected, at = lines[at:end], end
        records.append(record)
    return records


def goes_on(record, following):
    """Whether an error's text goes on after an empty line."""
    starts = ("statement", "query", "#", "onlyif", "skipif", "control", "include", "halt")
    return "error" in record.words and bool(following) and bool(following[0].strip()) and not following[0].startswith(starts)


def text(value, kind):
    """A value as Arrow displays it."""
    if value is None:
        return "NULL"
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        return "true" if value else "false"
    if pa.types.is_floating(kind):
        return number(value, kind)
    if pa.types.is_timestamp(kind):
        return moment(value, kind)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return value.hex()
    if pa.types.is_decimal(kind):
        return format(value, "f")
    if isinstance(value, datetime.time):
        return value.isoformat()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return "[" + ", ".join(inner(item, kind.value_type) for item in value) + "]"
    if pa.types.is_struct(kind):
        return "{" + ", ".join(f"{part.name}: {inner(value[part.name], part.type)}" for part in kind) + "}"
    if pa.types.is_map(kind):
        return "{" + ", ".join(f"{inner(key, kind.key_type)}: {inner(item, kind.item_type)}" for key, item in value) + "}"
    return str(value)


def inner(value, kind):
    return "NULL" if value is None else text(value, kind)


def number(value, kind):
    """As Rust writes it: 1.5, 2.0, 1e16."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    shortest = str(numpy.float32(value)) if pa.types.is_float32(kind) else repr(value)
    return re.sub(r"e([-+])0*", lambda found: "e-" if found[1] == "-" else "e", shortest)


def moment(value, kind):
    """`value` is the count of units since 1970; fractions as long as needed, in threes; the offset of a zone, Z for UTC."""
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
    seconds, rest = divmod(value, per_second)
    at = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    zone = ""
    if kind.tz in ("UTC", "+00:00"):
        zone = "Z"
    elif kind.tz:
        named = "/" in kind.tz
        at = at.astimezone(zoneinfo.ZoneInfo(kind.tz) if named else datetime.datetime.fromisoformat(f"1970-01-01T00:00{kind.tz}").tzinfo)
        zone = at.strftime("%z")[:3] + ":" + at.strftime("%z")[3:]
    fraction = f"{rest * (10**9 // per_second):09d}"
    while fraction.endswith("000"):
        fraction = fraction[:-3]
    return at.strftime("%Y-%m-%dT%H:%M:%S") + (f".{fraction}" if fraction else "") + zone


def rows_of(table):
    columns = []
    for column in table.columns:
        kind = column.type
        values = column.cast(pa.int64()).to_pylist() if pa.types.is_timestamp(kind) else column.to_pylist()
        columns.append([text(value, kind) or "(empty)" for value in values])
    return [list(row) for row in zip(*columns)]


class Database:
    """A connection that runs one statement after the other."""

    def __init__(self, url):
        self.connection = flight.connect(url, autocommit=True)

    def close(self):
        self.connection.close()

    def run(self, sql):
        """("rows", schema, rows), ("count", number) or ("error", text)."""
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(sql)
                table = cursor.fetch_arrow_table()
                if table.schema.names == ["rows_affected", "message"]:
                    return "count", table.column(0)[0].as_py() or 0
                return "rows", table.schema, rows_of(table)
        except adbc_driver_manager.Error as error:
            return "error", plain(str(error))


def plain(error):
    """The server's own text: `kind: message`."""
    told = CODE.match(error.strip())
    if not told:
        return error
    code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", told["code"]).lower()
    return f"{code}: {told['message']}"


def words_of(lines):
    return [line.split() for line in "\n".join(lines).splitlines() if line.strip()]


def same(found, wanted):
    found, wanted = words_of(found), words_of(wanted)
    if len(found) != len(wanted):
        return False
    pairs = zip(found, wanted)
    return all(len(f) == len(w) and all(b == "<slt:ignore>" or a == b for a, b in zip(f, w)) for f, w in pairs)


def check(record, answer, engine):
    """What is wrong with the answer, or None."""
    for word, name in [words[:2] for words in record.only]:
        if (word == "onlyif") != (name == engine):
            return None
    outcome = answer(record.sql)
    if record.words[:1] == ["error"]:
        if outcome[0] != "error":
            return "accepted, an error was expected"
        pattern = " ".join(record.words[1:])
        if pattern and not re.search(pattern, outcome[1]):
            return f"error {outcome[1]!r}, expected {pattern!r}"
        if record.expected and not same([outcome[1]], record.expected):
            return f"error {outcome[1]!r}, expected {record.expected!r}"
        return None
    if outcome[0] == "error":
        return f"error {outcome[1]!r}"
    if record.kind == "statement":
        wanted = int(record.words[1]) if record.words[:1] == ["count"] else None
        return None if wanted is None or outcome[1] == wanted else f"{outcome[1]} rows changed, expected {wanted}"
    rows = outcome[2] if outcome[0] == "rows" else [[str(outcome[1])]]
    wanted = record.expected or []
    if "rowsort" in record.words:
        rows, wanted = sorted(rows, key=" ".join), sorted(wanted)
    if "valuesort" in record.words:
        rows = [[value] for value in sorted(value for row in rows for value in row)]
    lines = [" ".join(row) for row in rows]
    return None if same(lines, wanted) else f"answered {lines!r}, expected {wanted!r}"


def run_file(path, url, engine="Datafusion"):
    """(records that agree, [(record, what differs)])."""
    database, good, differences = Database(url), 0, []
    try:
        for record in parse(Path(path).read_text()):
            wrong = check(record, database.run, engine)
            good += wrong is None
            if wrong is not None:
                differences.append((record, wrong))
    finally:
        database.close()
    return good, differences


def main():
    url, folder = sys.argv[1], Path(sys.argv[2])
    for path in sorted(folder.rglob("*.slt")):
        good, differences = run_file(path, url)
        first = f"  first: line {differences[0][0].line}: {differences[0][1][:300]}" if differences else ""
        print(f"{path.relative_to(folder)}: {good} agree, {len(differences)} differ{first}", flush=True)


if __name__ == "__main__":
    main()
