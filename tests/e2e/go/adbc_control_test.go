package conformance

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-adbc/go/adbc"
	"github.com/stretchr/testify/require"
)

const endless = "SELECT a.value AS a, b.value AS b, '%s' AS mark FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b"

// Waits until no query of this mark runs (`still` 0) or one does.
func running(t *testing.T, connection adbc.Connection, mark string, still int64) {
	sql := fmt.Sprintf("SELECT count(*) FROM system.queries WHERE state = 'running' AND sql LIKE '%%%s%%' AND sql NOT LIKE '%%system.queries%%'", mark)
	require.Eventually(t, func() bool { return number(t, connection, sql) == still }, 60*time.Second, 50*time.Millisecond)
}

func TestAdbcCancelByContext(t *testing.T) {
	connection, watcher := connect(t), connect(t)
	cancellable, cancel := context.WithCancel(background)
	reader, _, err := statement(t, connection, fmt.Sprintf(endless, "go cancel")).ExecuteQuery(cancellable)
	require.NoError(t, err)
	require.True(t, reader.Next())
	running(t, watcher, "go cancel", 1)
	cancel()
	for reader.Next() {
	}
	require.Equal(t, adbc.StatusCancelled, code(t, reader.Err()))
	reader.Release()
	running(t, watcher, "go cancel", 0)
	require.EqualValues(t, 1, number(t, connection, "SELECT 1"))
}

func TestAdbcDeadline(t *testing.T) {
	connection, watcher := connect(t), connect(t)
	limited, cancel := context.WithTimeout(background, 500*time.Millisecond)
	defer cancel()
	reader, _, err := statement(t, connection, fmt.Sprintf(endless, "go deadline")).ExecuteQuery(limited)
	if err == nil {
		for reader.Next() {
		}
		err = reader.Err()
		reader.Release()
	}
	require.Equal(t, adbc.StatusTimeout, code(t, err))
	running(t, watcher, "go deadline", 0)
	require.EqualValues(t, 1, number(t, connection, "SELECT 1"))
}

func TestAdbcAReaderThatIsReleasedEndsItsQuery(t *testing.T) {
	connection, watcher := connect(t), connect(t)
	reader, _, err := statement(t, connection, fmt.Sprintf(endless, "go released")).ExecuteQuery(background)
	require.NoError(t, err)
	require.True(t, reader.Next())
	running(t, watcher, "go released", 1)
	reader.Release()
	running(t, watcher, "go released", 0)
}

func TestAdbcErrorsCarryCodeAndReason(t *testing.T) {
	connection := connect(t)
	update(t, connection, "CREATE TABLE IF NOT EXISTS go_errors (n BIGINT NOT NULL)")
	for _, refused := range []struct {
		sql    string
		status adbc.Status
		word   string
	}{
		{"SELEC 1", adbc.StatusInvalidArgument, "line 1"},
		{"SELECT * FROM go_error", adbc.StatusNotFound, "go_errors"},
		{"SELECT nn FROM go_errors", adbc.StatusInvalidArgument, "nn"},
		{"SELECT CAST('x' AS BIGINT)", adbc.StatusInvalidArgument, "x"},
		{"SELECT 1 / 0", adbc.StatusInvalidArgument, "zero"},
		{"DROP TABLE go_nowhere", adbc.StatusNotFound, "go_nowhere"},
		{"CREATE TABLE go_errors (n BIGINT)", adbc.StatusAlreadyExists, "go_errors"},
	} {
		t.Run(refused.sql, func(t *testing.T) {
			reader, _, err := statement(t, connection, refused.sql).ExecuteQuery(background)
			if err == nil {
				for reader.Next() {
				}
				err = reader.Err()
				reader.Release()
			}
			require.Equal(t, refused.status, code(t, err), "%v", err)
			require.Contains(t, strings.ToLower(err.Error()), refused.word)
			require.EqualValues(t, 1, number(t, connection, "SELECT 1"))
		})
	}
	update(t, connection, "DROP TABLE go_errors")
}

func TestAdbcUpdatesCountRowsAndTakeEffectOnce(t *testing.T) {
	connection := connect(t)
	update(t, connection, "DROP TABLE IF EXISTS go_update")
	update(t, connection, "CREATE TABLE go_update (n BIGINT, s VARCHAR)")
	require.EqualValues(t, 3, update(t, connection, "INSERT INTO go_update VALUES (1, 'a'), (2, 'b'), (3, NULL)"))
	require.EqualValues(t, 2, update(t, connection, "DELETE FROM go_update WHERE n > 1"))
	require.EqualValues(t, 0, update(t, connection, "DELETE FROM go_update WHERE n > 100"))
	prepared := statement(t, connection, "INSERT INTO go_update VALUES (9, 'prepared')")
	require.NoError(t, prepared.Prepare(background))
	for range 3 {
		affected, err := prepared.ExecuteUpdate(background)
		require.NoError(t, err)
		require.EqualValues(t, 1, affected)
	}
	require.EqualValues(t, 4, number(t, connection, "SELECT count(*) FROM go_update"))
	update(t, connection, "DROP TABLE go_update")
}

func TestAdbcTwoStatementsAtOnce(t *testing.T) {
	connection := connect(t)
	first, _, err := statement(t, connection, "SELECT value FROM generate_series(1, 200000)").ExecuteQuery(background)
	require.NoError(t, err)
	second, _, err := statement(t, connection, "SELECT value FROM generate_series(1, 300000)").ExecuteQuery(background)
	require.NoError(t, err)
	require.True(t, first.Next())
	require.EqualValues(t, 300_000, whole(t, second).NumRows())
	for first.Next() {
	}
	require.NoError(t, first.Err())
	first.Release()
}

func TestAdbcSessionOptions(t *testing.T) {
	connection := connect(t, "adbc.flight.sql.rpc.with_cookie_middleware", adbc.OptionValueEnabled).(adbc.GetSetOptions)
	value, err := connection.GetOption(adbc.OptionKeyCurrentDbSchema)
	require.NoError(t, err)
	require.Equal(t, "public", value)
	require.NoError(t, connection.SetOption("adbc.flight.sql.session.option.adlake.max_staleness", "5 minutes"))
	value, err = connection.GetOption("adbc.flight.sql.session.option.adlake.max_staleness")
	require.NoError(t, err)
	require.Equal(t, "5 minutes", value)
	require.Error(t, connection.SetOption("adbc.flight.sql.session.option.adlake.no_such_option", "1"))
	require.Error(t, connection.SetOption(adbc.OptionKeyCurrentCatalog, "nowhere"))
	require.NoError(t, connection.SetOption("adbc.flight.sql.session.optionerase.adlake.max_staleness", ""))
}

func TestAdbcTransactionsAreRefused(t *testing.T) {
	connection := connect(t).(adbc.PostInitOptions)
	require.Equal(t, adbc.StatusNotImplemented, code(t, connection.SetOption(adbc.OptionKeyAutoCommit, adbc.OptionValueDisabled)))
}

func TestAdbcUserAndPassword(t *testing.T) {
	connection := connect(t, adbc.OptionKeyUsername, "ann", adbc.OptionKeyPassword, "secret")
	require.EqualValues(t, 1, number(t, connection, "SELECT 1"))
	require.NotZero(t, number(t, connection, "SELECT count(*) FROM system.queries WHERE user_name = 'ann' AND sql = 'SELECT 1'"))
}
