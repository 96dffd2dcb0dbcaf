package adlake;

import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;

/**
 * What a BI tool does over JDBC. Arguments: URL, rows of the table million, and names of checks when not all are to run.
 * Prints one line per check; the exit code is the number of failed ones.
 */
public final class Checks {
    interface Check {
        void run(Connection connection) throws Exception;
    }

    private static String url;
    private static long rows;

    public static void main(String[] arguments) throws Exception {
        url = arguments[0];
        rows = Long.parseLong(arguments[1]);
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("catalogs_schemas_tables_columns", Checks::metadata);
        checks.put("every_property_of_the_database", Checks::properties);
        checks.put("keys_are_empty_sets", Checks::keys);
        checks.put("ddl_and_row_counts", Checks::ddl);
        checks.put("parameters_of_every_type", Checks::parameters);
        checks.put("parameters_in_where_and_limit", Checks::where);
        checks.put("execute_batch", Checks::batch);
        checks.put("types_survive", Checks::types);
        checks.put("a_million_rows", Checks::million);
        checks.put("errors_carry_codes", Checks::errors);
        checks.put("cancel_from_another_thread", Checks::cancel);
        checks.put("user_password_and_catalog", Checks::login);
        checks.put("prepared_again_and_again", Checks::reuse);
        checks.put("every_type_and_its_null", Values::types);
        checks.put("unsigned_numbers", Values::unsigned);
        checks.put("small_unsigned_numbers", Values::smallUnsigned);
        checks.put("nested_values", Values::nested);
        checks.put("nulls_bound_in_every_way", Values::nulls);
        checks.put("moments_read_elsewhere", Values::moments);
        checks.put("moments_bound_elsewhere", Values::momentsBound);
        checks.put("dates_read_elsewhere", Values::dates);
        checks.put("dates_bound_elsewhere", Values::datesBound);
        checks.put("times_without_a_zone", Values::local);
        checks.put("times_by_calendar", Values::calendars);
        checks.put("long_text", Values::lengths);
        checks.put("every_listing_answers", Flow::listings);
        checks.put("columns_in_detail", Flow::columns);
        checks.put("results_and_parameters_described", Flow::described);
        checks.put("precision_of_results", Flow::precision);
        checks.put("parameters_inferred", Flow::inferredWidely);
        checks.put("parameters_inferred_by_cast", Flow::inferredByCast);
        checks.put("parameters_inferred_in_insert_select", Flow::inferredInInsertSelect);
        checks.put("parameters_inferred_beside_an_interval", Flow::inferredBesideAnInterval);
        checks.put("parameters_inferred_from_values", Flow::inferredFromValues);
        checks.put("fetch_size_and_max_rows", Flow::fetchSizes);
        checks.put("batches", Flow::batches);
        checks.put("batch_of_statements", Flow::batchOfStatements);
        checks.put("cancel_prepared_and_close_early", Flow::cancelling);
        checks.put("several_statements_and_threads", Flow::several);
        checks.put("transactions_are_not_faked", Flow::transactions);
        if (arguments.length > 2) checks.keySet().retainAll(Arrays.asList(arguments).subList(2, arguments.length));
        int failed = 0;
        for (Map.Entry<String, Check> check : checks.entrySet()) {
            try (Connection connection = DriverManager.getConnection(url)) {
                check.getValue().run(connection);
                System.out.println("ok " + check.getKey());
            } catch (Throwable failure) {
                failed++;
                System.out.println("FAILED " + check.getKey() + ": " + failure);
                failure.printStackTrace(System.out);
            }
        }
        System.exit(failed);
    }

    static String url() {
        return url;
    }

    static void equal(Object expected, Object actual, String what) {
        if (expected == null ? actual != null : !expected.equals(actual)) {
            throw new AssertionError(what + ": expected " + expected + ", got " + actual);
        }
    }

    static void holds(boolean condition, String what) {
        if (!condition) throw new AssertionError(what);
    }

    static List<String> column(ResultSet results, String name) throws SQLException {
        List<String> values = new ArrayList<>();
        try (results) {
            while (results.next()) values.add(results.getString(name));
        }
        return values;
    }

    static Object single(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet results = statement.executeQuery(sql)) {
            holds(results.next(), "no row: " + sql);
            Object value = results.getObject(1);
            holds(!results.next(), "more than one row: " + sql);
            return value;
        }
    }

    static long count(Connection connection, String table) throws SQLException {
        return ((Number) single(connection, "SELECT count(*) FROM " + table)).longValue();
    }

    static int update(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            return statement.executeUpdate(sql);
        }
    }

    static void metadata(Connection connection) throws Exception {
        update(connection, "CREATE TABLE jdbc_meta (id BIGINT NOT NULL, name VARCHAR, price DECIMAL(12, 2), at TIMESTAMP WITH TIME ZONE)");
        update(connection, "CREATE VIEW jdbc_meta_view AS SELECT id, name FROM jdbc_meta");
        DatabaseMetaData meta = connection.getMetaData();
        equal("adlake", meta.getDatabaseProductName(), "product");
        equal(List.of("adlake"), column(meta.getCatalogs(), "TABLE_CAT"), "catalogs");
        List<String> schemas = column(meta.getSchemas(), "TABLE_SCHEM");
        holds(schemas.containsAll(List.of("public", "system", "information_schema")), "schemas " + schemas);
        List<String> kinds = column(meta.getTableTypes(), "TABLE_TYPE");
        holds(kinds.containsAll(List.of("TABLE", "VIEW", "MATERIALIZED VIEW", "SYSTEM TABLE")), "table types " + kinds);
        equal(List.of("jdbc_meta"), column(meta.getTables(null, null, "jdbc\\_meta", null), "TABLE_NAME"), "tables by pattern");
        equal(List.of("jdbc_meta_view"), column(meta.getTables("adlake", "public", "jdbc%", new String[] {"VIEW"}), "TABLE_NAME"), "views");
        equal(List.of(), column(meta.getTables("nowhere", null, "%", null), "TABLE_NAME"), "tables of another catalog");
        holds(column(meta.getTables(null, null, null, null), "TABLE_NAME").containsAll(List.of("jdbc_meta", "queries")), "all tables");
        List<String> columns = new ArrayList<>();
        try (ResultSet results = meta.getColumns(null, "public", "jdbc_meta", "%")) {
            while (results.next()) {
                columns.add(results.getString("COLUMN_NAME") + " " + results.getString("TYPE_NAME") + " "
                    + results.getInt("DATA_TYPE") + " " + results.getString("IS_NULLABLE"));
            }
        }
        equal(4, columns.size(), "columns " + columns);
        holds(columns.get(0).startsWith("id BIGINT " + Types.BIGINT + " NO"), columns.get(0));
        holds(columns.get(2).contains(" " + Types.DECIMAL + " "), columns.get(2));
        holds(columns.get(3).contains(" " + Types.TIMESTAMP + " ") || columns.get(3).contains(" " + Types.TIMESTAMP_WITH_TIMEZONE + " "), columns.get(3));
        equal(2, column(meta.getColumns(null, null, "jdbc_meta_view", null), "COLUMN_NAME").size(), "columns of a view");
        holds(column(meta.getColumns(null, "system", "queries", null), "COLUMN_NAME").size() > 3, "columns of system.queries");
        update(connection, "DROP VIEW jdbc_meta_view");
        update(connection, "DROP TABLE jdbc_meta");
        holds(!column(meta.getTables(null, null, null, null), "TABLE_NAME").contains("jdbc_meta"), "a dropped table is listed");
    }

    /** Every argument-less getter: a missing or mistyped SqlInfo makes the driver throw. */
    static void properties(Connection connection) throws Exception {
        DatabaseMetaData meta = connection.getMetaData();
        TreeSet<String> broken = new TreeSet<>();
        int asked = 0;
        for (java.lang.reflect.Method method : DatabaseMetaData.class.getMethods()) {
            if (method.getParameterCount() > 0 || method.getDeclaringClass() != DatabaseMetaData.class) continue;
            if (List.of("generatedKeyAlwaysReturned", "supportsRefCursors").contains(method.getName())) continue;
            try {
                Object value = method.invoke(meta);
                asked++;
                if (value instanceof ResultSet results) {
                    results.close();
                } else if (value == null && method.getReturnType() == String.class && !method.getName().equals("getUserName")) {
                    broken.add(method.getName() + " is null");
                }
            } catch (java.lang.reflect.InvocationTargetException failure) {
                broken.add(method.getName() + ": " + failure.getCause());
            }
        }
        holds(asked > 100, "only " + asked + " getters");
        holds(broken.isEmpty(), broken.toString());
        equal("\"", meta.getIdentifierQuoteString(), "quote");
        holds(!meta.isReadOnly(), "read-only");
        holds(!meta.supportsTransactions(), "transactions");
        holds(meta.supportsBatchUpdates(), "batch updates");
        // storesLowerCaseIdentifiers(), nullsAreSortedHigh() and getTypeInfo() are not asked of the server: Avatica answers them by itself.
        holds(meta.getStringFunctions().contains("lower"), "string functions");
    }

    static void keys(Connection connection) throws Exception {
        DatabaseMetaData meta = connection.getMetaData();
        equal(List.of(), column(meta.getPrimaryKeys(null, null, "x"), "COLUMN_NAME"), "primary keys");
        equal(List.of(), column(meta.getImportedKeys(null, null, "x"), "FKCOLUMN_NAME"), "imported keys");
        equal(List.of(), column(meta.getExportedKeys(null, null, "x"), "FKCOLUMN_NAME"), "exported keys");
        equal(List.of(), column(meta.getCrossReference(null, null, "x", null, null, "y"), "FKCOLUMN_NAME"), "cross reference");
    }

    static void ddl(Connection connection) throws Exception {
        equal(0, update(connection, "CREATE TABLE jdbc_ddl (a BIGINT, b VARCHAR)"), "rows of CREATE");
        equal(3, update(connection, "INSERT INTO jdbc_ddl VALUES (1, 'x'), (2, 'y'), (3, NULL)"), "rows of INSERT");
        equal(2, update(connection, "INSERT INTO jdbc_ddl SELECT a + 10, b FROM jdbc_ddl WHERE b IS NOT NULL"), "rows of INSERT SELECT");
        equal(5L, count(connection, "jdbc_ddl"), "rows");
        try (Statement statement = connection.createStatement()) {
            holds(!statement.execute("INSERT INTO jdbc_ddl VALUES (99, 'once')"), "execute of INSERT gave a result set");
            equal(1, statement.getUpdateCount(), "update count of execute");
            holds(statement.execute("SELECT 1"), "execute of SELECT gave no result set");
        }
        equal(1L, count(connection, "jdbc_ddl WHERE a = 99"), "an execute took effect this often");
        equal(0, update(connection, "ALTER TABLE jdbc_ddl ADD COLUMN c DOUBLE"), "rows of ALTER");
        equal(6L, count(connection, "jdbc_ddl WHERE c IS NULL"), "rows with the new column");
        equal(0, update(connection, "DROP TABLE jdbc_ddl"), "rows of DROP");
        try {
            count(connection, "jdbc_ddl");
            throw new AssertionError("a dropped table answered");
        } catch (SQLException expected) {
            holds(expected.getMessage().contains("jdbc_ddl"), expected.getMessage());
        }
    }

    static void parameters(Connection connection) throws Exception {
        update(connection, "CREATE TABLE jdbc_types (k INT, bo BOOLEAN, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, de DECIMAL(18, 4), "
            + "s VARCHAR, by BYTEA, da DATE, ts TIMESTAMP WITH TIME ZONE)");
        Timestamp moment = Timestamp.valueOf("2026-11-05 12:34:56.123");
        byte[] bytes = "raw".getBytes(StandardCharsets.UTF_8);
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc_types VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")) {
            equal(12, insert.getParameterMetaData().getParameterCount(), "parameters");
            insert.setInt(1, 1);
            insert.setBoolean(2, true);
            insert.setShort(3, (short) 7);
            insert.setInt(4, 42);
            insert.setLong(5, 1L << 40);
            insert.setFloat(6, 1.5f);
            insert.setDouble(7, 2.25);
            insert.setBigDecimal(8, new BigDecimal("123.4500"));
            insert.setString(9, "naïve 日本");
            insert.setBytes(10, bytes);
            insert.setDate(11, Date.valueOf("2026-11-05"));
            insert.setTimestamp(12, moment);
            equal(1, insert.executeUpdate(), "inserted");
            insert.setInt(1, 2);
            for (int index = 2; index <= 12; index++) insert.setNull(index, Types.NULL);
            equal(1, insert.executeUpdate(), "inserted nulls");
        }
        String[] columns = {"bo", "si", "i", "bi", "f", "d", "de", "s", "by", "da"};
        try (Statement statement = connection.createStatement(); ResultSet row = statement.executeQuery("SELECT * FROM jdbc_types ORDER BY k")) {
            holds(row.next(), "first row");
            equal(true, row.getBoolean("bo"), "boolean");
            equal((short) 7, row.getShort("si"), "smallint");
            equal(42, row.getInt("i"), "int");
            equal(1L << 40, row.getLong("bi"), "bigint");
            equal(1.5f, row.getFloat("f"), "float");
            equal(2.25, row.getDouble("d"), "double");
            equal(new BigDecimal("123.4500"), row.getBigDecimal("de"), "decimal");
            equal("naïve 日本", row.getString("s"), "text");
            holds(Arrays.equals(bytes, row.getBytes("by")), "bytes");
            equal("2026-11-05", row.getDate("da").toString(), "date");
            equal(moment.getTime(), row.getTimestamp("ts").getTime(), "timestamp");
            holds(row.next(), "second row");
            for (String column : columns) {
                row.getObject(column);
                holds(row.wasNull(), column + " is not null");
            }
        }
        found(connection, "bo = ?", statement -> statement.setBoolean(1, true));
        found(connection, "si = ?", statement -> statement.setShort(1, (short) 7));
        found(connection, "i = ?", statement -> statement.setInt(1, 42));
        found(connection, "bi = ?", statement -> statement.setLong(1, 1L << 40));
        found(connection, "f = ?", statement -> statement.setFloat(1, 1.5f));
        found(connection, "d = ?", statement -> statement.setDouble(1, 2.25));
        found(connection, "de = ?", statement -> statement.setBigDecimal(1, new BigDecimal("123.4500")));
        found(connection, "s = ?", statement -> statement.setString(1, "naïve 日本"));
        found(connection, "by = ?", statement -> statement.setBytes(1, bytes));
        found(connection, "da = ?", statement -> statement.setDate(1, Date.valueOf("2026-11-05")));
        found(connection, "ts = ?", statement -> statement.setTimestamp(1, moment));
        update(connection, "DROP TABLE jdbc_types");
    }

    interface Bind {
        void to(PreparedStatement statement) throws SQLException;
    }

    static void found(Connection connection, String condition, Bind bind) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("SELECT k FROM jdbc_types WHERE " + condition)) {
            bind.to(statement);
            try (ResultSet results = statement.executeQuery()) {
                holds(results.next(), "nothing found by " + condition);
                equal(1, results.getInt(1), "row found by " + condition);
                holds(!results.next(), "more than one row by " + condition);
            }
        } catch (SQLException failure) {
            throw new SQLException(condition + ": " + failure.getMessage(), failure);
        }
    }

    static void where(Connection connection) throws Exception {
        update(connection, "CREATE TABLE jdbc_where (n BIGINT, s VARCHAR)");
        update(connection, "INSERT INTO jdbc_where VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')");
        try (PreparedStatement statement = connection.prepareStatement("SELECT n FROM jdbc_where WHERE n > ? AND s IN (?, ?) ORDER BY n LIMIT ?")) {
            for (long low = 0; low < 4; low++) {
                statement.setLong(1, low);
                statement.setString(2, "b");
                statement.setString(3, "d");
                statement.setLong(4, 1);
                List<String> found = column(statement.executeQuery(), "n");
                equal(low < 2 ? List.of("2") : List.of("4"), found, "above " + low);
            }
        }
        update(connection, "DROP TABLE jdbc_where");
    }

    static void batch(Connection connection) throws Exception {
        update(connection, "CREATE TABLE jdbc_batch (n BIGINT, s VARCHAR)");
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc_batch (n, s) VALUES (?, ?)")) {
            for (int n = 0; n < 1000; n++) {
                insert.setLong(1, n);
                insert.setString(2, "row " + n);
                insert.addBatch();
            }
            long total = Arrays.stream(insert.executeBatch()).sum();
            holds(total == 1000 || total == 0 || total < 0, "batch counts add up to " + total);
        }
        equal(1000L, count(connection, "jdbc_batch"), "rows of the batch");
        equal(499500L, ((Number) single(connection, "SELECT sum(n) FROM jdbc_batch")).longValue(), "sum");
        update(connection, "DROP TABLE jdbc_batch");
    }

    static void types(Connection connection) throws Exception {
        String sql = "SELECT CAST('2026-02-03' AS DATE) AS d, CAST('2026-02-03 04:05:06.789' AS TIMESTAMP) AS t, "
            + "CAST(1.25 AS DECIMAL(10, 3)) AS de, [1, 2, 3] AS li, named_struct('a', 1, 'b', 'x') AS st, NULL AS n, "
            + "arrow_cast('v', 'Utf8View') AS v, arrow_cast('w', 'Dictionary(Int32, Utf8)') AS w, INTERVAL '1 day' AS iv, true AS b";
        try (Statement statement = connection.createStatement(); ResultSet row = statement.executeQuery(sql)) {
            ResultSetMetaData meta = row.getMetaData();
            equal(10, meta.getColumnCount(), "columns");
            equal("d", meta.getColumnLabel(1), "label");
            holds(row.next(), "a row");
            equal("2026-02-03", row.getDate("d").toString(), "date");
            equal("2026-02-03 04:05:06.789", row.getTimestamp("t").toString(), "timestamp");
            equal(new BigDecimal("1.250"), row.getBigDecimal("de"), "decimal");
            equal("[1, 2, 3]", Arrays.toString((Object[]) row.getArray("li").getArray()), "list");
            holds(row.getObject("st").toString().contains("x"), "struct " + row.getObject("st"));
            equal(null, row.getObject("n"), "null");
            equal("v", row.getString("v"), "view");
            equal("w", row.getString("w"), "dictionary");
            holds(row.getString("iv") != null, "interval");
            equal(true, row.getBoolean("b"), "boolean");
        }
    }

    static void million(Connection connection) throws Exception {
        long sum = 0, read = 0, letters = 0;
        try (Statement statement = connection.createStatement(); ResultSet results = statement.executeQuery("SELECT n, s FROM million")) {
            while (results.next()) {
                sum += results.getLong(1);
                letters += results.getString(2).length();
                read++;
            }
        }
        equal(rows, read, "rows");
        equal(rows * (rows - 1) / 2, sum, "checksum");
        holds(letters > rows, "text");
    }

    static void errors(Connection connection) throws Exception {
        refused(connection, "SELEC 1", "line 1");
        refused(connection, "SELECT * FROM millon", "million");
        refused(connection, "SELECT nn FROM million", "nn");
        refused(connection, "SELECT 1 / 0", "zero");
        equal(1L, ((Number) single(connection, "SELECT 1")).longValue(), "the connection lives on");
    }

    static void refused(Connection connection, String sql, String word) throws SQLException {
        try {
            single(connection, sql);
        } catch (SQLException expected) {
            holds(expected.getMessage().toLowerCase().contains(word), sql + " → " + expected.getMessage());
            return;
        }
        throw new AssertionError("accepted: " + sql);
    }

    static void cancel(Connection ignored) throws Exception {
        Connection connection = DriverManager.getConnection(url);
        cancelled(connection);
        try {
            connection.close();
        } catch (SQLException closing) {
            // When a batch arrives at the moment of the cancel, driver 18.3 loses it: nobody closes it, and the connection's
            // allocator complains of that batch when the connection is closed. The query itself has ended, as checked above.
            holds(causes(closing).contains("Memory was leaked by query"), "closing after a cancel: " + causes(closing));
        }
    }

    /** The messages of an exception and of all its causes. */
    static String causes(Throwable failure) {
        StringBuilder told = new StringBuilder();
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) told.append(cause).append('\n');
        return told.toString();
    }

    static void cancelled(Connection connection) throws Exception {
        AtomicReference<Throwable> outcome = new AtomicReference<>();
        CountDownLatch begun = new CountDownLatch(1);
        Statement statement = connection.createStatement();
        try {
            Thread reader = new Thread(() -> {
                try (ResultSet results = statement.executeQuery("SELECT a.n, b.n FROM million a CROSS JOIN million b")) {
                    while (results.next()) begun.countDown();
                    outcome.set(new AssertionError("a trillion rows were read"));
                } catch (Throwable failure) {
                    outcome.set(failure);
                }
            });
            reader.start();
            holds(begun.await(60, TimeUnit.SECONDS), "no row in 60 s");
            holds(outcome.get() == null, "ended by itself: " + outcome.get());
            statement.cancel();
            reader.join(60_000);
            holds(!reader.isAlive(), "still running 60 s after cancel");
            // When the cancel meets the reader inside next(), driver 18.3 lets Flight's own unchecked exception through, or that
            // of a batch closed twice.
            String told = String.valueOf(outcome.get());
            boolean unwrapped = told.contains("CANCELLED") || told.contains("RefCnt has gone negative");
            holds(outcome.get() instanceof SQLException || unwrapped, "outcome " + told);
        } finally {
            try {
                statement.close();
            } catch (SQLException closing) {
                holds(causes(closing).contains("RefCnt has gone negative"), "closing: " + causes(closing));
            }
        }
        Flow.until(connection, "million a CROSS JOIN million b", 0);
        equal(1L, ((Number) single(connection, "SELECT 1")).longValue(), "the connection lives on");
    }

    static void login(Connection ignored) throws Exception {
        Properties properties = new Properties();
        properties.put("user", "ann");
        properties.put("password", "secret");
        try (Connection connection = DriverManager.getConnection(url, properties)) {
            equal(1L, ((Number) single(connection, "SELECT 1")).longValue(), "with user and password");
        }
        properties.put("catalog", "adlake");
        Connection withCatalog = DriverManager.getConnection(url, properties);
        equal(1L, ((Number) single(withCatalog, "SELECT 1")).longValue(), "with a catalog");
        try {
            withCatalog.close();
        } catch (SQLException closing) {
            // Driver 18.3 closes its channel and then wants to send CloseSession over it.
            equal("Channel shutdown invoked", closing.getMessage(), "closing with a catalog");
        }
        properties.put("catalog", "nowhere");
        try (Connection connection = DriverManager.getConnection(url, properties)) {
            throw new AssertionError("a catalog that does not exist was accepted");
        } catch (SQLException expected) {
            holds(expected.getMessage() != null, "no message");
        }
    }

    static void reuse(Connection connection) throws Exception {
        try (PreparedStatement statement = connection.prepareStatement("SELECT n FROM million WHERE n = ?")) {
            for (long n = 0; n < 200; n++) {
                statement.setLong(1, n);
                equal(List.of(Long.toString(n)), column(statement.executeQuery(), "n"), "prepared");
            }
        }
    }
}
