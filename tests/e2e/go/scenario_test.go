package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// The integration scenarios of Arrow Flight, by their names there: the same calls, with statements of this server instead of
// the canned ones of the reference server. A refusal is UNIMPLEMENTED with the words given, never success without work.
var scenarios = append([]scenario{
	{"auth:basic_proto", authBasic},
	{"middleware", middleware},
	{"ordered", ordered},
	{"expiration_time:do_get", ticketsDoNotExpire},
	{"expiration_time:list_actions", listActions},
	{"list_actions:only_those_there_are", onlyActionsThereAre},
	{"expiration_time:cancel_flight_info", cancelFlightInfo},
	{"expiration_time:renew_flight_endpoint", renewFlightEndpoint},
	{"location:reuse_connection", reuseConnection},
	{"poll_flight_info", pollFlightInfo},
	{"app_metadata_flight_info_endpoint", appMetadata},
	{"flight_sql:statement", sqlStatement},
	{"flight_sql:prepared_statement", sqlPreparedStatement},
	{"flight_sql:extension:sql_info", extensionSqlInfo},
	{"flight_sql:extension:substrait", extensionSubstrait},
	{"flight_sql:extension:transactions", extensionTransactions},
	{"flight_sql:extension:cancel_query", extensionCancelQuery},
	{"flight_sql:ingestion", sqlIngestion},
	{"flight_sql:ingestion:options", ingestionOptions},
	{"session_options", sessionOptions},
	{"do_exchange", doExchange},
	{"list_flights", listFlights},
	{"unknown_action", unknownAction},
}, metadataScenarios()...)

type scenario struct {
	name string
	run  func(*testing.T, *flightsql.Client)
}

func metadataScenarios() (all []scenario) {
	for _, command := range metadataCommands {
		all = append(all, scenario{"flight_sql:" + command.name, command.run})
	}
	return all
}

func TestScenario(t *testing.T) {
	for _, scenario := range scenarios {
		t.Run(scenario.name, func(t *testing.T) { scenario.run(t, flightClient(t)) })
	}
}

func flightClient(t *testing.T, middleware ...flight.ClientMiddleware) *flightsql.Client {
	client, err := flightsql.NewClient(address, nil, middleware, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func refused(t *testing.T, err error, words string) {
	t.Helper()
	require.Equal(t, codes.Unimplemented, status.Code(err), "%v", err)
	require.Contains(t, status.Convert(err).Message(), words)
}

func fetch(t *testing.T, client *flightsql.Client, info *flight.FlightInfo) arrow.RecordBatch {
	t.Helper()
	var all arrow.RecordBatch
	for _, endpoint := range info.Endpoint {
		reader, err := client.DoGet(background, endpoint.Ticket)
		require.NoError(t, err)
		promised, err := flight.DeserializeSchema(info.Schema, memory.DefaultAllocator)
		require.NoError(t, err)
		require.Truef(t, promised.Equal(reader.Schema()), "promised %s\nsent %s", promised, reader.Schema())
		all = whole(t, reader)
	}
	return all
}

func execute(t *testing.T, client *flightsql.Client, sql string) *flight.FlightInfo {
	t.Helper()
	info, err := client.Execute(background, sql)
	require.NoError(t, err)
	return info
}

// Anyone may call as yet; user and password are taken by the handshake and answered with a token that later calls carry.
func authBasic(t *testing.T, client *flightsql.Client) {
	with, err := client.Client.AuthenticateBasicToken(background, "flight1", "woohoo1")
	require.NoError(t, err)
	sent, _ := metadata.FromOutgoingContext(with)
	require.Len(t, sent.Get("authorization"), 1)
	require.True(t, strings.HasPrefix(sent.Get("authorization")[0], "Bearer "))
	info, err := client.Execute(with, "SELECT count(*) FROM system.queries WHERE user_name = 'flight1'")
	require.NoError(t, err)
	reader, err := client.DoGet(with, info.Endpoint[0].Ticket)
	require.NoError(t, err)
	require.NotZero(t, whole(t, reader).Column(0).(*array.Int64).Value(0))
	_, err = client.Execute(metadata.AppendToOutgoingContext(background, "authorization", "Bearer adlake-session-forged"), "SELECT 1")
	require.Equal(t, codes.Unauthenticated, status.Code(err))
}

// Unknown headers are let through, and a failing call answers with headers too.
func middleware(t *testing.T, client *flightsql.Client) {
	with := metadata.AppendToOutgoingContext(background, "x-middleware", "expected value")
	_, err := client.Execute(with, "SELECT 1")
	require.NoError(t, err)
	var header, trailer metadata.MD
	_, err = client.Execute(with, "SELECT * FROM nowhere_at_all", grpc.Header(&header), grpc.Trailer(&trailer))
	require.Equal(t, codes.NotFound, status.Code(err))
	require.Equal(t, []string{"42P01"}, metadata.Join(header, trailer).Get("sqlstate"))
}

// What ORDER BY says holds over all endpoints in their order.
func ordered(t *testing.T, client *flightsql.Client) {
	info := execute(t, client, "SELECT value FROM generate_series(1, 300000) ORDER BY value DESC")
	last := int64(300_001)
	for _, endpoint := range info.Endpoint {
		require.Empty(t, endpoint.Location, "an endpoint of another server")
		reader, err := client.DoGet(background, endpoint.Ticket)
		require.NoError(t, err)
		for _, value := range whole(t, reader).Column(0).(*array.Int64).Int64Values() {
			require.Equal(t, last-1, value)
			last = value
		}
	}
	require.EqualValues(t, 1, last)
	require.True(t, info.Ordered || len(info.Endpoint) == 1, "several endpoints that are not ordered")
}

// Tickets carry no time, and one can be read twice: they do not expire.
func ticketsDoNotExpire(t *testing.T, client *flightsql.Client) {
	info := execute(t, client, "SELECT 1 AS n")
	for range 2 {
		require.Nil(t, info.Endpoint[0].ExpirationTime)
		require.EqualValues(t, 1, fetch(t, client, info).NumRows())
	}
}

func actions(t *testing.T, client *flightsql.Client) map[string]string {
	stream, err := client.Client.ListActions(background, &flight.Empty{})
	require.NoError(t, err)
	found := map[string]string{}
	for {
		action, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return found
		}
		require.NoError(t, err)
		found[action.Type] = action.Description
	}
}

func listActions(t *testing.T, client *flightsql.Client) {
	found := actions(t, client)
	for _, name := range []string{
		"CancelFlightInfo", "CancelQuery", "SetSessionOptions", "GetSessionOptions", "CloseSession", "CreatePreparedStatement", "ClosePreparedStatement",
	} {
		require.NotEmpty(t, found[name], name)
	}
	require.NotContains(t, found, "RenewFlightEndpoint")
}

func onlyActionsThereAre(t *testing.T, client *flightsql.Client) {
	found := actions(t, client)
	for _, name := range []string{"BeginTransaction", "EndTransaction", "BeginSavepoint", "EndSavepoint", "CreatePreparedSubstraitPlan"} {
		require.NotContains(t, found, name, "listed, but it answers UNIMPLEMENTED")
	}
}

func cancelFlightInfo(t *testing.T, client *flightsql.Client) {
	info := execute(t, client, "SELECT value FROM generate_series(1, 10)")
	result, err := client.CancelFlightInfo(background, &flight.CancelFlightInfoRequest{Info: info})
	require.NoError(t, err)
	require.Equal(t, flight.CancelStatusCancelled, result.Status)
	for _, endpoint := range info.Endpoint {
		_, err := client.DoGet(background, endpoint.Ticket)
		require.Equal(t, codes.Canceled, status.Code(err), "%v", err)
	}
	catalogs, err := client.GetCatalogs(background)
	require.NoError(t, err)
	_, err = client.CancelFlightInfo(background, &flight.CancelFlightInfoRequest{Info: catalogs})
	require.Equal(t, codes.NotFound, status.Code(err))
}

func renewFlightEndpoint(t *testing.T, client *flightsql.Client) {
	info := execute(t, client, "SELECT 1")
	_, err := client.RenewFlightEndpoint(background, &flight.RenewFlightEndpointRequest{Endpoint: info.Endpoint[0]})
	refused(t, err, "RenewFlightEndpoint")
}

// No location means this connection, as the one that says so would.
func reuseConnection(t *testing.T, client *flightsql.Client) {
	require.Empty(t, execute(t, client, "SELECT 1").Endpoint[0].Location)
}

// Asks until a statement is complete; told[0] is the first answer.
func poll(t *testing.T, client *flightsql.Client, sql string) (told []*flight.PollInfo) {
	var again *flight.FlightDescriptor
	for {
		info, err := client.ExecutePoll(background, sql, again)
		require.NoError(t, err)
		require.NotNil(t, info.Info)
		told, again = append(told, info), info.FlightDescriptor
		if again == nil {
			return told
		}
		require.Empty(t, info.Info.Endpoint)
		require.True(t, info.ExpirationTime.AsTime().After(time.Now()))
	}
}

// A query is complete when it is planned; what changes something is asked about until it took effect, or cancelled.
func pollFlightInfo(t *testing.T, client *flightsql.Client) {
	told := poll(t, client, "SELECT value AS id FROM generate_series(1, 3)")
	require.EqualValues(t, 1, told[len(told)-1].GetProgress())
	require.EqualValues(t, 3, fetch(t, client, told[len(told)-1].Info).NumRows())
	_, err := client.ExecuteUpdate(background, "CREATE TABLE IF NOT EXISTS flight_sql_polled (a BIGINT, b BIGINT, mark VARCHAR)")
	require.NoError(t, err)
	told = poll(t, client, "INSERT INTO flight_sql_polled SELECT value AS a, value AS b, 'x' FROM generate_series(1, 2000000)")
	require.EqualValues(t, 2_000_000, told[len(told)-1].Info.TotalRecords)
	started, err := client.ExecutePoll(background, "INSERT INTO flight_sql_polled "+fmt.Sprintf(endless, "go poll"), nil)
	require.NoError(t, err)
	require.NotNil(t, started.FlightDescriptor)
	result, err := client.CancelFlightInfo(background, &flight.CancelFlightInfoRequest{Info: started.Info})
	require.NoError(t, err)
	require.Equal(t, flight.CancelStatusCancelling, result.Status)
	_, err = client.ExecutePoll(background, "", started.FlightDescriptor)
	require.Equal(t, codes.Canceled, status.Code(err), "%v", err)
	_, err = client.ExecuteUpdate(background, "DROP TABLE flight_sql_polled")
	require.NoError(t, err)
}

// The first message of a result says which query it is and how fresh its rows are.
func appMetadata(t *testing.T, client *flightsql.Client) {
	reader, err := client.DoGet(background, execute(t, client, "SELECT 1").Endpoint[0].Ticket)
	require.NoError(t, err)
	require.Contains(t, string(reader.LatestAppMetadata()), `"data_as_of"`)
	whole(t, reader)
}

func sqlStatement(t *testing.T, client *flightsql.Client) {
	require.EqualValues(t, 3, fetch(t, client, execute(t, client, "SELECT value AS id FROM generate_series(1, 3)")).NumRows())
	result, err := client.GetExecuteSchema(background, "SELECT value AS id FROM generate_series(1, 3)")
	require.NoError(t, err)
	schema, err := flight.DeserializeSchema(result.Schema, memory.DefaultAllocator)
	require.NoError(t, err)
	require.Equal(t, "id", schema.Field(0).Name)
	for _, sql := range []string{"DROP TABLE IF EXISTS flight_sql_statement", "CREATE TABLE flight_sql_statement (n BIGINT)"} {
		_, err := client.ExecuteUpdate(background, sql)
		require.NoError(t, err)
	}
	updated, err := client.ExecuteUpdate(background, "INSERT INTO flight_sql_statement SELECT value FROM generate_series(1, 10000)")
	require.NoError(t, err)
	require.EqualValues(t, 10_000, updated)
	_, err = client.ExecuteUpdate(background, "DROP TABLE flight_sql_statement")
	require.NoError(t, err)
}

func sqlPreparedStatement(t *testing.T, client *flightsql.Client) {
	prepared, err := client.Prepare(background, "SELECT value AS id FROM generate_series(1, 9) WHERE value > ?")
	require.NoError(t, err)
	require.Equal(t, arrow.INT64, prepared.ParameterSchema().Field(0).Type.ID())
	require.Equal(t, "id", prepared.DatasetSchema().Field(0).Name)
	prepared.SetParameters(rows(t, fields(field("0", arrow.PrimitiveTypes.Int64)), `[{"0": 7}]`))
	info, err := prepared.Execute(background)
	require.NoError(t, err)
	require.EqualValues(t, 2, fetch(t, client, info).NumRows())
	result, err := prepared.GetSchema(background)
	require.NoError(t, err)
	schema, err := flight.DeserializeSchema(result.Schema, memory.DefaultAllocator)
	require.NoError(t, err)
	require.True(t, schema.Equal(prepared.DatasetSchema()))
	require.NoError(t, prepared.Close(background))
	_, err = prepared.Execute(background)
	require.Error(t, err)
	gone := flightsql.NewPreparedStatement(client, []byte("no such handle"))
	_, err = gone.Execute(background)
	require.Equal(t, codes.NotFound, status.Code(err))
	require.ErrorContains(t, err, "prepare it again")
	_, err = client.ExecuteUpdate(background, "CREATE TABLE IF NOT EXISTS flight_sql_prepared (n BIGINT)")
	require.NoError(t, err)
	insert, err := client.Prepare(background, "INSERT INTO flight_sql_prepared VALUES (?)")
	require.NoError(t, err)
	insert.SetParameters(rows(t, fields(field("0", arrow.PrimitiveTypes.Int64)), `[{"0": 1}, {"0": 2}]`))
	updated, err := insert.ExecuteUpdate(background)
	require.NoError(t, err)
	require.EqualValues(t, 2, updated)
	require.NoError(t, insert.Close(background))
	_, err = client.ExecuteUpdate(background, "DROP TABLE flight_sql_prepared")
	require.NoError(t, err)
}

// What SqlInfo says of optional parts is what the next three scenarios find.
func extensionSqlInfo(t *testing.T, client *flightsql.Client) {
	info, err := client.GetSqlInfo(background, []flightsql.SqlInfo{
		flightsql.SqlInfoFlightSqlServerSql, flightsql.SqlInfoFlightSqlServerSubstrait, flightsql.SqlInfoFlightSqlServerTransaction,
		flightsql.SqlInfoFlightSqlServerCancel, flightsql.SqlInfoFlightSqlServerBulkIngestion, flightsql.SqlInfoFlightSqlServerIngestTransactionsSupported,
	})
	require.NoError(t, err)
	reader, err := client.DoGet(background, info.Endpoint[0].Ticket)
	require.NoError(t, err)
	defer reader.Release()
	require.True(t, reader.Next())
	names, values := reader.RecordBatch().Column(0).(*array.Uint32), reader.RecordBatch().Column(1).(*array.DenseUnion)
	found := map[flightsql.SqlInfo]string{}
	for at := range names.Len() {
		found[flightsql.SqlInfo(names.Value(at))] = values.Field(values.ChildID(at)).ValueStr(int(values.ValueOffset(at)))
	}
	require.Equal(t, map[flightsql.SqlInfo]string{
		flightsql.SqlInfoFlightSqlServerSql: "true", flightsql.SqlInfoFlightSqlServerSubstrait: "false",
		flightsql.SqlInfoFlightSqlServerTransaction: "0", flightsql.SqlInfoFlightSqlServerCancel: "true",
		flightsql.SqlInfoFlightSqlServerBulkIngestion: "true", flightsql.SqlInfoFlightSqlServerIngestTransactionsSupported: "false",
	}, found)
}

func extensionSubstrait(t *testing.T, client *flightsql.Client) {
	plan := flightsql.SubstraitPlan{Plan: []byte("plan"), Version: "version"}
	_, err := client.ExecuteSubstrait(background, plan)
	refused(t, err, "Substrait")
	_, err = client.GetExecuteSubstraitSchema(background, plan)
	refused(t, err, "Substrait")
	_, err = client.ExecuteSubstraitUpdate(background, plan)
	refused(t, err, "Substrait")
	_, err = client.PrepareSubstrait(background, plan)
	refused(t, err, "Substrait")
}

func extensionTransactions(t *testing.T, client *flightsql.Client) {
	_, err := client.BeginTransaction(background)
	refused(t, err, "every statement is one commit")
}

// The older way to cancel, still used by clients.
func extensionCancelQuery(t *testing.T, client *flightsql.Client) {
	info := execute(t, client, "SELECT value FROM generate_series(1, 10)")
	result, err := client.CancelQuery(background, info) //nolint:staticcheck // what the scenario calls
	require.NoError(t, err)
	require.Equal(t, flightsql.CancelResultCancelled, result)
	_, err = client.DoGet(background, info.Endpoint[0].Ticket)
	require.Equal(t, codes.Canceled, status.Code(err))
}

func give(client *flightsql.Client, change func(*flightsql.ExecuteIngestOpts)) (int64, error) {
	kind := fields(field("test_field", arrow.PrimitiveTypes.Int64))
	batch, _, err := array.RecordFromJSON(memory.DefaultAllocator, kind, strings.NewReader(`[{"test_field": 0}, {"test_field": 1}, {"test_field": 2}]`))
	if err != nil {
		return 0, err
	}
	reader, err := array.NewRecordReader(kind, []arrow.RecordBatch{batch})
	if err != nil {
		return 0, err
	}
	wish := &flightsql.ExecuteIngestOpts{
		TableDefinitionOptions: &flightsql.TableDefinitionOptions{
			IfNotExist: flightsql.TableDefinitionOptionsTableNotExistOptionCreate, IfExists: flightsql.TableDefinitionOptionsTableExistsOptionReplace,
		},
		Table: "flight_sql_ingestion", Catalog: &catalog, Schema: &schema,
	}
	change(wish)
	return client.ExecuteIngest(background, reader, wish)
}

func sqlIngestion(t *testing.T, client *flightsql.Client) {
	for range 2 {
		affected, err := give(client, func(*flightsql.ExecuteIngestOpts) {})
		require.NoError(t, err)
		require.EqualValues(t, 3, affected)
	}
	_, err := give(client, func(wish *flightsql.ExecuteIngestOpts) { wish.Temporary = true })
	refused(t, err, "temporary tables are not supported")
	_, err = give(client, func(wish *flightsql.ExecuteIngestOpts) { wish.TransactionId = []byte("123") })
	refused(t, err, "transactions are not supported")
	elsewhere := "elsewhere"
	_, err = give(client, func(wish *flightsql.ExecuteIngestOpts) { wish.Catalog = &elsewhere })
	require.Equal(t, codes.NotFound, status.Code(err))
	require.EqualValues(t, 3, fetch(t, client, execute(t, client, "SELECT * FROM flight_sql_ingestion")).NumRows())
}

// Options that mean something to other servers are not taken silently.
func ingestionOptions(t *testing.T, client *flightsql.Client) {
	_, err := give(client, func(wish *flightsql.ExecuteIngestOpts) { wish.Options = map[string]string{"key1": "val1"} })
	require.ErrorContains(t, err, "key1")
}

// Set, refused by name and by value, told again, taken back, closed; kept by cookie over connections.
func sessionOptions(t *testing.T, _ *flightsql.Client) {
	client := flightClient(t, flight.NewClientCookieMiddleware())
	told := func() map[string]string {
		result, err := client.GetSessionOptions(background, &flight.GetSessionOptionsRequest{})
		require.NoError(t, err)
		found := map[string]string{}
		for name, value := range result.SessionOptions {
			found[name] = value.GetStringValue()
		}
		return found
	}
	set := func(options map[string]any) map[string]string {
		values, err := flight.NewSessionOptionValues(options)
		require.NoError(t, err)
		result, err := client.SetSessionOptions(background, &flight.SetSessionOptionsRequest{SessionOptions: values})
		require.NoError(t, err)
		refused := map[string]string{}
		for name, failure := range result.Errors {
			refused[name] = failure.Value.String()
		}
		return refused
	}
	fresh := told()
	require.Equal(t, "adlake", fresh["catalog"])
	require.Equal(t, "public", fresh["schema"])
	require.Equal(t, map[string]string{
		"no_such_option": "INVALID_NAME", "adlake.max_staleness": "INVALID_VALUE", "catalog": "INVALID_VALUE", "adlake.rewrite": "INVALID_VALUE",
	}, set(map[string]any{
		"no_such_option": "x", "adlake.max_staleness": "soon", "catalog": "nowhere", "adlake.rewrite": []string{"a", "b"},
	}))
	require.Equal(t, fresh, told(), "a refused option changed something")
	require.Equal(t, map[string]string{"adlake.result_endpoints": "INVALID_VALUE"}, set(map[string]any{"adlake.result_endpoints": int64(65)}))
	require.Empty(t, set(map[string]any{"adlake.max_staleness": "5 minutes", "adlake.result_endpoints": int64(4)}))
	require.Equal(t, "5 minutes", told()["adlake.max_staleness"])
	require.Equal(t, "4", told()["adlake.result_endpoints"])
	require.Empty(t, set(map[string]any{"adlake.max_staleness": nil, "adlake.result_endpoints": nil}))
	require.Equal(t, fresh, told())
	require.Empty(t, set(map[string]any{"adlake.max_staleness": "5 minutes"}))
	closed, err := client.CloseSession(background, &flight.CloseSessionRequest{})
	require.NoError(t, err)
	require.Equal(t, flight.CloseSessionResultClosed, closed.Status)
	require.Equal(t, fresh, told(), "a closed session is still there")
}

func doExchange(t *testing.T, client *flightsql.Client) {
	stream, err := client.Client.DoExchange(background)
	require.NoError(t, err)
	// A call that is refused already takes no more: then Send says EOF, and Recv says why.
	descriptor := &flight.FlightDescriptor{Type: flight.DescriptorCMD, Cmd: []byte("echo")}
	if err := stream.Send(&flight.FlightData{FlightDescriptor: descriptor}); err != nil {
		require.ErrorIs(t, err, io.EOF)
	}
	_, err = stream.Recv()
	refused(t, err, "DoExchange")
}

func listFlights(t *testing.T, client *flightsql.Client) {
	stream, err := client.Client.ListFlights(background, &flight.Criteria{})
	require.NoError(t, err)
	_, err = stream.Recv()
	refused(t, err, "CommandGetTables")
}

func unknownAction(t *testing.T, client *flightsql.Client) {
	for _, action := range []*flight.Action{{}, {Type: "Explode", Body: bytes.Repeat([]byte{0xff}, 64)}} {
		stream, err := client.Client.DoAction(background, action)
		require.NoError(t, err)
		_, err = stream.Recv()
		refused(t, err, "ListActions")
	}
}
