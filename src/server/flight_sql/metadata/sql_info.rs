//! `CommandGetSqlInfo`: what this server is and can do, by the numbers of `FlightSql.proto`.
//!
//! Every number of the protocol is answered, because drivers ask for all and some fail on a missing one. Limits that do not
//! exist are 0, as ODBC and JDBC want.

use super::super::error::internal;
use super::{Table, built};
use arrow::array::{Array, AsArray, RecordBatch, UnionArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, UnionFields};
use arrow::error::ArrowError;
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{
    CommandGetSqlInfo, SqlInfo, SqlNullOrdering as NullOrdering, SqlSupportedCaseSensitivity,
    SqlSupportedResultSetConcurrency, SqlSupportedResultSetType, SqlSupportsConvert, SqlTransactionIsolationLevel,
};
use datafusion::functions;
use datafusion::logical_expr::ScalarUDF;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;

/// Words of ours beside those of SQL:2003.
const KEYWORDS: [&str; 27] = [
    "ANALYZE",
    "ASC",
    "COPY",
    "DESC",
    "ENDPOINT",
    "ENDPOINTS",
    "EXPLAIN",
    "ILIKE",
    "KILL",
    "LIMIT",
    "MATERIALIZED",
    "OFFSET",
    "OPTIMIZE",
    "QUALIFY",
    "REFRESH",
    "REPLACE",
    "REPLAY",
    "RESET",
    "SHOW",
    "STRUCT",
    "TABLES",
    "TRY_CAST",
    "VACUUM",
    "VERBOSE",
    "VERIFY",
    "VIEW",
    "VIEWS",
];
const SYSTEM_FUNCTIONS: [&str; 2] = ["version", "arrow_typeof"];

/// A set of the ordinals `bits` as the protocol's bit mask.
fn mask(bits: &[i32]) -> i32 {
    bits.iter().fold(0, |mask, bit| mask | 1 << bit)
}

fn names(functions: Vec<Arc<ScalarUDF>>) -> Vec<String> {
    let mut names: Vec<String> = functions.iter().map(|function| function.name().to_owned()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The whole table. `statement_idle`: how long an unused prepared statement is kept; `sql_bytes_max`: longest statement.
pub(in crate::server::flight_sql) fn sql_info(statement_idle: Duration) -> Result<SqlInfoData, Status> {
    let mut builder = SqlInfoDataBuilder::new();
    server(&mut builder, statement_idle);
    words(&mut builder);
    grammar(&mut builder);
    limits(&mut builder);
    transactions(&mut builder);
    results(&mut builder);
    builder.build().map_err(|error| internal(format!("cannot build server information: {error}")))
}

/// The rows of the numbers asked for, all where none is. In the protocol no member of the union may be null, which clients
/// compare; arrow-flight's builder says that lists and maps may.
pub(in crate::server::flight_sql) fn sql_info_rows(
    info: &SqlInfoData,
    command: CommandGetSqlInfo,
) -> Result<Table, Status> {
    let asked = command.into_builder(info).build();
    built(asked.and_then(|batch| as_in_protocol(&batch).map_err(FlightError::from)))
}

fn as_in_protocol(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (fields, type_ids, offsets, children) = batch.column(1).as_union().clone().into_parts();
    let never_null = |field: &FieldRef| Arc::new(field.as_ref().clone().with_nullable(false));
    let fields: UnionFields = fields.iter().map(|(id, field)| (id, never_null(field))).collect();
    let values = UnionArray::try_new(fields, type_ids, offsets, children)?;
    let schema = Schema::new(vec![
        Field::new("info_name", DataType::UInt32, false),
        Field::new("value", values.data_type().clone(), false),
    ]);
    RecordBatch::try_new(Arc::new(schema), vec![batch.column(0).clone(), Arc::new(values)])
}

fn server(builder: &mut SqlInfoDataBuilder, statement_idle: Duration) {
    use SqlInfo::*;
    let idle_ms = i32::try_from(statement_idle.as_millis()).unwrap_or(i32::MAX);
    builder.append(FlightSqlServerName, "adlake");
    builder.append(FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    builder.append(FlightSqlServerArrowVersion, arrow::ARROW_VERSION);
    builder.append(FlightSqlServerReadOnly, false);
    builder.append(FlightSqlServerSql, true);
    builder.append(FlightSqlServerSubstrait, false);
    builder.append(FlightSqlServerSubstraitMinVersion, "");
    builder.append(FlightSqlServerSubstraitMaxVersion, "");
    builder.append(FlightSqlServerTransaction, 0);
    builder.append(FlightSqlServerCancel, true);
    builder.append(FlightSqlServerBulkIngestion, true);
    builder.append(FlightSqlServerIngestTransactionsSupported, false);
    builder.append(FlightSqlServerStatementTimeout, idle_ms);
    builder.append(FlightSqlServerTransactionTimeout, 0);
    builder.append(SqlDdlCatalog, false);
    builder.append(SqlDdlSchema, false);
    builder.append(SqlDdlTable, true);
}

fn words(builder: &mut SqlInfoDataBuilder) {
    use SqlInfo::*;
    let text_functions =
        [functions::string::functions(), functions::unicode::functions(), functions::regex::functions()];
    builder.append(SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32);
    builder.append(SqlIdentifierQuoteChar, "\"");
    builder.append(SqlQuotedIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityUnknown as i32);
    builder.append(SqlAllTablesAreSelectable, true);
    builder.append(SqlNullOrdering, NullOrdering::SqlNullsSortedHigh as i32);
    builder.append(SqlKeywords, &KEYWORDS[..]);
    builder.append(SqlNumericFunctions, names(functions::math::functions()));
    builder.append(SqlStringFunctions, names(text_functions.concat()));
    builder.append(SqlSystemFunctions, &SYSTEM_FUNCTIONS[..]);
    builder.append(SqlDatetimeFunctions, names(functions::datetime::functions()));
    builder.append(SqlSearchStringEscape, "\\");
    builder.append(SqlExtraNameCharacters, "");
    builder.append(SqlSchemaTerm, "schema");
    builder.append(SqlProcedureTerm, "procedure");
    builder.append(SqlCatalogTerm, "catalog");
    builder.append(SqlCatalogAtStart, true);
}

/// What CAST does, per type: everything it does to and from text, and numbers among themselves.
fn conversions() -> BTreeMap<i32, Vec<i32>> {
    use SqlSupportsConvert::*;
    let text = [SqlConvertVarchar as i32, SqlConvertChar as i32, SqlConvertLongvarchar as i32];
    let numbers = [
        SqlConvertBigint,
        SqlConvertDecimal,
        SqlConvertFloat,
        SqlConvertInteger,
        SqlConvertNumeric,
        SqlConvertReal,
        SqlConvertSmallint,
        SqlConvertTinyint,
        SqlConvertBit,
    ]
    .map(|number| number as i32);
    let times = [SqlConvertDate as i32, SqlConvertTimestamp as i32];
    let with_text = |others: &[i32]| text.iter().chain(others).copied().collect::<Vec<_>>();
    let mut map = BTreeMap::new();
    for kind in text {
        map.insert(kind, with_text(&[&numbers[..], &times[..]].concat()));
    }
    for kind in numbers {
        map.insert(kind, with_text(&numbers));
    }
    for kind in times {
        map.insert(kind, with_text(&times));
    }
    map
}

fn grammar(builder: &mut SqlInfoDataBuilder) {
    use SqlInfo::*;
    builder.append(SqlSupportsColumnAliasing, true);
    builder.append(SqlNullPlusNullIsNull, true);
    builder.append(SqlSupportsConvert, conversions());
    builder.append(SqlSupportsTableCorrelationNames, true);
    builder.append(SqlSupportsDifferentTableCorrelationNames, false);
    builder.append(SqlSupportsExpressionsInOrderBy, true);
    builder.append(SqlSupportsOrderByUnrelated, true);
    builder.append(SqlSupportedGroupBy, mask(&[0, 1]));
    builder.append(SqlSupportsLikeEscapeClause, true);
    builder.append(SqlSupportsNonNullableColumns, true);
    builder.append(SqlSupportedGrammar, mask(&[0, 1]));
    builder.append(SqlAnsi92SupportedLevel, mask(&[0]));
    builder.append(SqlSupportsIntegrityEnhancementFacility, false);
    builder.append(SqlOuterJoinsSupportLevel, mask(&[1, 2]));
    // Schemas in SELECT and INSERT (0), catalogs likewise.
    builder.append(SqlSchemasSupportedActions, mask(&[0]));
    builder.append(SqlCatalogsSupportedActions, mask(&[0]));
    builder.append(SqlSupportedPositionedCommands, 0);
    builder.append(SqlSelectForUpdateSupported, false);
    builder.append(SqlStoredProceduresSupported, false);
    builder.append(SqlSupportedSubqueries, mask(&[0, 1, 2]));
    builder.append(SqlCorrelatedSubqueriesSupported, true);
    builder.append(SqlSupportedUnions, mask(&[0, 1]));
    builder.append(SqlNamedParametersSupported, false);
    builder.append(SqlStoredFunctionsUsingCallSyntaxSupported, false);
}

fn limits(builder: &mut SqlInfoDataBuilder) {
    use SqlInfo::*;
    let unlimited = [
        SqlMaxBinaryLiteralLength,
        SqlMaxCharLiteralLength,
        SqlMaxColumnNameLength,
        SqlMaxColumnsInGroupBy,
        SqlMaxColumnsInIndex,
        SqlMaxColumnsInOrderBy,
        SqlMaxColumnsInSelect,
        SqlMaxColumnsInTable,
        SqlMaxConnections,
        SqlMaxCursorNameLength,
        SqlMaxIndexLength,
        SqlDbSchemaNameLength,
        SqlMaxProcedureNameLength,
        SqlMaxCatalogNameLength,
        SqlMaxRowSize,
        SqlMaxStatementLength,
        SqlMaxStatements,
        SqlMaxTableNameLength,
        SqlMaxTablesInSelect,
        SqlMaxUsernameLength,
    ];
    for name in unlimited {
        builder.append(name, 0_i64);
    }
    builder.append(SqlMaxRowSizeIncludesBlobs, true);
}

fn transactions(builder: &mut SqlInfoDataBuilder) {
    use SqlInfo::*;
    let none = SqlTransactionIsolationLevel::SqlTransactionNone as i32;
    // JDBC reads this one as a 64-bit number.
    builder.append(SqlDefaultTransactionIsolation, i64::from(none));
    builder.append(SqlTransactionsSupported, false);
    builder.append(SqlSupportedTransactionsIsolationLevels, mask(&[none]));
    builder.append(SqlDataDefinitionCausesTransactionCommit, true);
    builder.append(SqlDataDefinitionsInTransactionsIgnored, false);
    builder.append(SqlSavepointsSupported, false);
}

fn results(builder: &mut SqlInfoDataBuilder) {
    use SqlInfo::*;
    let forward_only = SqlSupportedResultSetType::SqlResultSetTypeForwardOnly as i32;
    let read_only = SqlSupportedResultSetConcurrency::SqlResultSetConcurrencyReadOnly as i32;
    builder.append(SqlSupportedResultSetTypes, mask(&[forward_only]));
    builder.append(SqlSupportedConcurrenciesForResultSetUnspecified, 0);
    builder.append(SqlSupportedConcurrenciesForResultSetForwardOnly, mask(&[read_only]));
    builder.append(SqlSupportedConcurrenciesForResultSetScrollSensitive, 0);
    builder.append(SqlSupportedConcurrenciesForResultSetScrollInsensitive, 0);
    builder.append(SqlBatchUpdatesSupported, true);
    builder.append(SqlLocatorsUpdateCopy, false);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_protocol_is_answered() {
        let info = sql_info(Duration::from_secs(3600)).unwrap();
        assert_eq!(info.record_batch([]).unwrap().num_rows(), 12 + 2 + 77);
        assert_eq!(info.record_batch([0]).unwrap().num_rows(), 1);
    }

    #[test]
    fn no_member_of_the_union_is_nullable() {
        let info = sql_info(Duration::from_secs(3600)).unwrap();
        let asked = vec![SqlInfo::SqlKeywords as u32, SqlInfo::SqlSupportsConvert as u32];
        let table = sql_info_rows(&info, CommandGetSqlInfo { info: asked }).unwrap();
        let batch = table.batch.unwrap();
        assert_eq!((batch.num_rows(), batch.schema()), (2, table.schema.clone()));
        let DataType::Union(members, _) = table.schema.field(1).data_type() else { panic!("not a union") };
        assert_eq!(members.iter().filter(|(_, member)| member.is_nullable()).count(), 0);
        assert_eq!(members.len(), 6);
        // Their items are, as in the reference.
        let DataType::List(item) = members.iter().nth(4).unwrap().1.data_type() else { panic!("not a list") };
        assert!(item.is_nullable());
        let words = batch.column(1).as_union().value(0);
        assert_eq!(words.as_list::<i32>().value(0).as_string::<i32>().value(0), KEYWORDS[0]);
    }
}
