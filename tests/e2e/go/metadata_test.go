package conformance

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql/schema_ref"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
)

// Every metadata command, each a scenario: the schema of the protocol, of GetFlightInfo, DoGet and GetSchema alike.
type metadataCommand struct {
	name   string
	rows   func(int64) bool
	schema *arrow.Schema
	info   func(*flightsql.Client) (*flight.FlightInfo, error)
	told   func(*flightsql.Client) (*flight.SchemaResult, error)
}

var (
	catalog, schema, table = "adlake", "public", "flight_sql_metadata"

	ref     = flightsql.TableRef{Catalog: &catalog, DBSchema: &schema, Table: table}
	tables  = &flightsql.GetTablesOpts{Catalog: &catalog, DbSchemaFilterPattern: &schema, TableNameFilterPattern: &table}
	with    = &flightsql.GetTablesOpts{TableNameFilterPattern: &table, IncludeSchema: true, TableTypes: []string{"TABLE"}}
	keys    = schema_ref.ImportedExportedKeysAndCrossReference
	schemas = &flightsql.GetDBSchemasOpts{Catalog: &catalog, DbSchemaFilterPattern: &schema}
)

type (
	client = *flightsql.Client
	info   = *flight.FlightInfo
	told   = *flight.SchemaResult
)

var metadataCommands = []metadataCommand{
	{"GetCatalogs", one, schema_ref.Catalogs,
		func(c client) (info, error) { return c.GetCatalogs(background) },
		func(c client) (told, error) { return c.GetCatalogsSchema(background) }},
	{"GetDbSchemas", one, schema_ref.DBSchemas,
		func(c client) (info, error) { return c.GetDBSchemas(background, schemas) },
		func(c client) (told, error) { return c.GetDBSchemasSchema(background) }},
	{"GetTables", one, schema_ref.Tables,
		func(c client) (info, error) { return c.GetTables(background, tables) },
		func(c client) (told, error) { return c.GetTablesSchema(background, tables) }},
	{"GetTables_with_schemas", one, schema_ref.TablesWithIncludedSchema,
		func(c client) (info, error) { return c.GetTables(background, with) },
		func(c client) (told, error) { return c.GetTablesSchema(background, with) }},
	{"GetTableTypes", several, schema_ref.TableTypes,
		func(c client) (info, error) { return c.GetTableTypes(background) },
		func(c client) (told, error) { return c.GetTableTypesSchema(background) }},
	{"GetPrimaryKeys", none, schema_ref.PrimaryKeys,
		func(c client) (info, error) { return c.GetPrimaryKeys(background, ref) },
		func(c client) (told, error) { return c.GetPrimaryKeysSchema(background) }},
	{"GetExportedKeys", none, keys,
		func(c client) (info, error) { return c.GetExportedKeys(background, ref) },
		func(c client) (told, error) { return c.GetExportedKeysSchema(background) }},
	{"GetImportedKeys", none, keys,
		func(c client) (info, error) { return c.GetImportedKeys(background, ref) },
		func(c client) (told, error) { return c.GetImportedKeysSchema(background) }},
	{"GetCrossReference", none, keys,
		func(c client) (info, error) { return c.GetCrossReference(background, ref, ref) },
		func(c client) (told, error) { return c.GetCrossReferenceSchema(background) }},
	{"GetXdbcTypeInfo", several, schema_ref.XdbcTypeInfo,
		func(c client) (info, error) { return c.GetXdbcTypeInfo(background, nil) },
		func(c client) (told, error) { return c.GetXdbcTypeInfoSchema(background) }},
	{"GetSqlInfo", several, schema_ref.SqlInfo,
		func(c client) (info, error) { return c.GetSqlInfo(background, nil) },
		func(c client) (told, error) { return c.GetSqlInfoSchema(background) }},
}

func (command metadataCommand) run(t *testing.T, client *flightsql.Client) {
	_, err := client.ExecuteUpdate(background, "CREATE TABLE IF NOT EXISTS flight_sql_metadata (id BIGINT NOT NULL)")
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = client.ExecuteUpdate(background, "DROP TABLE IF EXISTS flight_sql_metadata") })
	info, err := command.info(client)
	require.NoError(t, err)
	reader, err := client.DoGet(background, info.Endpoint[0].Ticket)
	require.NoError(t, err)
	count := int64(0)
	for reader.Next() {
		count += reader.RecordBatch().NumRows()
	}
	require.NoError(t, reader.Err())
	require.Truef(t, command.rows(count), "%d rows", count)
	result, err := command.told(client)
	require.NoError(t, err)
	told, err := flight.DeserializeSchema(result.Schema, memory.DefaultAllocator)
	require.NoError(t, err)
	promised, err := flight.DeserializeSchema(info.Schema, memory.DefaultAllocator)
	require.NoError(t, err)
	for what, actual := range map[string]*arrow.Schema{"sent": reader.Schema(), "promised": promised, "told": told} {
		require.Truef(t, command.schema.Equal(actual), "expected %s\n%s %s", command.schema, what, actual)
	}
}

func none(rows int64) bool    { return rows == 0 }
func one(rows int64) bool     { return rows == 1 }
func several(rows int64) bool { return rows > 1 }
