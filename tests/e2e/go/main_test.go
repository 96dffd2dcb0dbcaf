// Package conformance runs Go's clients against the adlake at ADLAKE_FLIGHT (host:port): the ADBC driver with checks of ours
// (adbc_*_test.go) and with ADBC's own validation suite (validation_test.go), the driver of database/sql (sql_test.go), and the
// integration scenarios of Arrow Flight re-implemented over Arrow's client (scenario_test.go, metadata_test.go). test_go.py makes a test of each.
package conformance

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/apache/arrow-adbc/go/adbc"
	driver "github.com/apache/arrow-adbc/go/adbc/driver/flightsql"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
)

var address = os.Getenv("ADLAKE_FLIGHT")

// With ADLAKE_LIST the tests inside suites are listed too, so that none can go missing.
func TestMain(m *testing.M) {
	if os.Getenv("ADLAKE_LIST") != "" {
		for name, suite := range suites(nil) {
			kind := reflect.TypeOf(suite)
			for at := range kind.NumMethod() {
				if method := kind.Method(at).Name; strings.HasPrefix(method, "Test") {
					fmt.Printf("%s/%s\n", name, method)
				}
			}
		}
		for _, scenario := range scenarios {
			fmt.Printf("TestScenario/%s\n", scenario.name)
		}
	}
	os.Exit(m.Run())
}

func options() map[string]string {
	return map[string]string{adbc.OptionKeyURI: "grpc+tcp://" + address}
}

// A connection of the ADBC driver that the test closes.
func connect(t *testing.T, more ...string) adbc.Connection {
	settings := options()
	for at := 0; at < len(more); at += 2 {
		settings[more[at]] = more[at+1]
	}
	database, err := driver.NewDriver(memory.DefaultAllocator).NewDatabase(settings)
	require.NoError(t, err)
	connection, err := database.Open(context.Background())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, connection.Close())
		require.NoError(t, database.Close())
	})
	return connection
}

func statement(t *testing.T, connection adbc.Connection, sql string) adbc.Statement {
	statement, err := connection.NewStatement()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, statement.Close()) })
	if sql != "" {
		require.NoError(t, statement.SetSqlQuery(sql))
	}
	return statement
}

func update(t *testing.T, connection adbc.Connection, sql string) int64 {
	rows, err := statement(t, connection, sql).ExecuteUpdate(context.Background())
	require.NoError(t, err, sql)
	return rows
}

// All rows of a reader in one batch; a failure of the stream fails the test.
func whole(t *testing.T, reader array.RecordReader) arrow.RecordBatch {
	defer reader.Release()
	var batches []arrow.RecordBatch
	for reader.Next() {
		batch := reader.RecordBatch()
		batch.Retain()
		batches = append(batches, batch)
	}
	require.NoError(t, reader.Err())
	columns := make([]arrow.Array, reader.Schema().NumFields())
	var rows int64
	for at := range columns {
		parts := make([]arrow.Array, len(batches))
		rows = 0
		for index, batch := range batches {
			parts[index], rows = batch.Column(at), rows+batch.NumRows()
		}
		if len(parts) == 0 {
			columns[at] = array.MakeArrayOfNull(memory.DefaultAllocator, reader.Schema().Field(at).Type, 0)
			continue
		}
		var err error
		columns[at], err = array.Concatenate(parts, memory.DefaultAllocator)
		require.NoError(t, err)
	}
	return array.NewRecordBatch(reader.Schema(), columns, rows)
}

func query(t *testing.T, connection adbc.Connection, sql string) arrow.RecordBatch {
	reader, _, err := statement(t, connection, sql).ExecuteQuery(context.Background())
	require.NoError(t, err, sql)
	return whole(t, reader)
}

// Rows as JSON, one object each: readable in a failure.
func json(t *testing.T, batch arrow.RecordBatch) string {
	text, err := batch.MarshalJSON()
	require.NoError(t, err)
	return strings.TrimSpace(string(text))
}

func number(t *testing.T, connection adbc.Connection, sql string) int64 {
	batch := query(t, connection, sql)
	require.EqualValues(t, 1, batch.NumRows(), sql)
	return batch.Column(0).(*array.Int64).Value(0)
}

// A batch of JSON rows.
func rows(t *testing.T, schema *arrow.Schema, text string) arrow.RecordBatch {
	batch, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(text))
	require.NoError(t, err)
	return batch
}

func fields(fields ...arrow.Field) *arrow.Schema { return arrow.NewSchema(fields, nil) }

func field(name string, kind arrow.DataType) arrow.Field {
	return arrow.Field{Name: name, Type: kind, Nullable: true}
}

func code(t *testing.T, err error) adbc.Status {
	var failure adbc.Error
	require.ErrorAs(t, err, &failure)
	return failure.Code
}
