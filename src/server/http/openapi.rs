//! `/openapi.json`: OpenAPI 3.1 of the static routes and of every endpoint, as the catalog has them now.
//!
//! Built per request: the engine is asked about an endpoint's columns once per catalog version, the rest is cheap.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use axum::Json;
use axum::extract::{Request, State};
use serde_json::{Value, json};
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, ParameterStyle,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{
    ComponentsBuilder, Content, ContentBuilder, InfoBuilder, License, OpenApi, OpenApiBuilder, PathItem, PathsBuilder,
    Ref, RefOr, Required, Response, ResponseBuilder, ResponsesBuilder, Schema,
};

use super::Shared;
use super::accept::Format;
use super::endpoint::{Endpoint, Facts};
use super::problem::{PROBLEM_JSON, Problem};
use super::{gate, rows, sql_type, staleness, value};
use crate::catalog::EndpointResult;

const PROBLEM: &str = "Problem";

pub async fn document(State(shared): State<Arc<Shared>>, request: Request) -> Result<Json<OpenApi>, Problem> {
    let access = gate::access(&shared, &request.into_parts().0)?;
    let may_call = |name: &str| access.as_ref().is_none_or(|access| access.may_call(name));
    let table = shared.endpoints.table(&shared.parts.catalog);
    let mut paths = PathsBuilder::new()
        .path("/v1/sql", PathItem::new(HttpMethod::Post, sql()))
        .path("/v1/tables/{table}/rows", PathItem::new(HttpMethod::Post, append_rows()))
        .path("/healthz", PathItem::new(HttpMethod::Get, plain("healthz", "The process lives", "application/json")))
        .path(
            "/readyz",
            PathItem::new(HttpMethod::Get, plain("readyz", "Statements can be answered", "application/json")),
        )
        .path("/metrics", PathItem::new(HttpMethod::Get, plain("metrics", "Metrics", "application/openmetrics-text")));
    for endpoint in table.all().filter(|endpoint| may_call(&endpoint.name)) {
        // An endpoint whose tables are gone is still described, without columns.
        let facts = endpoint.facts(&shared.parts.engine).await.ok();
        paths = paths.path(&**endpoint.path.text(), PathItem::new(HttpMethod::Get, operation(endpoint, facts)));
    }
    let mut license = License::new("Apache-2.0");
    license.identifier = Some("Apache-2.0".to_owned());
    let info = InfoBuilder::new()
        .title("adlake")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("SQL, rows in, and the endpoints defined in SQL. Errors are RFC 9457 problem details."))
        .license(Some(license));
    let components = ComponentsBuilder::new().schema(PROBLEM, problem_schema());
    let document = OpenApiBuilder::new().info(info.build()).paths(paths).components(Some(components.build()));
    Ok(Json(document.build()))
}

fn operation(endpoint: &Endpoint, facts: Option<&Facts>) -> Operation {
    let summary = endpoint.description.lines().next().filter(|line| !line.is_empty()).unwrap_or(&endpoint.name);
    let mut operation = OperationBuilder::new()
        .operation_id(Some(endpoint.name.as_str()))
        .tag("endpoints")
        .summary(Some(summary))
        .description(Some(endpoint.description.as_str()).filter(|text| !text.is_empty()));
    for parameter in &endpoint.parameters {
        operation = operation.parameter(declared(parameter));
    }
    if !endpoint.filters.is_empty() {
        operation = operation.parameter(filter(&endpoint.filters));
    }
    operation = operation.parameter(max_staleness());
    let row = facts.map_or_else(|| ObjectBuilder::new().into(), |facts| row_schema(&facts.schema));
    let (schema, forms): (Schema, &[Format]) = match endpoint.result {
        EndpointResult::Object => (row, &[Format::Json]),
        EndpointResult::Rows => {
            let rows = ArrayBuilder::new().items(RefOr::T(row));
            (ObjectBuilder::new().property("rows", rows).required("rows").into(), &Format::ALL)
        }
    };
    let mut ok = ResponseBuilder::new().description("The answer; the header adlake-data-as-of says how fresh it is");
    for form in forms {
        ok = ok.content(form.media_type(), form_content(*form, &schema));
    }
    operation.responses(ResponsesBuilder::new().response("200", ok).response("default", problem_response())).build()
}

fn declared(parameter: &super::endpoint::Parameter) -> Parameter {
    let mut description = value::accepted(&parameter.data_type);
    let (least, most) = parameter.range.numbers();
    let mut schema = type_schema(&parameter.data_type, SchemaType::new).minimum(least).maximum(most);
    if let Some(range) = parameter.range.text() {
        description = format!("a number {range}");
    }
    if let Some(default) = &parameter.default {
        description.push_str(&format!("; default: {}", default.text));
        if let (Some(_), Some(value)) = (&default.literal, literal(&default.text, &parameter.data_type)) {
            schema = schema.default(Some(value));
        }
    }
    let required = if parameter.in_path || parameter.default.is_none() { Required::True } else { Required::False };
    ParameterBuilder::new()
        .name(&parameter.name)
        .parameter_in(if parameter.in_path { ParameterIn::Path } else { ParameterIn::Query })
        .required(required)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// A literal default as JSON of the parameter's schema type.
fn literal(text: &str, data_type: &DataType) -> Option<Value> {
    let plain = text.trim().trim_matches('\'');
    match type_of(data_type) {
        Type::Integer | Type::Number | Type::Boolean => serde_json::from_str(&plain.to_ascii_lowercase()).ok(),
        _ => Some(json!(plain)),
    }
}

fn filter(columns: &[String]) -> Parameter {
    let pattern = format!("^({}):", columns.join("|"));
    let item = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    ParameterBuilder::new()
        .name("filter")
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(format!(
            "column:value, repeatable; values of one column are alternatives, different columns are all required. \
             Columns: {}",
            columns.join(", ")
        )))
        .style(Some(ParameterStyle::Form))
        .explode(Some(true))
        .schema(Some(ArrayBuilder::new().items(RefOr::T(Schema::from(item)))))
        .build()
}

fn sql() -> Operation {
    let body = ObjectBuilder::new()
        .property("sql", ObjectBuilder::new().schema_type(Type::String).description(Some("one statement")))
        .property(
            "params",
            ObjectBuilder::new()
                .schema_type(SchemaType::from_iter([Type::Array, Type::Object, Type::Null]))
                .description(Some("an array for $1, $2 …, an object for $name; times are strings")),
        )
        .required("sql")
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    let mut ok = ResponseBuilder::new().description(
        "The rows in the form asked for by Accept. An error after the first row ends NDJSON with a line {\"error\": problem} \
         and breaks the transfer off in the other forms",
    );
    let json = sql_answer();
    for form in Format::ALL {
        ok = ok.content(form.media_type(), form_content(form, &json));
    }
    OperationBuilder::new()
        .operation_id(Some("sql"))
        .tag("sql")
        .summary(Some("Run one SQL statement"))
        .parameter(max_staleness())
        .request_body(Some(
            RequestBodyBuilder::new()
                .required(Some(Required::True))
                .content("application/json", Content::new(Some(Schema::from(body))))
                .build(),
        ))
        .responses(ResponsesBuilder::new().response("200", ok).response("default", problem_response()))
        .build()
}

/// A query's rows, or what a statement changed.
fn sql_answer() -> Schema {
    let column = ObjectBuilder::new()
        .property("name", ObjectBuilder::new().schema_type(Type::String))
        .property("type", ObjectBuilder::new().schema_type(Type::String))
        .required("name")
        .required("type");
    let rows = ArrayBuilder::new().items(RefOr::T(Schema::from(ArrayBuilder::new().items(any()))));
    let table = ObjectBuilder::new()
        .property("query_id", ObjectBuilder::new().schema_type(Type::String))
        .property("data_as_of", string(KnownFormat::DateTime))
        .property("columns", ArrayBuilder::new().items(RefOr::T(Schema::from(column))))
        .property("rows", rows)
        .required("columns")
        .required("rows");
    let done = ObjectBuilder::new()
        .property("rows", nullable(Type::Integer))
        .property("message", ObjectBuilder::new().schema_type(Type::String))
        .property("query_id", ObjectBuilder::new().schema_type(Type::String))
        .property("data_as_of", string(KnownFormat::DateTime))
        .required("rows")
        .required("message");
    OneOfBuilder::new().item(Schema::from(table)).item(Schema::from(done)).into()
}

fn append_rows() -> Operation {
    let row: Schema = ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(true))).into();
    let array = ArrayBuilder::new().items(RefOr::T(row.clone()));
    let one_or_many = OneOfBuilder::new().item(Schema::from(array)).item(row.clone());
    let body = RequestBodyBuilder::new()
        .description(Some("Content-Encoding gzip and zstd are understood"))
        .required(Some(Required::True))
        .content("application/x-ndjson", Content::new(Some(row)))
        .content("application/json", Content::new(Some(Schema::from(one_or_many))))
        .build();
    let table = ParameterBuilder::new()
        .name("table")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)));
    let wishes = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["reject", "fail"]));
    let on_bad_row = optional(ParameterIn::Query, rows::ON_BAD_ROW, wishes).description(Some(
        "reject: a bad row is left out; fail: it refuses the request. Without it, as the table says",
    ));
    let id = optional(ParameterIn::Header, "Adlake-Producer-Id", ObjectBuilder::new().schema_type(Type::String))
        .description(Some("the sender of numbered requests: 1 to 128 printable ASCII characters"));
    let sequence = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(0));
    let sequence = optional(ParameterIn::Header, "Adlake-Sequence", sequence).description(Some(
        "grows by one with every request of the producer; a repeated one gets the first one's answer",
    ));
    let ok = ResponseBuilder::new()
        .description("What became of the rows; the accepted ones are committed")
        .content("application/json", Content::new(Some(rows_report())));
    let elsewhere = ResponseBuilder::new().description("Another process takes this table's rows; Location says which");
    OperationBuilder::new()
        .operation_id(Some("append_rows"))
        .tag("rows")
        .summary(Some("Append rows to a table; committed before the reply"))
        .parameter(table)
        .parameter(on_bad_row)
        .parameter(id)
        .parameter(sequence)
        .request_body(Some(body))
        .responses(
            ResponsesBuilder::new()
                .response("200", ok)
                .response("307", elsewhere)
                .response("default", problem_response()),
        )
        .build()
}

fn optional(place: ParameterIn, name: &str, schema: ObjectBuilder) -> ParameterBuilder {
    ParameterBuilder::new().name(name).parameter_in(place).required(Required::False).schema(Some(schema))
}

fn max_staleness() -> ParameterBuilder {
    let text = ObjectBuilder::new().schema_type(Type::String);
    optional(ParameterIn::Header, staleness::MAX_STALENESS.as_str(), text).description(Some(
        "how old rows of materialized views may be, such as '5 minutes'; without it they are as new as the tables. The \
         reply's adlake-data-as-of says how old they are",
    ))
}

fn rows_report() -> Schema {
    let rejected = ObjectBuilder::new()
        .property("line", ObjectBuilder::new().schema_type(Type::Integer))
        .property("field", nullable(Type::String))
        .property("reason", ObjectBuilder::new().schema_type(Type::String))
        .required("line")
        .required("reason");
    let report = ObjectBuilder::new()
        .property("accepted", ObjectBuilder::new().schema_type(Type::Integer))
        .property("duplicates", ObjectBuilder::new().schema_type(Type::Integer))
        .property("rejected", ArrayBuilder::new().items(RefOr::T(Schema::from(rejected))))
        .property("version", ObjectBuilder::new().schema_type(Type::Integer))
        .property("replayed", ObjectBuilder::new().schema_type(Type::Boolean));
    let names = ["accepted", "duplicates", "rejected", "version", "replayed"];
    names.into_iter().fold(report, ObjectBuilder::required).into()
}

fn plain(id: &str, summary: &str, media_type: &str) -> Operation {
    let kind = if media_type == "application/json" { Type::Object } else { Type::String };
    let content = Content::new(Some(Schema::from(ObjectBuilder::new().schema_type(kind))));
    let ok = ResponseBuilder::new().description(summary).content(media_type, content);
    OperationBuilder::new()
        .operation_id(Some(id))
        .tag("operation")
        .summary(Some(summary))
        .responses(ResponsesBuilder::new().response("200", ok).response("default", problem_response()))
        .build()
}

fn form_content(form: Format, schema: &Schema) -> Content {
    match form {
        Format::Json => Content::new(Some(schema.clone())),
        Format::Ndjson | Format::Csv => {
            Content::new(Some(Schema::from(ObjectBuilder::new().schema_type(Type::String))))
        }
        Format::Arrow => ContentBuilder::new().build(),
    }
}

fn row_schema(schema: &SchemaRef) -> Schema {
    let row = schema.fields().iter().fold(ObjectBuilder::new(), |row, field| {
        let kind = |kind| SchemaType::from_iter([kind, Type::Null]);
        let column = match field.data_type() {
            DataType::List(item) | DataType::LargeList(item) => Schema::from(
                ArrayBuilder::new()
                    .schema_type(kind(Type::Array))
                    .items(RefOr::T(Schema::from(type_schema(item.data_type(), kind)))),
            ),
            data_type => type_schema(data_type, kind).description(Some(sql_type::name(data_type))).into(),
        };
        row.property(field.name(), RefOr::T(column)).required(field.name())
    });
    row.into()
}

fn type_schema(data_type: &DataType, schema_type: impl Fn(Type) -> SchemaType) -> ObjectBuilder {
    let format = match data_type {
        DataType::Int64 | DataType::UInt64 => Some(KnownFormat::Int64),
        DataType::Int32 | DataType::UInt32 => Some(KnownFormat::Int32),
        DataType::Float64 => Some(KnownFormat::Double),
        DataType::Float32 => Some(KnownFormat::Float),
        DataType::Date32 | DataType::Date64 => Some(KnownFormat::Date),
        _ => None,
    };
    ObjectBuilder::new().schema_type(schema_type(type_of(data_type))).format(format.map(SchemaFormat::KnownFormat))
}

fn type_of(data_type: &DataType) -> Type {
    match data_type {
        DataType::Boolean => Type::Boolean,
        data_type if data_type.is_integer() => Type::Integer,
        data_type if data_type.is_numeric() => Type::Number,
        DataType::Struct(_) | DataType::Map(..) => Type::Object,
        DataType::Dictionary(_, value) => type_of(value),
        _ => Type::String,
    }
}

fn string(format: KnownFormat) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(format)))
}

fn uri() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom("uri".to_owned())))
}

fn nullable(kind: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([kind, Type::Null]))
}

fn any() -> RefOr<Schema> {
    RefOr::T(ObjectBuilder::new().schema_type(SchemaType::AnyValue).into())
}

fn problem_response() -> Response {
    let content = Content::new(Some(Ref::from_schema_name(PROBLEM)));
    ResponseBuilder::new().description("What went wrong (RFC 9457)").content(PROBLEM_JSON, content).build()
}

fn problem_schema() -> Schema {
    let place = ObjectBuilder::new()
        .property("line", ObjectBuilder::new().schema_type(Type::Integer))
        .property("column", ObjectBuilder::new().schema_type(Type::Integer));
    let problem = ObjectBuilder::new()
        .property("type", uri())
        .property("title", ObjectBuilder::new().schema_type(Type::String))
        .property("status", ObjectBuilder::new().schema_type(Type::Integer))
        .property("detail", ObjectBuilder::new().schema_type(Type::String))
        .property("kind", ObjectBuilder::new().schema_type(Type::String))
        .property("parameter", ObjectBuilder::new().schema_type(Type::String))
        .property("position", place)
        .property("instance", uri())
        .property("request_id", ObjectBuilder::new().schema_type(Type::String));
    let required = ["type", "title", "status", "detail", "kind", "instance", "request_id"];
    required.into_iter().fold(problem, ObjectBuilder::required).into()
}
