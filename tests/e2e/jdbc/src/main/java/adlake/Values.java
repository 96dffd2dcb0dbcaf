package adlake;

import static adlake.Checks.count;
import static adlake.Checks.equal;
import static adlake.Checks.holds;
import static adlake.Checks.update;

import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.Instant;
import java.util.Arrays;
import java.util.Calendar;
import java.util.List;
import java.util.TimeZone;

/** Values over JDBC: every type read, NULL of every type, and times in zones with and without summer time. */
final class Values {
    record Kind(String sql, int type, Object value) {}

    /** What getObject answers; for text of no Java type of its own, what getString does. */
    static final List<Kind> KINDS = List.of(
        new Kind("true", Types.BOOLEAN, true),
        new Kind("arrow_cast(-8, 'Int8')", Types.TINYINT, (byte) -8),
        new Kind("arrow_cast(-16, 'Int16')", Types.SMALLINT, (short) -16),
        new Kind("CAST(-32 AS INT)", Types.INTEGER, -32),
        new Kind("CAST(-64 AS BIGINT)", Types.BIGINT, -64L),
        new Kind("CAST(1.5 AS FLOAT)", Types.FLOAT, 1.5f),
        new Kind("CAST(2.25 AS DOUBLE)", Types.DOUBLE, 2.25),
        new Kind("CAST('123.45' AS DECIMAL(18, 4))", Types.DECIMAL, new BigDecimal("123.4500")),
        new Kind("CAST('-12345678901234567890123456789012345.678' AS DECIMAL(38, 3))", Types.DECIMAL, new BigDecimal("-12345678901234567890123456789012345.678")),
        new Kind("'naïve 日本'", Types.VARCHAR, "naïve 日本"),
        new Kind("arrow_cast('large', 'LargeUtf8')", Types.LONGVARCHAR, "large"),
        new Kind("arrow_cast('view', 'Utf8View')", Types.VARCHAR, "view"),
        new Kind("arrow_cast('word', 'Dictionary(Int32, Utf8)')", Types.VARCHAR, "word"),
        new Kind("X'0061ff'", Types.VARBINARY, new byte[] {0, 'a', -1}),
        new Kind("DATE '1969-12-31'", Types.DATE, Date.valueOf("1969-12-31")),
        new Kind("TIMESTAMP '2026-02-03 04:05:06.789'", Types.TIMESTAMP, Timestamp.valueOf("2026-02-03 04:05:06.789")));

    static void types(Connection connection) throws Exception {
        for (Kind kind : KINDS) {
            try (Statement statement = connection.createStatement();
                ResultSet row = statement.executeQuery("SELECT v FROM (SELECT 1 AS k, " + kind.sql + " AS v UNION ALL SELECT 2, NULL) ORDER BY k")) {
                ResultSetMetaData meta = row.getMetaData();
                equal("v", meta.getColumnLabel(1), kind.sql);
                holds(meta.getColumnType(1) == kind.type || (kind.type == Types.FLOAT && meta.getColumnType(1) == Types.REAL), kind.sql + " is of type " + meta.getColumnType(1));
                holds(row.next(), kind.sql);
                Object value = row.getObject(1);
                if (kind.value instanceof byte[] bytes) holds(Arrays.equals(bytes, row.getBytes(1)), kind.sql);
                else if (kind.value instanceof Timestamp moment) equal(moment, row.getTimestamp(1), kind.sql);
                else if (kind.value instanceof Date date) equal(date.toString(), row.getDate(1).toString(), kind.sql);
                else if (kind.value instanceof Number number) equal(0, new BigDecimal(number.toString()).compareTo(new BigDecimal(value.toString())), kind.sql + " " + value);
                else equal(kind.value.toString(), value.toString(), kind.sql);
                holds(!row.wasNull() && row.getString(1) != null, kind.sql + " was null");
                holds(row.next(), kind.sql);
                equal(null, row.getObject(1), kind.sql);
                holds(row.wasNull(), kind.sql + " was not null");
                equal(null, row.getString(1), kind.sql);
                holds(!row.next(), kind.sql);
            }
        }
    }

    /** What row_number() and such answer. */
    static void unsigned(Connection connection) throws Exception {
        String sql = "SELECT row_number() OVER (ORDER BY value) AS n FROM generate_series(1, 1)";
        try (Statement statement = connection.createStatement(); ResultSet row = statement.executeQuery(sql)) {
            holds(row.next(), "a row");
            equal(1L, row.getLong("n"), "row_number()");
            equal("1", row.getString("n"), "row_number() as text");
        }
    }

    static void smallUnsigned(Connection connection) throws Exception {
        String sql = "SELECT arrow_cast(200, 'UInt8') AS a, arrow_cast(60000, 'UInt16') AS b, arrow_cast(4000000000, 'UInt32') AS c";
        try (Statement statement = connection.createStatement(); ResultSet row = statement.executeQuery(sql)) {
            holds(row.next(), "a row");
            equal(200, row.getInt("a"), "8 bits");
            equal(60000, row.getInt("b"), "16 bits");
            equal(4000000000L, row.getLong("c"), "32 bits");
        }
    }

    static void nested(Connection connection) throws Exception {
        String sql = "SELECT [1, NULL, 3] AS li, named_struct('a', 1, 'b', 'x') AS st, [named_struct('a', 1), named_struct('a', 2)] AS ls, "
            + "MAP {'k': 1, 'l': 2} AS m, ['x', arrow_cast('y', 'Utf8')] AS lt";
        try (Statement statement = connection.createStatement(); ResultSet row = statement.executeQuery(sql)) {
            holds(row.next(), "a row");
            equal("[1, null, 3]", Arrays.toString((Object[]) row.getArray("li").getArray()), "list");
            equal("[x, y]", Arrays.toString((Object[]) row.getArray("lt").getArray()), "list of text");
            for (String column : List.of("st", "ls", "m")) {
                holds(row.getObject(column) != null && !row.wasNull(), column);
                holds(row.getString(column).contains("1"), column + " " + row.getString(column));
            }
        }
    }

    /** NULLs bound by every way a client has, with a type and without one. */
    static void nulls(Connection connection) throws Exception {
        update(connection, "CREATE TABLE jdbc_nulls (k INT, bo BOOLEAN, i INT, bi BIGINT, d DOUBLE, de DECIMAL(18, 4), s VARCHAR, by BYTEA, da DATE, ts TIMESTAMP WITH TIME ZONE)");
        int[] kinds = {Types.BOOLEAN, Types.INTEGER, Types.BIGINT, Types.DOUBLE, Types.DECIMAL, Types.VARCHAR, Types.VARBINARY, Types.DATE, Types.TIMESTAMP};
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc_nulls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")) {
            insert.setInt(1, 1);
            for (int at = 0; at < kinds.length; at++) insert.setNull(at + 2, kinds[at]);
            equal(1, insert.executeUpdate(), "typed nulls");
            insert.setInt(1, 2);
            for (int at = 0; at < kinds.length; at++) insert.setObject(at + 2, null);
            equal(1, insert.executeUpdate(), "objects that are null");
            insert.setInt(1, 3);
            insert.setString(7, null);
            insert.setBigDecimal(6, null);
            insert.setTimestamp(10, null);
            equal(1, insert.executeUpdate(), "null values");
        }
        String none = "bo IS NULL AND i IS NULL AND bi IS NULL AND d IS NULL AND de IS NULL AND s IS NULL AND by IS NULL AND da IS NULL AND ts IS NULL";
        equal(3L, count(connection, "jdbc_nulls WHERE " + none), "rows of nulls");
        try (PreparedStatement find = connection.prepareStatement("SELECT k FROM jdbc_nulls WHERE s = ? OR k = ?")) {
            find.setNull(1, Types.VARCHAR);
            find.setInt(2, 3);
            equal(List.of("3"), Checks.column(find.executeQuery(), "k"), "a null equals nothing");
        }
        try (Statement statement = connection.createStatement(); ResultSet row = statement.executeQuery("SELECT * FROM jdbc_nulls WHERE k = 1")) {
            holds(row.next(), "a row");
            equal(0L, row.getLong("bi"), "a null long");
            holds(row.wasNull(), "long");
            equal(false, row.getBoolean("bo"), "a null boolean");
            holds(row.wasNull(), "boolean");
            equal(0.0, row.getDouble("d"), "a null double");
            holds(row.wasNull(), "double");
            equal(null, row.getTimestamp("ts"), "a null timestamp");
            equal(null, row.getDate("da"), "a null date");
            equal(null, row.getBytes("by"), "null bytes");
            equal(1, row.getInt("k"), "not null");
            holds(!row.wasNull(), "not null");
        }
        update(connection, "DROP TABLE jdbc_nulls");
    }

    private static final Instant MOMENT = Instant.parse("2026-07-05T23:30:00.123Z");

    interface Check {
        void run(Connection connection, String zone) throws Exception;
    }

    /** Runs a check as clients in several zones do, each with a connection of its own. */
    private static void everywhere(Check check) throws Exception {
        TimeZone before = TimeZone.getDefault();
        try {
            for (String zone : List.of("UTC", "Asia/Seoul", "America/New_York", "Europe/Berlin", "Asia/Kolkata")) {
                TimeZone.setDefault(TimeZone.getTimeZone(zone));
                try (Connection there = DriverManager.getConnection(Checks.url())) {
                    check.run(there, zone);
                }
            }
        } finally {
            TimeZone.setDefault(before);
        }
    }

    /** A moment is the same moment in whatever zone the client is. */
    static void moments(Connection ignored) throws Exception {
        everywhere((connection, zone) -> {
            String sql = "SELECT TIMESTAMPTZ '2026-07-05 23:30:00.123Z' AS at";
            try (Statement statement = connection.createStatement(); ResultSet row = statement.executeQuery(sql)) {
                holds(row.next(), "a row");
                equal(MOMENT, row.getTimestamp("at").toInstant(), "read in " + zone);
            }
        });
    }

    static void momentsBound(Connection connection) throws Exception {
        update(connection, "CREATE TABLE jdbc_moments (zone VARCHAR, at TIMESTAMP WITH TIME ZONE)");
        everywhere((there, zone) -> {
            try (PreparedStatement insert = there.prepareStatement("INSERT INTO jdbc_moments VALUES (?, ?)")) {
                insert.setString(1, zone);
                insert.setTimestamp(2, Timestamp.from(MOMENT));
                equal(1, insert.executeUpdate(), zone);
            }
            // What the same client wrote it finds again, in any case.
            try (PreparedStatement find = there.prepareStatement("SELECT zone, at FROM jdbc_moments WHERE zone = ? AND at = ?")) {
                find.setString(1, zone);
                find.setTimestamp(2, Timestamp.from(MOMENT));
                equal(List.of(zone), Checks.column(find.executeQuery(), "zone"), "found again in " + zone);
            }
        });
        equal(5L, count(connection, "jdbc_moments WHERE at = TIMESTAMPTZ '2026-07-05 23:30:00.123Z'"), "rows of one moment");
        update(connection, "DROP TABLE jdbc_moments");
    }

    /** A date is the same date wherever it is read or written. */
    static void dates(Connection ignored) throws Exception {
        everywhere((connection, zone) -> {
            try (Statement statement = connection.createStatement(); ResultSet row = statement.executeQuery("SELECT DATE '2026-03-29' AS day")) {
                holds(row.next(), "a row");
                equal("2026-03-29", row.getDate("day").toString(), "read in " + zone);
            }
        });
    }

    static void datesBound(Connection connection) throws Exception {
        update(connection, "CREATE TABLE jdbc_dates (zone VARCHAR, day DATE)");
        everywhere((there, zone) -> {
            try (PreparedStatement insert = there.prepareStatement("INSERT INTO jdbc_dates VALUES (?, ?)")) {
                insert.setString(1, zone);
                insert.setDate(2, Date.valueOf("2026-03-29"));
                equal(1, insert.executeUpdate(), zone);
            }
        });
        equal(5L, count(connection, "jdbc_dates WHERE day = DATE '2026-03-29'"), "rows of one date");
        update(connection, "DROP TABLE jdbc_dates");
    }

    /** A time without a zone reads as it is written. */
    static void local(Connection ignored) throws Exception {
        TimeZone before = TimeZone.getDefault();
        TimeZone.setDefault(TimeZone.getTimeZone("Asia/Seoul"));
        try (Connection there = DriverManager.getConnection(Checks.url());
            Statement statement = there.createStatement(); ResultSet row = statement.executeQuery("SELECT TIMESTAMP '2026-07-05 23:30:00.123' AS local")) {
            holds(row.next(), "a row");
            equal("2026-07-05 23:30:00.123", row.getTimestamp("local").toString(), "in Seoul");
        } finally {
            TimeZone.setDefault(before);
        }
    }

    /** A calendar says which zone a time without one is meant in; a moment needs no telling. */
    static void calendars(Connection ignored) throws Exception {
        TimeZone before = TimeZone.getDefault();
        Calendar utc = Calendar.getInstance(TimeZone.getTimeZone("UTC"));
        TimeZone.setDefault(TimeZone.getTimeZone("Asia/Seoul"));
        String sql = "SELECT TIMESTAMPTZ '2026-07-05 23:30:00.123Z' AS at, TIMESTAMP '2026-07-05 23:30:00.123' AS local";
        try (Connection there = DriverManager.getConnection(Checks.url());
            Statement statement = there.createStatement(); ResultSet row = statement.executeQuery(sql)) {
            holds(row.next(), "a row");
            equal(MOMENT, row.getTimestamp("local", utc).toInstant(), "a time without a zone");
            equal(MOMENT, row.getTimestamp("at", utc).toInstant(), "a moment");
        } finally {
            TimeZone.setDefault(before);
        }
    }

    /** Text of every length comes back as it went. */
    static void lengths(Connection connection) throws Exception {
        try (PreparedStatement echo = connection.prepareStatement("SELECT concat(?, '') AS s")) {
            for (int length : new int[] {0, 1, 13, 1_000, 200_000}) {
                String text = "ä".repeat(length);
                echo.setString(1, text);
                try (ResultSet row = echo.executeQuery()) {
                    holds(row.next(), "a row");
                    equal(text, row.getString("s"), "text of " + length);
                }
            }
        }
    }
}
