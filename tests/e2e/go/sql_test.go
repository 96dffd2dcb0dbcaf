package conformance

import (
	"context"
	"database/sql"
	"testing"
	"time"

	_ "github.com/apache/arrow-go/v18/arrow/flight/flightsql/driver"
	"github.com/stretchr/testify/require"
)

func open(t *testing.T) *sql.DB {
	database, err := sql.Open("flightsql", "flightsql://"+address+"?timeout=60s")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, database.Close()) })
	return database
}

func TestDatabaseSqlReadsAndWrites(t *testing.T) {
	database := open(t)
	require.NoError(t, database.Ping())
	_, err := database.Exec("CREATE TABLE IF NOT EXISTS go_sql (n BIGINT, s VARCHAR, d DOUBLE, b BOOLEAN)")
	require.NoError(t, err)
	done, err := database.Exec("INSERT INTO go_sql VALUES (1, 'a', 1.5, true), (2, NULL, NULL, NULL)")
	require.NoError(t, err)
	affected, err := done.RowsAffected()
	require.NoError(t, err)
	require.EqualValues(t, 2, affected)
	insert, err := database.Prepare("INSERT INTO go_sql VALUES (?, ?, ?, ?)")
	require.NoError(t, err)
	done, err = insert.Exec(int64(3), "c", 3.5, false)
	require.NoError(t, err)
	affected, err = done.RowsAffected()
	require.NoError(t, err)
	require.EqualValues(t, 1, affected)
	require.NoError(t, insert.Close())
	var name sql.NullString
	var half sql.NullFloat64
	require.NoError(t, database.QueryRow("SELECT s, d FROM go_sql WHERE n = ?", int64(3)).Scan(&name, &half))
	require.Equal(t, sql.NullString{String: "c", Valid: true}, name)
	require.Equal(t, sql.NullFloat64{Float64: 3.5, Valid: true}, half)
	require.NoError(t, database.QueryRow("SELECT s, d FROM go_sql WHERE n = ?", int64(2)).Scan(&name, &half))
	require.False(t, name.Valid || half.Valid)
	read, err := database.Query("SELECT value FROM generate_series(1, 100000)")
	require.NoError(t, err)
	var sum, value int64
	for read.Next() {
		require.NoError(t, read.Scan(&value))
		sum += value
	}
	require.NoError(t, read.Err())
	require.EqualValues(t, 100_000*100_001/2, sum)
	_, err = database.Exec("DROP TABLE go_sql")
	require.NoError(t, err)
}

func TestDatabaseSqlTimes(t *testing.T) {
	var at time.Time
	moment := time.Date(2026, 11, 5, 12, 34, 56, 123456000, time.UTC)
	require.NoError(t, open(t).QueryRow("SELECT to_timestamp_micros(1793882096123456)").Scan(&at))
	require.True(t, moment.Equal(at), at)
}

func TestDatabaseSqlRefusesTransactionsAndBadSql(t *testing.T) {
	database := open(t)
	_, err := database.BeginTx(context.Background(), nil)
	require.ErrorContains(t, err, "transactions are not supported")
	_, err = database.Query("SELECT * FROM go_nowhere")
	require.ErrorContains(t, err, "go_nowhere")
	require.NoError(t, database.Ping())
}
