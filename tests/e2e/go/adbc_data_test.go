package conformance

import (
	"context"
	"strings"
	"testing"

	"github.com/apache/arrow-adbc/go/adbc"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
)

var (
	background = context.Background()
	instant    = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "+00:00"}
	decimal    = &arrow.Decimal128Type{Precision: 18, Scale: 4}
)

func TestAdbcEveryTypeIsRead(t *testing.T) {
	kinds := []struct {
		sql  string
		kind arrow.DataType
		json string
	}{
		{"true", arrow.FixedWidthTypes.Boolean, "true"},
		{"arrow_cast(-8, 'Int8')", arrow.PrimitiveTypes.Int8, "-8"},
		{"arrow_cast(-16, 'Int16')", arrow.PrimitiveTypes.Int16, "-16"},
		{"CAST(-32 AS INT)", arrow.PrimitiveTypes.Int32, "-32"},
		{"-9223372036854775807", arrow.PrimitiveTypes.Int64, "-9223372036854775807"},
		{"arrow_cast(8, 'UInt8')", arrow.PrimitiveTypes.Uint8, "8"},
		{"arrow_cast(16, 'UInt16')", arrow.PrimitiveTypes.Uint16, "16"},
		{"arrow_cast(32, 'UInt32')", arrow.PrimitiveTypes.Uint32, "32"},
		{"arrow_cast('18446744073709551615', 'UInt64')", arrow.PrimitiveTypes.Uint64, "18446744073709551615"},
		{"CAST(1.5 AS FLOAT)", arrow.PrimitiveTypes.Float32, "1.5"},
		{"CAST(2.25 AS DOUBLE)", arrow.PrimitiveTypes.Float64, "2.25"},
		{"CAST('123.45' AS DECIMAL(18, 4))", decimal, `"123.45"`},
		{"CAST('12345678901234567890123456789012345.678' AS DECIMAL(38, 3))", &arrow.Decimal128Type{Precision: 38, Scale: 3}, `"12345678901234567890123456789012345.678"`},
		{"'naïve 日本'", arrow.BinaryTypes.String, `"naïve 日本"`},
		{"arrow_cast('view', 'Utf8View')", arrow.BinaryTypes.String, `"view"`},
		{"arrow_cast('word', 'Dictionary(Int32, Utf8)')", arrow.BinaryTypes.String, `"word"`},
		{"X'00ff'", arrow.BinaryTypes.Binary, `"AP8="`},
		{"DATE '1969-12-31'", arrow.FixedWidthTypes.Date32, `"1969-12-31"`},
		{"arrow_cast('12:34:56.789', 'Time64(Microsecond)')", arrow.FixedWidthTypes.Time64us, `"12:34:56.789"`},
		{"arrow_cast('2026-11-05T12:34:56.123456', 'Timestamp(Microsecond, None)')", &arrow.TimestampType{Unit: arrow.Microsecond}, `"2026-11-05T12:34:56.123456"`},
		{"arrow_cast('2026-11-05T12:34:56.123456Z', 'Timestamp(Microsecond, Some(\"+00:00\"))')", instant, `"2026-11-05T12:34:56.123456Z"`},
		{"[1, NULL, 3]", arrow.ListOf(arrow.PrimitiveTypes.Int64), "[1,null,3]"},
		{"[arrow_cast('z', 'Utf8View')]", arrow.ListOf(arrow.BinaryTypes.String), `["z"]`},
		{"named_struct('a', 1, 'b', 'x')", arrow.StructOf(field("a", arrow.PrimitiveTypes.Int64), field("b", arrow.BinaryTypes.String)), `{"a":1,"b":"x"}`},
		{"NULL", arrow.Null, "null"},
	}
	connection := connect(t)
	for _, kind := range kinds {
		t.Run(kind.sql, func(t *testing.T) {
			batch := query(t, connection, "SELECT "+kind.sql+" AS v UNION ALL SELECT NULL AS v")
			actual := batch.Column(0)
			require.Truef(t, sameType(kind.kind, actual.DataType()), "expected %s, got %s", kind.kind, actual.DataType())
			require.EqualValues(t, 2, batch.NumRows())
			found := []string{}
			for row := range 2 {
				text, err := batch.NewSlice(int64(row), int64(row+1)).Column(0).MarshalJSON()
				require.NoError(t, err)
				found = append(found, strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(string(text), "["), "]")))
			}
			require.ElementsMatch(t, []string{kind.json, "null"}, found)
		})
	}
}

// Types are the same whatever their children are called and whether those may be null.
func sameType(expected, actual arrow.DataType) bool {
	if expected.ID() != actual.ID() {
		return false
	}
	switch expected := expected.(type) {
	case *arrow.ListType:
		return sameType(expected.Elem(), actual.(*arrow.ListType).Elem())
	case *arrow.StructType:
		other := actual.(*arrow.StructType)
		for at, field := range expected.Fields() {
			if at >= other.NumFields() || other.Field(at).Name != field.Name || !sameType(field.Type, other.Field(at).Type) {
				return false
			}
		}
		return expected.NumFields() == other.NumFields()
	}
	return arrow.TypeEqual(expected, actual)
}

// One row of values, one of NULLs: written by a prepared INSERT, found again by each value.
func TestAdbcParametersOfEveryType(t *testing.T) {
	connection := connect(t)
	update(t, connection, "DROP TABLE IF EXISTS go_types")
	update(t, connection, "CREATE TABLE go_types (k INT, bo BOOLEAN, ti TINYINT, si SMALLINT, bi BIGINT, f FLOAT, d DOUBLE, "+
		"de DECIMAL(18, 4), s VARCHAR, by BYTEA, da DATE, ts TIMESTAMP WITH TIME ZONE)")
	schema := fields(
		field("k", arrow.PrimitiveTypes.Int32), field("bo", arrow.FixedWidthTypes.Boolean), field("ti", arrow.PrimitiveTypes.Int8),
		field("si", arrow.PrimitiveTypes.Int16), field("bi", arrow.PrimitiveTypes.Int64), field("f", arrow.PrimitiveTypes.Float32),
		field("d", arrow.PrimitiveTypes.Float64), field("de", decimal), field("s", arrow.BinaryTypes.String),
		field("by", arrow.BinaryTypes.Binary), field("da", arrow.FixedWidthTypes.Date32), field("ts", instant),
	)
	bound := rows(t, schema, `[
		{"k": 1, "bo": true, "ti": -8, "si": -16, "bi": 1099511627776, "f": 1.5, "d": 2.25, "de": "123.4500", "s": "naïve 日本",
		 "by": "AP8=", "da": "2026-11-05", "ts": "2026-11-05T12:34:56.123456Z"},
		{"k": 2}]`)
	insert := statement(t, connection, "INSERT INTO go_types VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
	require.NoError(t, insert.Prepare(background))
	parameters, err := insert.GetParameterSchema()
	require.NoError(t, err)
	require.Equal(t, schema.NumFields(), parameters.NumFields())
	for at, expected := range schema.Fields() {
		if expected.Name != "ts" { // Offered in milliseconds; see parameters.rs.
			require.Truef(t, sameType(expected.Type, parameters.Field(at).Type), "%s is %s", expected.Name, parameters.Field(at).Type)
		}
	}
	require.NoError(t, insert.Bind(background, bound))
	inserted, err := insert.ExecuteUpdate(background)
	require.NoError(t, err)
	require.EqualValues(t, 2, inserted)
	read := query(t, connection, "SELECT * FROM go_types ORDER BY k")
	require.JSONEq(t, "["+strings.ReplaceAll(json(t, bound), "}\n{", "},{")+"]", "["+strings.ReplaceAll(json(t, read), "}\n{", "},{")+"]")
	for at, column := range schema.Fields() {
		t.Run(column.Name, func(t *testing.T) {
			find := statement(t, connection, "SELECT k FROM go_types WHERE "+column.Name+" = $1")
			require.NoError(t, find.Prepare(background))
			value := array.NewRecordBatch(fields(field("0", column.Type)), []arrow.Array{array.NewSlice(bound.Column(at), 0, 1)}, 1)
			require.NoError(t, find.Bind(background, value))
			reader, _, err := find.ExecuteQuery(background)
			require.NoError(t, err)
			require.Equal(t, `[{"k":1}`+"\n]", json(t, whole(t, reader)))
		})
	}
	update(t, connection, "DROP TABLE go_types")
}

func TestAdbcSeveralRowsOfParameters(t *testing.T) {
	connection := connect(t)
	find := statement(t, connection, "SELECT value FROM generate_series(0, 99) WHERE value >= $1 AND value < $2 ORDER BY value")
	require.NoError(t, find.Prepare(background))
	bounds := fields(field("0", arrow.PrimitiveTypes.Int64), field("1", arrow.PrimitiveTypes.Int64))
	require.NoError(t, find.Bind(background, rows(t, bounds, `[{"0": 5, "1": 7}, {"0": 98, "1": 200}]`)))
	reader, _, err := find.ExecuteQuery(background)
	require.NoError(t, err)
	require.Equal(t, []int64{5, 6, 98, 99}, whole(t, reader).Column(0).(*array.Int64).Int64Values())
}

func TestAdbcObjectsBySchemaTypeAndPattern(t *testing.T) {
	connection := connect(t)
	for _, sql := range []string{
		"CREATE TABLE IF NOT EXISTS go_objects (id BIGINT NOT NULL, price DECIMAL(12, 2))", "CREATE TABLE IF NOT EXISTS goxobjects (id BIGINT)",
		"CREATE VIEW go_objects_view AS SELECT id FROM go_objects",
	} {
		update(t, connection, sql)
	}
	objects := func(catalog, schema, table *string, kinds ...string) string {
		reader, err := connection.GetObjects(background, adbc.ObjectDepthColumns, catalog, schema, table, nil, kinds)
		require.NoError(t, err)
		return json(t, whole(t, reader))
	}
	text := func(text string) *string { return &text }
	escaped := objects(nil, nil, text(`go\_objects`))
	require.Contains(t, escaped, `"table_name":"go_objects"`)
	require.NotContains(t, escaped, "goxobjects")
	require.Contains(t, objects(nil, nil, text("go_objects")), `"table_name":"goxobjects"`)
	views := objects(nil, text("public"), text("go%"), "VIEW")
	require.Contains(t, views, `"table_name":"go_objects_view"`)
	require.NotContains(t, views, `"table_name":"go_objects"`)
	require.Contains(t, objects(nil, text("system"), nil, "SYSTEM TABLE"), `"table_name":"queries"`)
	require.NotContains(t, objects(text("nowhere"), nil, nil), "go_objects")
	require.Contains(t, escaped, `"column_name":"price","ordinal_position":2`)
	require.Contains(t, escaped, `"xdbc_type_name":"DECIMAL(12, 2)"`)
	update(t, connection, "DROP VIEW go_objects_view")
	update(t, connection, "DROP TABLE go_objects")
	update(t, connection, "DROP TABLE goxobjects")
	require.NotContains(t, objects(nil, nil, nil), "go_objects")
}

func TestAdbcTableSchemaAndTypes(t *testing.T) {
	connection := connect(t)
	update(t, connection, "CREATE TABLE IF NOT EXISTS go_schema (id BIGINT NOT NULL, at TIMESTAMP WITH TIME ZONE, price DECIMAL(18, 4))")
	schema, err := connection.GetTableSchema(background, nil, nil, "go_schema")
	require.NoError(t, err)
	require.Equal(t, []string{"id", "at", "price"}, []string{schema.Field(0).Name, schema.Field(1).Name, schema.Field(2).Name})
	require.False(t, schema.Field(0).Nullable)
	require.True(t, schema.Field(1).Nullable)
	require.Equal(t, arrow.Microsecond, schema.Field(1).Type.(*arrow.TimestampType).Unit)
	require.True(t, arrow.TypeEqual(decimal, schema.Field(2).Type))
	_, err = connection.GetTableSchema(background, nil, nil, "go_nowhere")
	require.Equal(t, adbc.StatusNotFound, code(t, err))
	reader, err := connection.GetTableTypes(background)
	require.NoError(t, err)
	kinds := whole(t, reader).Column(0).(*array.String)
	found := []string{}
	for at := range kinds.Len() {
		found = append(found, kinds.Value(at))
	}
	require.ElementsMatch(t, []string{"TABLE", "VIEW", "MATERIALIZED VIEW", "SYSTEM TABLE"}, found)
	update(t, connection, "DROP TABLE go_schema")
}

func ingest(t *testing.T, connection adbc.Connection, table, mode string, batch arrow.RecordBatch) (int64, error) {
	bulk := statement(t, connection, "")
	require.NoError(t, bulk.SetOption(adbc.OptionKeyIngestTargetTable, table))
	require.NoError(t, bulk.SetOption(adbc.OptionKeyIngestMode, mode))
	require.NoError(t, bulk.Bind(background, batch))
	return bulk.ExecuteUpdate(background)
}

func TestAdbcIngestInFourModes(t *testing.T) {
	connection := connect(t)
	update(t, connection, "DROP TABLE IF EXISTS go_bulk")
	batch := rows(t, fields(field("id", arrow.PrimitiveTypes.Int64), field("name", arrow.BinaryTypes.String)), `[{"id": 1, "name": "a"}, {"id": 2}]`)
	other := rows(t, fields(field("name", arrow.BinaryTypes.String)), `[{"name": "x"}, {"name": "y"}, {"name": "z"}]`)
	count := func() int64 { return number(t, connection, "SELECT count(*) FROM go_bulk") }
	good := func(mode string, batch arrow.RecordBatch, gained, total int64) {
		t.Helper()
		affected, err := ingest(t, connection, "go_bulk", mode, batch)
		require.NoError(t, err, mode)
		require.Equal(t, gained, affected, mode)
		require.Equal(t, total, count(), mode)
	}
	_, err := ingest(t, connection, "go_bulk", adbc.OptionValueIngestModeAppend, batch)
	require.Equal(t, adbc.StatusNotFound, code(t, err))
	good(adbc.OptionValueIngestModeCreate, batch, 2, 2)
	_, err = ingest(t, connection, "go_bulk", adbc.OptionValueIngestModeCreate, batch)
	require.Equal(t, adbc.StatusAlreadyExists, code(t, err))
	require.EqualValues(t, 2, count())
	good(adbc.OptionValueIngestModeAppend, batch, 2, 4)
	good(adbc.OptionValueIngestModeAppend, other, 3, 7)
	_, err = ingest(t, connection, "go_bulk", adbc.OptionValueIngestModeAppend, rows(t, fields(field("nom", arrow.BinaryTypes.String)), `[{"nom": "x"}]`))
	require.Equal(t, adbc.StatusInvalidArgument, code(t, err))
	require.ErrorContains(t, err, "nom")
	good(adbc.OptionValueIngestModeCreateAppend, batch, 2, 9)
	good(adbc.OptionValueIngestModeReplace, other, 3, 3)
	update(t, connection, "DROP TABLE go_bulk")
	good(adbc.OptionValueIngestModeCreateAppend, batch, 2, 2)
	update(t, connection, "DROP TABLE go_bulk")
}

func TestAdbcIngestOfAStreamIsOneCommit(t *testing.T) {
	connection := connect(t)
	update(t, connection, "DROP TABLE IF EXISTS go_stream")
	schema := fields(field("n", arrow.PrimitiveTypes.Int64))
	var batches []arrow.RecordBatch
	for batch := range 50 {
		builder := array.NewInt64Builder(memory.DefaultAllocator)
		for row := range 2_000 {
			builder.Append(int64(batch*2_000 + row))
		}
		batches = append(batches, array.NewRecordBatch(schema, []arrow.Array{builder.NewArray()}, 2_000))
	}
	stream, err := array.NewRecordReader(schema, batches)
	require.NoError(t, err)
	affected, err := adbc.IngestStream(background, connection, stream, "go_stream", adbc.OptionValueIngestModeCreate, adbc.IngestStreamOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 100_000, affected)
	require.EqualValues(t, 99_999*100_000/2, number(t, connection, "SELECT sum(n) FROM go_stream"))
	require.EqualValues(t, 1, number(t, connection, "SELECT count(*) FROM system.commits WHERE table_name = 'go_stream' AND operation = 'INSERT'"))
	temporary := statement(t, connection, "")
	require.NoError(t, temporary.SetOption(adbc.OptionKeyIngestTargetTable, "go_temporary"))
	require.NoError(t, temporary.SetOption(adbc.OptionValueIngestTemporary, adbc.OptionValueEnabled))
	require.NoError(t, temporary.Bind(background, batches[0]))
	_, err = temporary.ExecuteUpdate(background)
	require.Equal(t, adbc.StatusNotImplemented, code(t, err))
	update(t, connection, "DROP TABLE go_stream")
}

func TestAdbcPartitionsAreReadByAnotherConnection(t *testing.T) {
	connection, reader := connect(t), connect(t)
	schema, partitions, _, err := statement(t, connection, "SELECT value AS n FROM generate_series(1, 1000000)").ExecutePartitions(background)
	require.NoError(t, err)
	require.Equal(t, "n", schema.Field(0).Name)
	require.NotZero(t, partitions.NumPartitions)
	var sum, count int64
	for _, partition := range partitions.PartitionIDs {
		records, err := reader.ReadPartition(background, partition)
		require.NoError(t, err)
		for records.Next() {
			for _, value := range records.RecordBatch().Column(0).(*array.Int64).Int64Values() {
				sum, count = sum+value, count+1
			}
		}
		require.NoError(t, records.Err())
		records.Release()
	}
	require.EqualValues(t, 1_000_000, count)
	require.EqualValues(t, 1_000_000*1_000_001/2, sum)
	_, err = reader.ReadPartition(background, []byte("not one"))
	require.Error(t, err)
}
