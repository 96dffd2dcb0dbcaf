package conformance

import (
	"context"
	"testing"

	"github.com/apache/arrow-adbc/go/adbc"
	driver "github.com/apache/arrow-adbc/go/adbc/driver/flightsql"
	"github.com/apache/arrow-adbc/go/adbc/validation"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"github.com/stretchr/testify/suite"
)

// What ADBC's validation suite should expect of adlake.
type quirks struct {
	test      *testing.T
	allocator *memory.CheckedAllocator
}

func suites(quirks validation.DriverQuirks) map[string]suite.TestingSuite {
	return map[string]suite.TestingSuite{
		"TestValidationOfDatabase":   &validation.DatabaseTests{Quirks: quirks},
		"TestValidationOfConnection": &validation.ConnectionTests{Quirks: quirks},
		"TestValidationOfStatement":  &validation.StatementTests{Quirks: quirks},
	}
}

func TestValidationOfDatabase(t *testing.T)   { suite.Run(t, suites(&quirks{})[t.Name()]) }
func TestValidationOfConnection(t *testing.T) { suite.Run(t, suites(&quirks{})[t.Name()]) }
func TestValidationOfStatement(t *testing.T)  { suite.Run(t, suites(&quirks{})[t.Name()]) }

func (q *quirks) SetupDriver(t *testing.T) adbc.Driver {
	q.test = t
	q.allocator = memory.NewCheckedAllocator(memory.DefaultAllocator)
	return driver.NewDriver(q.allocator)
}

func (q *quirks) TearDownDriver(*testing.T, adbc.Driver)      {}
func (q *quirks) DatabaseOptions() map[string]string          { return options() }
func (q *quirks) BindParameter(int) string                    { return "?" }
func (q *quirks) SupportsBulkIngest(string) bool              { return true }
func (q *quirks) SupportsConcurrentStatements() bool          { return true }
func (q *quirks) SupportsCurrentCatalogSchema() bool          { return true }
func (q *quirks) SupportsGetSetOptions() bool                 { return true }
func (q *quirks) SupportsExecuteSchema() bool                 { return true }
func (q *quirks) SupportsPartitionedData() bool               { return true }
func (q *quirks) SupportsStatistics() bool                    { return false }
func (q *quirks) SupportsTransactions() bool                  { return false }
func (q *quirks) SupportsGetParameterSchema() bool            { return true }
func (q *quirks) SupportsDynamicParameterBinding() bool       { return true }
func (q *quirks) SupportsErrorIngestIncompatibleSchema() bool { return true }
func (q *quirks) Catalog() string                             { return "adlake" }
func (q *quirks) DBSchema() string                            { return "public" }
func (q *quirks) Alloc() memory.Allocator                     { return q.allocator }

// What the server says of itself; what the driver says of itself is taken as it is.
func (q *quirks) GetMetadata(info adbc.InfoCode) any {
	switch info {
	case adbc.InfoVendorName:
		return "adlake"
	case adbc.InfoDriverADBCVersion:
		return adbc.AdbcVersion1_1_0
	}
	connection := connect(q.test)
	reader, err := connection.GetInfo(context.Background(), []adbc.InfoCode{info})
	require.NoError(q.test, err)
	defer reader.Release()
	require.True(q.test, reader.Next())
	union := reader.RecordBatch().Column(1).(*array.DenseUnion)
	text := union.Field(union.ChildID(0)).(*array.String).Value(int(union.ValueOffset(0)))
	require.NotEmpty(q.test, text)
	return text
}

func (q *quirks) CreateSampleTable(name string, batch arrow.RecordBatch) error {
	connection := connect(q.test)
	update(q.test, connection, "DROP TABLE IF EXISTS "+name)
	ingest := statement(q.test, connection, "")
	require.NoError(q.test, ingest.SetOption(adbc.OptionKeyIngestTargetTable, name))
	require.NoError(q.test, ingest.Bind(context.Background(), batch))
	_, err := ingest.ExecuteUpdate(context.Background())
	return err
}

func (q *quirks) SampleTableSchemaMetadata(table string, kind arrow.DataType) arrow.Metadata {
	expected := map[string]string{
		flightsql.CatalogNameKey: "adlake", flightsql.SchemaNameKey: "public", flightsql.TableNameKey: table,
		flightsql.IsReadOnlyKey: "0", flightsql.IsAutoIncrementKey: "0", flightsql.IsCaseSensitiveKey: "1", flightsql.IsSearchableKey: "1",
		flightsql.TypeNameKey: "VARCHAR",
	}
	if kind.ID() == arrow.INT64 {
		expected[flightsql.TypeNameKey], expected[flightsql.PrecisionKey], expected[flightsql.ScaleKey] = "BIGINT", "19", "0"
	}
	return arrow.MetadataFrom(expected)
}

func (q *quirks) DropTable(connection adbc.Connection, name string) error {
	drop, err := connection.NewStatement()
	if err != nil {
		return err
	}
	defer validation.CheckedClose(q.test, drop)
	if err := drop.SetSqlQuery("DROP TABLE IF EXISTS " + name); err != nil {
		return err
	}
	_, err = drop.ExecuteUpdate(context.Background())
	return err
}
