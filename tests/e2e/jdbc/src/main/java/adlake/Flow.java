package adlake;

import static adlake.Checks.causes;
import static adlake.Checks.column;
import static adlake.Checks.count;
import static adlake.Checks.equal;
import static adlake.Checks.holds;
import static adlake.Checks.single;
import static adlake.Checks.update;

import java.lang.reflect.Method;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.ParameterMetaData;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.SQLFeatureNotSupportedException;
import java.sql.Statement;
import java.sql.Types;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;

/** Statements over JDBC: metadata of every kind, fetch sizes and limits, batches, cancelling, several statements at once. */
final class Flow {
    /** Every listing of DatabaseMetaData answers: with rows, without any, or that the driver has no such thing. */
    static void listings(Connection connection) throws Exception {
        DatabaseMetaData meta = connection.getMetaData();
        TreeSet<String> broken = new TreeSet<>();
        int answered = 0;
        for (Method method : DatabaseMetaData.class.getMethods()) {
            if (method.getReturnType() != ResultSet.class) continue;
            Object[] arguments = new Object[method.getParameterCount()];
            for (int at = 0; at < arguments.length; at++) {
                Class<?> kind = method.getParameterTypes()[at];
                // Keys are those of a table, whose name must be given.
                boolean keys = method.getName().endsWith("Keys") || method.getName().equals("getCrossReference");
                arguments[at] = kind == boolean.class ? (Object) false : kind == int.class ? (Object) 0 : keys ? "jdbc_nowhere" : null;
            }
            try (ResultSet results = (ResultSet) method.invoke(meta, arguments)) {
                while (results.next()) results.getString(1);
                answered++;
            } catch (java.lang.reflect.InvocationTargetException failure) {
                if (!(failure.getCause() instanceof SQLFeatureNotSupportedException)) broken.add(method.getName() + ": " + failure.getCause());
            } catch (NullPointerException unsupported) {
                broken.add(method.getName() + " is null");
            }
        }
        holds(broken.isEmpty(), broken.toString());
        holds(answered > 20, "only " + answered + " listings");
    }

    static void columns(Connection connection) throws Exception {
        update(connection, "CREATE TABLE jdbc_columns (id BIGINT NOT NULL, name VARCHAR, price DECIMAL(12, 2), at TIMESTAMP WITH TIME ZONE, day DATE, ok BOOLEAN, raw BYTEA, ratio DOUBLE, tags VARCHAR)");
        Map<String, String> told = new LinkedHashMap<>();
        try (ResultSet row = connection.getMetaData().getColumns("adlake", "public", "jdbc\\_columns", "%")) {
            while (row.next()) {
                equal("jdbc_columns", row.getString("TABLE_NAME"), "table");
                equal("public", row.getString("TABLE_SCHEM"), "schema");
                equal("adlake", row.getString("TABLE_CAT"), "catalog");
                equal(told.size() + 1, row.getInt("ORDINAL_POSITION"), "position");
                told.put(row.getString("COLUMN_NAME"), row.getInt("DATA_TYPE") + " " + row.getInt("NULLABLE") + " " + row.getInt("COLUMN_SIZE") + " " + row.getInt("DECIMAL_DIGITS"));
            }
        }
        equal(9, told.size(), told.toString());
        holds(told.get("id").startsWith(Types.BIGINT + " " + DatabaseMetaData.columnNoNulls + " "), told.toString());
        equal(Types.DECIMAL + " " + DatabaseMetaData.columnNullable + " 12 2", told.get("price"), "decimal");
        holds(told.get("name").startsWith(Types.VARCHAR + " " + DatabaseMetaData.columnNullable + " "), told.toString());
        equal(List.of("id"), column(connection.getMetaData().getColumns(null, "public", "jdbc_columns", "i_"), "COLUMN_NAME"), "columns by pattern");
        equal(List.of("public"), column(connection.getMetaData().getSchemas("adlake", "pub%"), "TABLE_SCHEM"), "schemas by pattern");
        equal(List.of(), column(connection.getMetaData().getSchemas("nowhere", null), "TABLE_SCHEM"), "schemas of another catalog");
        update(connection, "DROP TABLE jdbc_columns");
    }

    static void described(Connection connection) throws Exception {
        update(connection, "CREATE TABLE jdbc_described (id BIGINT NOT NULL, price DECIMAL(12, 2), name VARCHAR)");
        try (PreparedStatement statement = connection.prepareStatement("SELECT id, price AS cost, upper(name) AS n FROM jdbc_described WHERE id > ? AND price < ? AND name = ?")) {
            ResultSetMetaData columns = statement.getMetaData();
            equal(3, columns.getColumnCount(), "columns before it ran");
            equal("[id, cost, n]", Arrays.toString(new String[] {columns.getColumnLabel(1), columns.getColumnLabel(2), columns.getColumnLabel(3)}), "labels");
            equal(Types.BIGINT, columns.getColumnType(1), "type of id");
            ParameterMetaData parameters = statement.getParameterMetaData();
            equal(3, parameters.getParameterCount(), "parameters");
            equal(Types.BIGINT, parameters.getParameterType(1), "first parameter");
            equal(Types.DECIMAL, parameters.getParameterType(2), "second parameter");
            equal(Types.VARCHAR, parameters.getParameterType(3), "third parameter");
        }
        update(connection, "DROP TABLE jdbc_described");
    }

    /** Spark and others take the precision of a decimal from here. */
    static void precision(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement(); ResultSet row = statement.executeQuery("SELECT CAST(1.25 AS DECIMAL(12, 2)) AS cost")) {
            equal("12 2", row.getMetaData().getPrecision(1) + " " + row.getMetaData().getScale(1), "precision and scale");
        }
    }

    private static void inferred(Connection connection, String sql, int... kinds) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            ParameterMetaData parameters = statement.getParameterMetaData();
            equal(kinds.length, parameters.getParameterCount(), sql);
            for (int at = 0; at < kinds.length; at++) {
                int kind = parameters.getParameterType(at + 1);
                equal(kinds[at], kind == Types.TIMESTAMP_WITH_TIMEZONE ? Types.TIMESTAMP : kind, "parameter " + (at + 1) + " of " + sql);
            }
        }
    }

    static void inferredWidely(Connection connection) throws Exception {
        update(connection, "CREATE TABLE jdbc_inferred (n BIGINT, de DECIMAL(12, 2), s VARCHAR, at TIMESTAMP WITH TIME ZONE)");
        inferred(connection, "SELECT n + ? FROM jdbc_inferred WHERE n BETWEEN ? AND ? OR n IN (?) LIMIT ?", Types.BIGINT, Types.BIGINT, Types.BIGINT, Types.BIGINT, Types.BIGINT);
        inferred(connection, "SELECT coalesce(s, ?) FROM jdbc_inferred WHERE s LIKE ? AND upper(s) = ?", Types.VARCHAR, Types.VARCHAR, Types.VARCHAR);
        inferred(connection, "SELECT CASE WHEN n > ? THEN ? ELSE s END FROM jdbc_inferred WHERE at >= ?", Types.BIGINT, Types.VARCHAR, Types.TIMESTAMP);
        inferred(connection, "DELETE FROM jdbc_inferred WHERE n = ? AND de < ?", Types.BIGINT, Types.DECIMAL);
        inferred(connection, "INSERT INTO jdbc_inferred (s, n) VALUES (?, ?), (?, ?)", Types.VARCHAR, Types.BIGINT, Types.VARCHAR, Types.BIGINT);
        inferred(connection, "SELECT s FROM jdbc_inferred WHERE n > (SELECT max(n) FROM jdbc_inferred WHERE s = ?) UNION ALL SELECT s FROM jdbc_inferred WHERE n = ?", Types.VARCHAR, Types.BIGINT);
    }

    static void inferredByCast(Connection connection) throws Exception {
        inferred(connection, "SELECT CAST(? AS BIGINT), CAST(? AS BYTEA), CAST(? AS DATE)", Types.BIGINT, Types.VARBINARY, Types.DATE);
    }

    static void inferredInInsertSelect(Connection connection) throws Exception {
        update(connection, "CREATE TABLE IF NOT EXISTS jdbc_inferred_select (n BIGINT, s VARCHAR)");
        inferred(connection, "INSERT INTO jdbc_inferred_select SELECT ?, ?", Types.BIGINT, Types.VARCHAR);
    }

    static void inferredBesideAnInterval(Connection connection) throws Exception {
        update(connection, "CREATE TABLE IF NOT EXISTS jdbc_inferred_times (at TIMESTAMP WITH TIME ZONE)");
        inferred(connection, "SELECT * FROM jdbc_inferred_times WHERE at >= ? - INTERVAL '1 day'", Types.TIMESTAMP);
    }

    /** Parameters whose type nothing tells take the type of what is bound. */
    static void inferredFromValues(Connection connection) throws Exception {
        try (PreparedStatement statement = connection.prepareStatement("SELECT ? AS a, ? AS b")) {
            statement.setString(1, "x");
            statement.setString(2, "y");
            equal(List.of("x"), column(statement.executeQuery(), "a"), "a parameter selected");
        }
    }

    static void fetchSizes(Connection connection) throws Exception {
        for (int size : new int[] {0, 1, 100, 1_000_000}) {
            try (Statement statement = connection.createStatement()) {
                statement.setFetchSize(size);
                long sum = 0;
                try (ResultSet results = statement.executeQuery("SELECT value FROM generate_series(1, 20000)")) {
                    while (results.next()) sum += results.getLong(1);
                }
                equal(20_000L * 20_001 / 2, sum, "fetch size " + size);
            }
        }
        try (Statement statement = connection.createStatement()) {
            statement.setMaxRows(7);
            try (ResultSet results = statement.executeQuery("SELECT value FROM generate_series(1, 20000)")) {
                int rows = 0;
                while (results.next()) rows++;
                equal(7, rows, "rows under setMaxRows");
            }
        }
    }

    /** A batch of prepared rows is all or nothing. */
    static void batches(Connection connection) throws Exception {
        update(connection, "CREATE TABLE jdbc_batches (n BIGINT NOT NULL, s VARCHAR)");
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc_batches VALUES (?, ?)")) {
            for (int round = 0; round < 3; round++) {
                for (int n = 0; n < 100; n++) {
                    insert.setLong(1, round * 100 + n);
                    if (n % 2 == 0) insert.setString(2, "row " + n);
                    else insert.setNull(2, Types.VARCHAR);
                    insert.addBatch();
                }
                insert.executeBatch();
            }
            equal(300L, count(connection, "jdbc_batches"), "rows");
            equal(150L, count(connection, "jdbc_batches WHERE s IS NULL"), "nulls");
            equal(44850L, ((Number) single(connection, "SELECT sum(n) FROM jdbc_batches")).longValue(), "sum");
            insert.setLong(1, 1000);
            insert.setString(2, "good");
            insert.addBatch();
            insert.setNull(1, Types.BIGINT);
            insert.setString(2, "bad");
            insert.addBatch();
            try {
                insert.executeBatch();
                throw new AssertionError("a NULL went into a NOT NULL column");
            } catch (SQLException expected) {
                equal(0L, count(connection, "jdbc_batches WHERE n = 1000"), "rows of a batch that failed");
            }
        }
        try (PreparedStatement delete = connection.prepareStatement("DELETE FROM jdbc_batches WHERE n = ?")) {
            for (int n = 0; n < 5; n++) {
                delete.setLong(1, n);
                delete.addBatch();
            }
            delete.executeBatch();
            equal(295L, count(connection, "jdbc_batches"), "rows after a batch of DELETE");
        }
        update(connection, "DROP TABLE jdbc_batches");
    }

    static void batchOfStatements(Connection connection) throws Exception {
        update(connection, "CREATE TABLE jdbc_batches_of_statements (n BIGINT NOT NULL, s VARCHAR)");
        try (Statement statement = connection.createStatement()) {
            statement.addBatch("INSERT INTO jdbc_batches_of_statements VALUES (2001, 'a')");
            statement.addBatch("INSERT INTO jdbc_batches_of_statements VALUES (2002, 'b'), (2003, 'c')");
            equal("[1, 2]", Arrays.toString(statement.executeBatch()), "counts of a batch of statements");
            equal(3L, count(connection, "jdbc_batches_of_statements WHERE n > 2000"), "rows of a batch of statements");
            statement.addBatch("INSERT INTO jdbc_batches_of_statements VALUES (3001, 'a')");
            statement.addBatch("INSERT INTO jdbc_nowhere VALUES (1)");
            try {
                statement.executeBatch();
                throw new AssertionError("a batch with a table that is not there went through");
            } catch (BatchUpdateException expected) {
                equal(1L, count(connection, "jdbc_batches_of_statements WHERE n = 3001"), "the statement before it took effect");
            }
        }
        update(connection, "DROP TABLE jdbc_batches_of_statements");
    }

    /** Waits until as many queries of this text run on the server. */
    static void until(Connection connection, String text, long wanted) throws Exception {
        String sql = "SELECT count(*) FROM system.queries WHERE state = 'running' AND sql LIKE '%" + text + "%' AND sql NOT LIKE '%system.queries%'";
        for (int turn = 0; ((Number) single(connection, sql)).longValue() != wanted; turn++) {
            holds(turn < 1200, "queries still running: not " + wanted);
            Thread.sleep(50);
        }
    }

    private static final String ENDLESS = "SELECT a.value, b.value, 'jdbc endless' AS mark FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b";

    /** A prepared query cancelled from a second thread; one whose statement is closed early. Both end on the server. */
    static void cancelling(Connection watcher) throws Exception {
        AtomicReference<Throwable> outcome = new AtomicReference<>();
        CountDownLatch begun = new CountDownLatch(1);
        Connection connection = java.sql.DriverManager.getConnection(Checks.url());
        PreparedStatement statement = connection.prepareStatement(ENDLESS + " WHERE a.value > ?");
        statement.setLong(1, 0);
        Thread reader = new Thread(() -> {
            try (ResultSet results = statement.executeQuery()) {
                while (results.next()) begun.countDown();
                outcome.set(new AssertionError("read to its end"));
            } catch (Throwable failure) {
                outcome.set(failure);
            }
        });
        reader.start();
        holds(begun.await(60, TimeUnit.SECONDS), "no row in 60 s");
        until(watcher, "jdbc endless", 1);
        statement.cancel();
        reader.join(60_000);
        holds(!reader.isAlive() && outcome.get() != null && !(outcome.get() instanceof AssertionError), "after the cancel: " + outcome.get());
        until(watcher, "jdbc endless", 0);
        Statement left = connection.createStatement();
        ResultSet results = left.executeQuery(ENDLESS);
        holds(results.next(), "a row");
        until(watcher, "jdbc endless", 1);
        results.close();
        left.close();
        until(watcher, "jdbc endless", 0);
        equal(1L, ((Number) single(connection, "SELECT 1")).longValue(), "the connection lives on");
        try {
            connection.close();
        } catch (SQLException closing) {
            holds(causes(closing).contains("Memory was leaked by query"), "closing: " + causes(closing));
        }
    }

    static void several(Connection connection) throws Exception {
        try (Statement one = connection.createStatement(); Statement other = connection.createStatement();
            ResultSet first = one.executeQuery("SELECT value FROM generate_series(1, 50000)");
            ResultSet second = other.executeQuery("SELECT value FROM generate_series(1, 50000)")) {
            for (long n = 1; n <= 50_000; n++) holds(first.next() && second.next(), "row " + n);
            holds(!first.next() && !second.next(), "the end");
        }
        Thread[] threads = new Thread[4];
        AtomicReference<Throwable> failed = new AtomicReference<>();
        for (int at = 0; at < threads.length; at++) {
            long mine = at;
            threads[at] = new Thread(() -> {
                try (Connection own = java.sql.DriverManager.getConnection(Checks.url())) {
                    for (int turn = 0; turn < 20; turn++) equal(mine, ((Number) single(own, "SELECT CAST(" + mine + " AS BIGINT)")).longValue(), "thread");
                } catch (Throwable failure) {
                    failed.set(failure);
                }
            });
            threads[at].start();
        }
        for (Thread thread : threads) thread.join();
        holds(failed.get() == null, "in a thread: " + failed.get());
    }

    /** A transaction is refused, or it is one. */
    static void transactions(Connection connection) throws Exception {
        holds(connection.getAutoCommit(), "autocommit");
        update(connection, "CREATE TABLE jdbc_transactions (n BIGINT)");
        try {
            connection.setAutoCommit(false);
            update(connection, "INSERT INTO jdbc_transactions VALUES (1)");
            connection.rollback();
            equal(0L, count(connection, "jdbc_transactions"), "rows after a rollback that was accepted");
        } catch (SQLException | UnsupportedOperationException refused) {
            holds(refused.getMessage() == null || !refused.getMessage().isEmpty(), "a reason");
        }
        update(connection, "DROP TABLE IF EXISTS jdbc_transactions");
    }
}
