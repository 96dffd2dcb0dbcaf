"""Runs sqllogictest files through Flight SQL (ADBC): the project's own, and DataFusion's, whose dialect it speaks too.

A file is records (`statement ok|error|count N`, `query TYPES [rowsort|valuesort]`, `----`, expected answer). Each is compared
word by word, as the runners in Rust do; `<slt:ignore>` stands for any text, `(empty)` for an empty value.

As a program it lists how each of DataFusion's files fares, with its display of values, and why records differ:

    slt.py (URL | ADLAKE) FOLDER [--tables] [--data FOLDER] [--limit SECONDS] [--only PART] [--report FILE.md] [--details FILE.json]

URL is a server's (grpc://127.0.0.1:50051; its relations are dropped before each file), ADLAKE the binary (each file gets a lake of
its own). `--tables` runs `CREATE TABLE … AS query` as CREATE TABLE and INSERT, or as CREATE VIEW where a table cannot hold the types,
and `CREATE EXTERNAL TABLE` of a CSV file below `--data` as CREATE TABLE and COPY INTO: then far more records mean something.
Files: `curl -L https://static.crates.io/crates/datafusion-sqllogictest/datafusion-sqllogictest-VERSION.crate | tar xz`.
"""

import argparse
import collections
import datetime
import decimal
import hashlib
import json
import os
import re
import tempfile
import time
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


def parse(text, folder=None):
    """The records of a file in `folder`. Conditions (`onlyif`, `skipif`) are kept, `include` brings the records of other files,
    `hash-threshold` is not needed; other controls are passed over."""
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
        if words[0] == "include" and folder:
            for path in sorted(Path(folder).glob(words[1])):
                records += parse(path.read_text(), path.parent)
            continue
        if words[0] not in ("statement", "query"):
            continue
        sql = []
        while at < len(lines) and lines[at].strip() and lines[at].rstrip() != "----":
            sql.append(lines[at])
            at += 1
        record = Record(words[0], start + 1, words[1:], "\n".join(sql), only=only)
        only = []
        if at < len(lines) and lines[at].rstrip() == "----":
            at += 1
            end = at
            while end < len(lines) and (lines[end] or goes_on(record, lines[end + 1 : end + 2])):
                end += 1
            record.expected, at = lines[at:end], end
        records.append(record)
    return records


def goes_on(record, following):
    """Whether an error's text goes on after an empty line."""
    starts = ("statement", "query", "#", "onlyif", "skipif", "control", "include", "halt")
    return "error" in record.words and bool(following) and bool(following[0].strip()) and not following[0].startswith(starts)


def text(scalar):
    """A value as Arrow displays it."""
    kind = scalar.type
    if not scalar.is_valid or pa.types.is_null(kind):
        return "NULL"
    if pa.types.is_dictionary(kind):
        return text(scalar.value)
    if pa.types.is_boolean(kind):
        return "true" if scalar.as_py() else "false"
    if pa.types.is_floating(kind):
        return number(scalar.as_py(), kind)
    if pa.types.is_timestamp(kind):
        return moment(scalar.value, kind)
    if pa.types.is_date64(kind):
        return moment(scalar.value, pa.timestamp("ms"))
    if pa.types.is_date32(kind):
        return day(scalar.value)
    if pa.types.is_time(kind):
        return moment(scalar.value, pa.timestamp(kind.unit)).partition("T")[2]
    if pa.types.is_duration(kind):
        return duration(scalar.value, kind)
    if pa.types.is_interval(kind):
        return interval(scalar.as_py())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return scalar.as_py().hex()
    if pa.types.is_decimal(kind):
        return format(scalar.as_py(), "f")
    if pa.types.is_map(kind):
        return "{" + ", ".join(f"{text(pair[0])}: {text(pair[1])}" for pair in scalar.values) + "}"
    if pa.types.is_struct(kind):
        return "{" + ", ".join(f"{kind.field(at).name}: {text(scalar[at])}" for at in range(kind.num_fields)) + "}"
    if isinstance(getattr(scalar, "values", None), pa.Array):  # a list of any kind
        return "[" + ", ".join(map(text, scalar.values)) + "]"
    if pa.types.is_union(kind):
        name = kind.field(kind.type_codes.index(scalar.type_code)).name
        return f"{{{name}={text(scalar.value)}}}"
    return str(scalar.as_py())


def day(value):
    """Of a day since 1970 in the Gregorian calendar, of any year: 2020-01-31, -0044-03-15, +12000-01-01."""
    eras, rest = divmod(value + 719468, 146097)  # 400 years, from 0000-03-01 on
    year = (rest - rest // 1460 + rest // 36524 - rest // 146096) // 365
    rest -= 365 * year + year // 4 - year // 100
    month, year = (5 * rest + 2) // 153, year + 400 * eras
    number = rest - (153 * month + 2) // 5 + 1
    year, month = (year, month + 3) if month < 10 else (year + 1, month - 9)
    sign = "-" if year < 0 else "+" if year > 9999 else ""
    return f"{sign}{abs(year):04d}-{month:02d}-{number:02d}"


def duration(value, kind):
    """0 days 0 hours 0 mins 1.500 secs"""
    per_second = PER_SECOND[kind.unit]
    sign, (seconds, rest) = ("-" if value < 0 else ""), divmod(abs(value), per_second)
    days, hours, minutes, seconds = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60, seconds % 60
    fraction = f".{rest:0{len(str(per_second)) - 1}d}" if per_second > 1 else ""
    signed = [f"{sign if part else ''}{part}" for part in (days, hours, minutes)]
    return f"{signed[0]} days {signed[1]} hours {signed[2]} mins {sign if seconds or rest else ''}{seconds}{fraction} secs"


def interval(value):
    """1 mons 2 days 3 hours 4 mins 5.000000000 secs, without the parts that are zero"""
    parts = [f"{value.months} mons"] * bool(value.months) + [f"{value.days} days"] * bool(value.days)
    sign, rest = ("-" if value.nanoseconds < 0 else ""), abs(value.nanoseconds)
    hours, minutes, nanoseconds = rest // (3600 * 10**9), rest // (60 * 10**9) % 60, rest % (60 * 10**9)
    parts += [f"{sign}{hours} hours"] * bool(hours) + [f"{sign}{minutes} mins"] * bool(minutes)
    if nanoseconds:
        parts.append(f"{sign}{nanoseconds // 10**9}.{nanoseconds % 10**9:09d} secs")
    return " ".join(parts)


def datafusion_text(scalar, digits=12):
    """A value as DataFusion's runner writes it: numbers rounded and without trailing zeros."""
    kind = scalar.type
    if pa.types.is_dictionary(kind) and scalar.is_valid:
        return datafusion_text(scalar.value, digits)
    written = text(scalar)
    if not scalar.is_valid:
        return written
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return written.rstrip("\n").replace("\0", "\\0") if written else "(empty)"
    if pa.types.is_decimal(kind):
        return plainly(scalar.as_py())
    if pa.types.is_floating(kind):
        special = {"inf": "Infinity", "-inf": "-Infinity", "NaN": "NaN"}.get(written)
        return special or plainly(EXACT.quantize(decimal.Decimal(written), decimal.Decimal(1).scaleb(-digits)))
    return written


EXACT = decimal.Context(prec=500, rounding=decimal.ROUND_HALF_EVEN)


def plainly(value):
    return format(value.normalize(EXACT), "f") if value else "0"


def expanded(row):
    """Lines of the last value become rows, numbered, with dashes for leading spaces (plans are written so)."""
    lines = row[-1].split("\n") if row else []
    if len(lines) < 2:
        return [row]
    return [row[:-1]] + [[f"{at:02d})" + "-" * (len(line) - len(line.lstrip())) + line.lstrip()] for at, line in enumerate(lines, 1)]


WIDTHS = {pa.float16(): numpy.float16, pa.float32(): numpy.float32}


def number(value, kind):
    """As Rust writes it: 1.5, 2.0, 1e16."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    shortest = str(WIDTHS.get(kind, float)(value))
    return re.sub(r"e([-+])0*", lambda found: "e-" if found[1] == "-" else "e", shortest)


PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def moment(value, kind):
    """`value` is the count of units since 1970; fractions as long as needed, in threes; the offset of a zone, Z for UTC."""
    per_second = PER_SECOND[kind.unit]
    seconds, rest = divmod(value, per_second)
    try:
        at = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    except OverflowError:
        return f"{day(seconds // 86400)}T{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}" + ("Z" if kind.tz else "")
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
    return at.replace(tzinfo=None, microsecond=0).isoformat() + (f".{fraction}" if fraction else "") + zone


def rows_of(table):
    columns = [[text(value) or "(empty)" for value in column] for column in table.columns]
    return [list(row) for row in zip(*columns)]


def datafusion_rows_of(table, digits=12):
    columns = [[datafusion_text(value, digits) for value in column] for column in table.columns]
    return [row for whole in zip(*columns) for row in expanded(list(whole))]


def types_of(schema):
    """The letters that stand for the columns' types after `query`; text that came as a dictionary is text."""

    def letter(kind):
        if pa.types.is_dictionary(kind):
            return "T" if letter(kind.value_type) == "T" else "?"
        tests = {
            "B": [pa.types.is_boolean],
            "I": [pa.types.is_integer],
            "R": [pa.types.is_floating, pa.types.is_decimal],
            "T": [pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view],
            "D": [pa.types.is_date, pa.types.is_time],
            "P": [pa.types.is_timestamp],
        }
        return next((sign for sign, any_of in tests.items() if any(test(kind) for test in any_of)), "?")

    return "".join(letter(column.type) for column in schema)


class Database:
    """A connection that runs one statement after the other. `rows_of` writes an answer's values."""

    def __init__(self, url, rows_of=rows_of):
        self.connection = flight.connect(url, autocommit=True)
        self.rows_of = rows_of

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
                return "rows", table.schema, self.rows_of(table)
        except adbc_driver_manager.Error as error:
            return "error", plain(str(error))
        except (pa.ArrowException, NotImplementedError, ValueError, KeyError, ArithmeticError) as error:  # types pyarrow has not
            return "error", f"client: {type(error).__name__}: {error}"


def plain(error):
    """The server's own text: `kind: message`."""
    told = CODE.match(error.strip())
    if not told:
        return error
    code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", told["code"]).lower()
    return f"{code}: {told['message']}"


IGNORE = "<slt:ignore>"


def words_of(lines):
    return [" ".join(line.split()) for line in "\n".join(lines).splitlines() if line.strip()]


def same(found, wanted):
    found, wanted = words_of(found), words_of(wanted)
    if any(IGNORE in line for line in wanted):
        return bool(re.match(".*?".join(map(re.escape, "\n".join(wanted).split(IGNORE))) + r"\Z", "\n".join(found), re.S))
    return found == wanted


def check(record, answer, engine, types=False):
    """What is wrong with the answer, or None. `types`: whether the columns' types count."""
    return judge(record, answer(record.sql), types) if wanted_by(record, engine) else None


def wanted_by(record, engine):
    """Whether the record's conditions let `engine` run it."""
    return all((word == "onlyif") == (name.lower() == engine.lower()) for word, name in [words[:2] for words in record.only])


def bare(error):
    """DataFusion's text of an error without the kinds it begins with, which we tell by codes."""
    kinds = "DataFusion|Arrow|Cast|Parser|Compute|Schema|SQL|Execution|External|Invalid argument|Resources exhausted|Optimizer|Invalid or Unsupported Configuration"
    return re.sub(rf"\^?((?:{kinds}) error: |Error during planning: |This feature is not implemented: |type_coercion caused by )+", "", error)


def judge(record, outcome, types=False):
    if "error" in record.words[:1]:
        if outcome[0] != "error":
            return "accepted, an error was expected"
        pattern, wanted = " ".join(record.words[1:]), record.expected
        if types:  # DataFusion's
            pattern, wanted = bare(pattern), wanted and bare(" ".join(words_of(wanted))).strip()
            wanted = None if wanted and wanted in " ".join(words_of([outcome[1]])) else wanted
        if pattern and not re.search(pattern, outcome[1]):
            return f"error {outcome[1]!r}, expected {pattern!r}"
        if wanted and not same([outcome[1]], [wanted] if types else wanted):
            return f"error {outcome[1]!r}, expected {wanted!r}"
        return None
    if outcome[0] == "error":
        return f"error {outcome[1]!r}"
    if record.kind == "statement":
        wanted = int(record.words[1]) if record.words[:1] == ["count"] else None
        return None if wanted is None or outcome[1] == wanted else f"{outcome[1]} rows changed, expected {wanted}"
    rows = outcome[2] if outcome[0] == "rows" else [[str(outcome[1])]]
    wanted = words_of(record.expected or [])
    if not wanted and outcome == ("count", 0):
        return None
    hashed = wanted and re.fullmatch(r"(\d+) values hashing to (\w+)", wanted[0])
    if hashed:
        rows = sorted(rows) if "rowsort" in record.words else rows
        values = [value for row in rows for value in row]
        rows = [[f"{len(values)} values hashing to {hashlib.md5(''.join(value + chr(10) for value in values).encode()).hexdigest()}"]]
    if "valuesort" in record.words:
        rows = [[value] for value in sorted(value for row in rows for value in row)]
    lines = [" ".join(row) for row in rows]
    if "rowsort" in record.words:
        lines, wanted = sorted(words_of(lines)), sorted(wanted)
    if not same(lines, wanted):
        return f"answered {lines!r}, expected {wanted!r}"
    if types and outcome[0] == "rows" and record.words and types_of(outcome[1]) != record.words[0]:
        return f"columns of types {types_of(outcome[1])}, expected {record.words[0]}"
    return None


def run_file(path, url, engine="Datafusion"):
    """(records that agree, [(record, what differs)])."""
    database, good, differences = Database(url), 0, []
    try:
        for record in parse(Path(path).read_text(), Path(path).parent):
            wrong = check(record, database.run, engine)
            good += wrong is None
            if wrong is not None:
                differences.append((record, wrong))
    finally:
        database.close()
    return good, differences


# ---- DataFusion's files


NAME = r"""(?:"[^"]+"|\w+)"""
CREATE_AS = re.compile(
    rf"\s*CREATE\s+(?P<replace>OR\s+REPLACE\s+)?(?:TEMP\w*\s+)?TABLE\s+(?P<exists>IF\s+NOT\s+EXISTS\s+)?(?P<name>{NAME})\s*"
    r"(?:\((?P<columns>.*?)\)\s*)?AS\s*(?P<query>(?:\(|SELECT\b|VALUES\b|WITH\b).*)",
    re.I | re.S,
)
CREATE_CSV = re.compile(
    rf"\s*CREATE\s+(?:UNBOUNDED\s+)?EXTERNAL\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(?P<name>{NAME})\s*\((?P<columns>.*?)\)\s*STORED\s+AS\s+CSV\b"
    r".*?LOCATION\s+'(?P<file>[^']+)'",
    re.I | re.S,
)
DROP = re.compile(rf"\s*DROP\s+TABLE\s+(?P<exists>IF\s+EXISTS\s+)?(?P<name>{NAME})\s*;?\s*$", re.I)
STORED = {
    "Int8": "TINYINT", "Int16": "SMALLINT", "Int32": "INT", "Int64": "BIGINT", "Float32": "REAL", "Float64": "DOUBLE", "Boolean": "BOOLEAN",
    "Utf8": "VARCHAR", "Date32": "DATE", "Binary": "BYTEA", "Timestamp(µs)": "TIMESTAMP", 'Timestamp(µs, "UTC")': "TIMESTAMPTZ",
}  # fmt: skip
STAND_IN = {
    "UInt8": "SMALLINT", "UInt16": "INT", "UInt32": "BIGINT", "UInt64": "DECIMAL(20,0)", "LargeUtf8": "VARCHAR", "Utf8View": "VARCHAR",
    "LargeBinary": "BYTEA", "BinaryView": "BYTEA", "Timestamp(s)": "TIMESTAMP", "Timestamp(ms)": "TIMESTAMP",
}  # fmt: skip
UNSIGNED = {"TINYINT": ("SMALLINT", "UInt8"), "SMALLINT": ("INT", "UInt16"), "INT": ("BIGINT", "UInt32"), "BIGINT": ("DECIMAL(20,0)", "UInt64")}


def stored_as(kind):
    """(SQL type of a table's column that holds values of Arrow's type `kind`, None or the type to cast to on reading), or None."""
    if found := re.fullmatch(r"Decimal128\((\d+), (\d+)\)", kind):
        return f"DECIMAL({found[1]},{found[2]})", None
    if re.fullmatch(r"Dictionary\(U?Int\d+, Utf8\)", kind):
        return "VARCHAR", kind
    if found := re.fullmatch(r"List\((\w+)\)", kind):
        return (f"{STORED[found[1]]}[]", None) if found[1] in STORED else None
    if kind in STORED:
        return STORED[kind], None
    return (STAND_IN[kind], kind) if kind in STAND_IN else None


def columns_of(text):
    """[(name, type)] of the columns in the parentheses of CREATE TABLE."""
    text = re.sub(r"--[^\n]*|/\*.*?\*/", "", text, flags=re.S)
    parts, depth, begin = [], 0, 0
    for at, sign in enumerate(text + ","):
        depth += (sign in "(<[") - (sign in ")>]")
        if sign == "," and depth == 0:
            parts.append(text[begin:at].strip())
            begin = at + 1
    keys = re.compile(r"(primary\s+key|unique|constraint|foreign\s+key|check)\b", re.I)
    found = [re.match(rf"({NAME})\s+(.*)", part, re.S) for part in parts if not keys.match(part)]
    cut = r"\s*\b(NOT NULL|NULL|PRIMARY|UNIQUE|DEFAULT|CONSTRAINT|WITH\s+ORDER)\b.*"
    return [(one[1], re.sub(cut, "", " ".join(one[2].split()), flags=re.I)) for one in found if one]


class Tables:
    """Runs statements; tables made of queries and of CSV files in `data` as adlake makes them."""

    def __init__(self, database, data=None):
        self.database, self.data, self.views = database, data, set()

    def run(self, sql):
        if as_query := CREATE_AS.match(sql):
            return self.of_query(sql, **as_query.groupdict())
        if self.data and (of_csv := CREATE_CSV.match(sql)):
            return self.of_csv(sql, **of_csv.groupdict())
        dropped = DROP.match(sql)
        if dropped and dropped["name"].lower() in self.views:
            self.views.discard(dropped["name"].lower())
            answer = self.database.run(f"DROP VIEW {dropped['name']}")
            self.database.run(f"DROP TABLE IF EXISTS {dropped['name'].strip(chr(34))}_rows")
            return answer
        answer = self.database.run(sql)
        if dropped and answer[0] == "error" and "read by" in answer[1]:  # by views that stand for tables
            return self.database.run(f"DROP TABLE {dropped['name']} CASCADE")
        return answer

    def of_query(self, sql, replace, exists, name, columns, query):
        there = self.database.run(f"SELECT * FROM {name} LIMIT 0")[0] == "rows"
        if there and exists:
            return "count", 0
        if there and not replace:
            return self.database.run(f"CREATE TABLE {name} (a INT)")
        query = query.rstrip().rstrip(";")
        if columns:
            named = columns_of(columns)
            places = [f"v{at}" for at in range(len(named))]
            cast = ", ".join(f"CAST({place} AS {kind}) AS {column}" for place, (column, kind) in zip(places, named))
            bare = ", ".join(f"{place} AS {column}" for place, (column, _) in zip(places, named))
            rest = f" FROM (\n{query}\n) AS q({', '.join(places)})"
            can = self.database.run(f"SELECT {cast}{rest} LIMIT 0")[0] == "rows"
            query = f"SELECT {cast if can else bare}{rest}"
        answer = self.database.run(f"SELECT * FROM (\n{query}\n) AS q LIMIT 0")
        if answer[0] != "rows":
            return answer
        if there:
            self.run(f"DROP TABLE {name}")
        if self.held(name, query, answer[1].names):
            return "count", 0
        self.views.add(name.lower())
        return self.database.run(f"CREATE VIEW {name} AS {query}")

    def held(self, name, query, columns):
        """Whether a table (below a view that casts, where it cannot hold the very types) holds the query's rows now."""
        told = self.database.run("SELECT " + ", ".join(f'arrow_typeof("{column}")' for column in columns) + f" FROM (\n{query}\n) AS q LIMIT 1")
        if told[0] != "rows" or not told[2]:
            return False
        kinds = [stored_as(kind) for kind in told[2][0]]
        if not all(kinds):
            return False
        exact = all(cast is None for _, cast in kinds)
        rows = name if exact else f"{name.strip(chr(34))}_rows"
        made = ", ".join(f'"{column}" {kind}' for column, (kind, _) in zip(columns, kinds))
        if self.database.run(f"CREATE TABLE {rows} ({made})")[0] != "count":
            return False
        if self.database.run(f"INSERT INTO {rows} SELECT * FROM (\n{query}\n) AS q")[0] != "count":
            self.database.run(f"DROP TABLE {rows}")
            return False
        if not exact:
            self.views.add(name.lower())
            casts = [f'"{column}"' if cast is None else f"""arrow_cast("{column}", '{cast}') AS "{column}\"""" for column, (_, cast) in zip(columns, kinds)]
            return self.database.run(f"CREATE VIEW {name} AS SELECT {', '.join(casts)} FROM {rows}")[0] == "count"
        return True

    def of_csv(self, sql, name, columns, file):
        path = Path(os.path.normpath(self.data / "datafusion" / "sqllogictest" / file))
        if not path.is_file() or path.stat().st_size > 2**20:
            return self.database.run(sql)
        named = columns_of(columns)
        split = [re.match(r"(.*?)\s+UNSIGNED", kind, re.I) for _, kind in named]
        kinds = [UNSIGNED[found[1].upper()][0] if found else kind for found, (_, kind) in zip(split, named)]
        base = f"{name}_rows" if any(split) else name
        made = self.database.run(f"CREATE TABLE {base} ({', '.join(f'{column} {kind}' for (column, _), kind in zip(named, kinds))})")
        if made[0] != "count":
            return made
        lines = path.read_text().splitlines()[1 if "header" in sql.lower() else 0 :]
        quoted = ["(" + ", ".join(f"'{value}'" if value else "NULL" for value in line.split(",")) + ")" for line in lines]
        places = [f"v{at}" for at in range(len(named))]
        casts = ", ".join(f"CAST({place} AS {kind})" for place, kind in zip(places, kinds))
        filled = self.database.run(f"INSERT INTO {base} SELECT {casts} FROM (VALUES {', '.join(quoted)}) AS q({', '.join(places)})")
        if filled[0] != "count" or base == name:
            return filled
        self.views.add(name.lower())
        whole = [f"arrow_cast({column}, '{UNSIGNED[found[1].upper()][1]}') AS {column}" if found else column for found, (column, _) in zip(split, named)]
        return self.database.run(f"CREATE VIEW {name} AS SELECT {', '.join(whole)} FROM {base}")


def empty(database):
    """Drops every table and view."""
    answer = database.run("SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'public'")
    for _ in range(5):  # views stand on each other
        for name, kind in answer[2] if answer[0] == "rows" else []:
            word = "VIEW" if "VIEW" in kind else "TABLE"
            database.run(f'DROP {word} IF EXISTS "{name}"')


def datafusion_file(path, shown, url, tables, data, limit):
    """[(record, outcome, what differs or None)] of one of DataFusion's files; the last ones are missing when time is over."""
    digits = 15 if "spark/" in str(shown) else 12
    database = Database(url, lambda table: datafusion_rows_of(table, digits))
    run = Tables(database, data).run if tables else database.run
    end, found = time.monotonic() + limit, []
    records = [record for record in parse(path.read_text(), path.parent) if wanted_by(record, "Datafusion")]
    try:
        empty(database)
        for record in records:
            if time.monotonic() > end:
                found.append((record, ("late",), "not run: the file's time was over"))
                continue
            began = time.monotonic()
            outcome = run(record.sql)
            record.seconds = time.monotonic() - began
            found.append((record, outcome, judge(record, outcome, types=True)))
    finally:
        database.close()
    return found


# Why a record differs: the first line whose patterns are found in its SQL (without comments, spaces single) and in what differs.
REASONS = [
    ("not run in time", "", r"^not run"),
    ("INTERNAL ERROR", "", r"""^error ['"]internal|panic"""),
    ("types that the client cannot read", "", r"""^error ['"](client|unknown: arrow)"""),
    ("SET, RESET, SHOW of `datafusion.*`", r"^(set|reset|show) (?!tables|columns|functions)", ""),
    ("another plan", r"^explain", r"^(answered|columns)"),
    ("forms of EXPLAIN", r"^explain", r"(syntax error|unimplemented|not supported|pgjson|accepted)"),
    ("tables over files, COPY TO", r"^(create (or replace )?(unbounded )?external|copy)", ""),
    ("CREATE TABLE AS, SELECT INTO", "", r"TABLE … AS is not supported|SELECT … INTO is not"),
    ("schemas, databases, names", r"^(create|drop) (schema|database)", ""),
    ("SQL functions", r"^(create|drop) (or replace )?(temporary )?function", ""),
    ("UPDATE, MERGE, TRUNCATE", r"^(explain )?(update|merge|truncate)", ""),
    ("PREPARE, EXECUTE", r"^(prepare|execute|deallocate)", ""),
    ("information_schema, SHOW, DESCRIBE", r"^(show|describe|desc) |information_schema", ""),
    ("relation missing after a refused CREATE", "", r"(table( or view)?|view|relation) '[^']*' (does )?not (found|exist)"),
    ("schemas, databases, names", "", r"cannot be the name|objects live in|(schema|catalog) '[^']*' not found|cannot be a column name|cannot be stored under"),
    ("keys, DEFAULT", "", r"PRIMARY KEY and UNIQUE|only CHECK constraints|DEFAULT is not|must be in GROUP BY or an aggregate"),
    ("types of columns", "", r"is not supported; use|not supported yet: use one column|lengths are not kept|needs a precision|precision out"),
    ("CREATE TABLE without columns", r"^create table", r"expected '\(', found"),
    ("what would delete rows has to say so", "", r"would delete"),
    ("DROP needs CASCADE", "", r"or use CASCADE"),
    ("a view instead of a table (--tables)", "", r"is a view; rows are inserted"),
    ("approx_distinct of nested and rare types", "", r"approx_distinct does not take"),
    ("DOUBLE beside a decimal literal", "", r"error.*(Cannot cast to Decimal128\(\d+, \d+\). (Overflowing|Value overflows)|Decimal scale -\d+ exceeds|too large to store in a Decimal128)"),
    ("precision of TIMESTAMP(p) in casts", r"timestamp\([0-6]\)", r"^answered"),
    ("integers cast to TIMESTAMP are microseconds, not seconds", r"timestamp|select \*|::time|\bts\b", r"^answered .*(1970-01-(01T00:(00:00.00000|02|27)|1\dT)|1974-03|^answered..true true true true false)"),
    ("timestamps are microseconds in UTC", r"nanosecond", r"^answered"),
    ("scalar subquery of a NOT NULL column that finds nothing", "", r"declared as non-nullable but contains null"),
    ("keys, DEFAULT", "", r"Correlated scalar subquery must be aggregated"),
    ("bytes of tables as FixedSizeBinary", "", r"CAST from BinaryView to FixedSizeBinary"),
    ("array functions with decimals of other precision", "", r"function \w*(array|list)\w*\(.*Decimal128.* does not exist"),
    ("range, generate_series over TIMESTAMP as tables", "", r"First argument must be a timestamp"),
    ("to_timestamp of columns", "", r"column types must match schema types"),
    ("lists of tables: element", "", r"field: .{1,2}element"),
    ("lambdas: another dialect", r"->", r"not found|syntax error"),
    ("syntax of another dialect", "", r"^error.*syntax error"),
    ("syntax of another dialect", r"order by all|interval.*[-+]", r"^error"),
    ("VALUES of several types in INSERT", "", r"Inconsistent data type across values|Cannot cast string '\w+' to value of Decimal128"),
    ("functions that DataFusion's runner adds", "", r"SQL type UUID|function '(async_abs|example)' not found"),
    ("quotients of decimals have 4 digits more than the dividend", r"\d\.0 ?/ ?\d", r"^answered"),
    ("decimal literals", r"array_to_string|list_to_string|array_join|list_join|\d\.\d", r"^answered"),
    ("timestamps are microseconds in UTC", r"timestamp|\bts\d?\b|time\b", r"^answered"),
    ("accepted, an error was expected", "", r"^accepted"),
]


CHANGES = re.compile(rf"\s*(?:insert\s+into|update|delete\s+from|truncate\s+(?:table\s+)?|merge\s+into|create\s+or\s+replace\s+table)\s+({NAME})", re.I)


def reasons_of(found, shown):
    """[(record, outcome, what differs, why)] of the records that differ."""
    told, unchanged = [], set()
    for record, outcome, wrong in found:
        change = CHANGES.match(record.sql)
        if change and outcome[0] == "error":
            unchanged.add(change[1].lower())
        if wrong:
            why = reason(record, outcome, wrong, shown)
            if why in ("OTHER ANSWER", "accepted, an error was expected") and any(re.search(rf"\b{re.escape(name)}\b", record.sql.lower()) for name in unchanged):
                why = "rows that a refused statement would have changed"
            told.append((record, outcome, wrong, why))
    return told


def reason(record, outcome, wrong, shown):
    sql = " ".join(re.sub(r"--[^\n]*", "", record.sql).split())
    if str(shown).startswith("spark/") and not re.match("(create|drop|insert|set)", sql, re.I):
        return "Spark's functions"
    if wrong.startswith("error") and record.words[:1] == ["error"] and not re.match(r"""error ['"](client|internal|unknown: arrow|not_found: table)""", wrong):
        return "error in other words"
    for name, of_sql, of_wrong in REASONS:
        if re.search(of_sql, sql, re.I) and re.search(of_wrong, wrong):
            return name
    if outcome[0] != "rows":
        return "OTHER ERROR" if outcome[0] == "error" else "OTHER ANSWER"
    found, wanted = words_of([" ".join(row) for row in outcome[2]]), words_of(record.expected or [])
    if sorted(found) == sorted(wanted):
        return "dictionaries arrive as their values" if wrong.startswith("columns") else "rows in another order"
    for name, change in NORMAL:
        if sorted(map(change, found)) == sorted(map(change, wanted)):
            return name
    return "decimal literals" if re.search(r"Decimal128", wrong.partition("expected")[0]) else "OTHER ANSWER"


def of_times(line):
    line = re.sub(r"(\d\d:\d\d:\d\d)(\.\d+)?(Z|[-+]\d\d:\d\d)?", lambda at: at[1] + f"{(at[2] or '.')[:7]:0<7}", line)
    line = re.sub(r"(\d\.\d{6})\d* secs", r"\1 secs", line)
    return re.sub(r', "(UTC|[-+]\d\d(:\d\d)?)"', "", line.replace("µs", "ns"))


NORMAL = [
    ("timestamps are microseconds in UTC", of_times),
    ("text and lists as they are stored", lambda line: line.replace("Utf8View", "Utf8").replace("BinaryView", "Binary").replace(", field: 'element'", "")),
]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("server", metavar="URL|ADLAKE")
    options.add_argument("folder", type=Path)
    options.add_argument("--tables", action="store_true")
    options.add_argument("--data", type=Path)
    options.add_argument("--limit", type=float, default=60)
    options.add_argument("--only", default="")
    options.add_argument("--report", type=Path)
    options.add_argument("--details", type=Path)
    said = options.parse_args()
    lines, details = [], []
    for path in sorted(said.folder.rglob("*.slt")):
        shown = path.relative_to(said.folder)
        if said.only not in str(shown):
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as lake:
            if "://" in said.server:
                found = datafusion_file(path, shown, said.server, said.tables, said.data, said.limit)
            else:
                os.environ["ADLAKE"] = said.server
                from support import Server

                with Server(Path(lake) / "lake", settings={"query.timeout": "30s"}) as server:
                    found = datafusion_file(path, shown, server.flight_url, said.tables, said.data, said.limit)
        differ = reasons_of(found, shown)
        reasons = collections.Counter(why for _, _, _, why in differ)
        good = len(found) - len(differ)
        lines.append((str(shown), len(found), good, reasons))
        print(f"{shown}: {good} of {len(found)} agree in {time.monotonic() - began:.1f} s. {told(reasons)}", flush=True)
        for record, outcome, wrong, why in differ:
            details.append({"file": str(shown), "line": record.line, "words": record.words, "sql": record.sql, "expected": record.expected,
                            "outcome": [part if isinstance(part, list) else str(part) for part in outcome], "wrong": wrong, "reason": why})  # fmt: skip
    all_reasons = sum((reasons for _, _, _, reasons in lines), collections.Counter())
    print(f"{sum(good for _, _, good, _ in lines)} of {sum(count for _, count, _, _ in lines)} agree")
    for name, count in all_reasons.most_common():
        print(f"  {count:6} {name}")
    if said.report:
        said.report.write_text(report(lines, all_reasons))
    if said.details:
        said.details.write_text(json.dumps(details, indent=1, ensure_ascii=False))


def told(reasons):
    return ", ".join(f"{name} {count}" for name, count in reasons.most_common())


def report(lines, reasons):
    spark = [line for line in lines if line[0].startswith("spark/")]
    others = [line for line in lines if line not in spark and line[1]]
    if spark:
        whole = [sum(line[1] for line in spark), sum(line[2] for line in spark), sum((line[3] for line in spark), collections.Counter())]
        others.append((f"spark/ ({len(spark)} files)", *whole))
    text = [f"{sum(line[2] for line in lines)} of {sum(line[1] for line in lines)} records agree.", "", "| why the others differ | records |", "|---|---|"]
    text += [f"| {name} | {count} |" for name, count in reasons.most_common()]
    text += ["", "Files that agree wholly: " + ", ".join(f"{line[0]} ({line[1]})" for line in others if line[1] == line[2]) + ".", ""]
    text += ["| file | records | agree | why the others differ |", "|---|---|---|---|"]
    text += [f"| {name} | {count} | {good} | {told(why)} |" for name, count, good, why in others if good < count]
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    main()
