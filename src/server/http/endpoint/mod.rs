//! Endpoints: the catalog's `ENDPOINT` objects served at their paths, without restart.
//!
//! ```text
//! catalog version ─► RouteTable (compiled once per version) ─► Endpoint ─► typed parameters ─► SQL + bound values ─► engine
//! ```
//!
//! The table is rebuilt when a request meets a newer catalog version. What a column filter's values are typed as, and what
//! the reply looks like, is asked of the engine once per endpoint and version ([`Facts`]). Static routes win over
//! endpoints; of two endpoints that fit one path the more literal one wins.
//!
//! `arguments` reads a request, `template` makes the SQL, `answer` runs it.

mod answer;
mod arguments;
mod path;
mod range;
mod tag;
mod template;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion::common::ScalarValue;
use parking_lot::RwLock;
use tokio::sync::OnceCell;

pub use answer::serve;
pub use path::{Captured, PathTemplate};
use range::Range;
use template::{Fill, QueryTemplate, filter_placeholder};

use super::problem::Problem;
use super::value;
use crate::base::{Classify, Kind};
use crate::catalog::{Catalog, CatalogSnapshot, CatalogVersion, Definition, EndpointDefinition, EndpointResult};
use crate::query::{Engine, Origin, Session};

/// One endpoint, ready to be asked.
pub struct Endpoint {
    pub name: String,
    pub description: String,
    pub path: PathTemplate,
    pub parameters: Vec<Parameter>,
    pub filters: Vec<String>,
    pub result: EndpointResult,
    query: QueryTemplate,
    facts: OnceCell<Facts>,
}

/// A declared parameter.
pub struct Parameter {
    pub name: String,
    pub data_type: DataType,
    pub in_path: bool,
    pub default: Option<ParameterDefault>,
    pub range: Range,
}

/// What stands for a parameter that was not sent.
pub struct ParameterDefault {
    /// As written in the definition.
    pub text: String,
    /// Put in the query in the parameter's place.
    expression: String,
    /// The value itself when the default is a plain literal: bound like a sent one.
    pub literal: Option<ScalarValue>,
}

/// What the engine knows of an endpoint's query.
#[derive(Clone, Debug)]
pub struct Facts {
    pub schema: SchemaRef,
    /// Types the query expects, by parameter and filter column.
    types: HashMap<String, DataType>,
}

impl Facts {
    /// The type values of a filter column are read as.
    pub fn filter_type(&self, column: &str) -> DataType {
        self.types.get(&filter_key(column)).cloned().unwrap_or(DataType::Utf8)
    }

    /// Types of every bound name, for the engine.
    pub fn declared(&self, endpoint: &Endpoint, arguments: &BTreeMap<String, ScalarValue>) -> Vec<FieldRef> {
        let fields = arguments.iter().map(|(name, value)| {
            let declared = endpoint.parameter(name).map(|parameter| self.parameter_type(parameter));
            Arc::new(Field::new(name, declared.unwrap_or_else(|| value.data_type()), true))
        });
        fields.collect()
    }

    /// The declared type, or the column's own kind of timestamp, which needs no cast when compared.
    fn parameter_type(&self, parameter: &Parameter) -> DataType {
        match (&parameter.data_type, self.types.get(&parameter.name)) {
            (DataType::Timestamp(..), Some(inferred @ DataType::Timestamp(..))) => inferred.clone(),
            (declared, _) => declared.clone(),
        }
    }
}

fn filter_key(column: &str) -> String {
    format!("filter:{column}")
}

impl Endpoint {
    fn compile(name: &str, definition: &EndpointDefinition) -> Result<Self, String> {
        let path = PathTemplate::new(&definition.path);
        let parameters = definition.parameters.iter().map(|parameter| {
            Ok(Parameter {
                name: parameter.name.clone(),
                data_type: parameter.data_type.clone(),
                in_path: path.parameters().any(|name| name == parameter.name),
                default: parameter.default.as_deref().map(|text| ParameterDefault::new(text, &parameter.data_type)),
                range: Range::new(&parameter.range, &parameter.data_type)?,
            })
        });
        Ok(Self {
            name: name.to_owned(),
            description: definition.description.clone(),
            parameters: parameters.collect::<Result<_, String>>()?,
            path,
            filters: definition.filters.clone(),
            result: definition.result,
            query: QueryTemplate::new(&definition.query)?,
            facts: OnceCell::new(),
        })
    }

    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// Asks the engine about the query, once.
    ///
    /// # Errors
    /// The definition no longer fits the tables it reads: the server's fault, not the request's.
    pub async fn facts(&self, engine: &Engine) -> Result<&Facts, Problem> {
        self.facts.get_or_try_init(|| self.ask(engine)).await
    }

    async fn ask(&self, engine: &Engine) -> Result<Facts, Problem> {
        let counts: Vec<(&str, usize)> = self.filters.iter().map(|column| (column.as_str(), 1)).collect();
        let sql = self.query.join(|_| Fill::Bound, &counts);
        let session = Session::new(format!("endpoint {}", self.name), "adlake", Origin::Endpoint);
        let prepared = engine.prepare(&sql, &session).await.map_err(|error| match error.kind() {
            Kind::InvalidArgument | Kind::NotFound => self.broken(&error.public_message()),
            _ => Problem::from(error),
        })?;
        let inferred = |name: &str| {
            let fields = prepared.parameters.fields().iter();
            let field = fields.clone().find(|field| field.name().trim_start_matches('$') == name);
            field.map(|field| field.data_type().clone()).filter(|data_type| *data_type != DataType::Null)
        };
        let mut types = HashMap::new();
        for parameter in &self.parameters {
            types.extend(inferred(&parameter.name).map(|data_type| (parameter.name.clone(), data_type)));
        }
        for (index, column) in self.filters.iter().enumerate() {
            types.extend(inferred(&filter_placeholder(index, 0)).map(|data_type| (filter_key(column), data_type)));
        }
        Ok(Facts { schema: prepared.schema, types })
    }

    /// The definition cannot be run as things stand now.
    pub fn broken(&self, reason: &str) -> Problem {
        Problem::new(Kind::Internal, format!("endpoint '{}' cannot be run: {reason}; create it again", self.name))
    }
}

impl ParameterDefault {
    fn new(text: &str, data_type: &DataType) -> Self {
        let trimmed = text.trim();
        let unquoted = trimmed.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        let plain = match unquoted {
            Some(inside) if !inside.contains('\'') => Some(inside),
            Some(_) => None,
            None => Some(trimmed).filter(|_| !data_type.is_string()),
        };
        Self {
            text: text.to_owned(),
            expression: format!("CAST(({text}) AS {})", super::sql_type::name(data_type)),
            literal: plain.and_then(|plain| value::parse(plain, data_type).ok()),
        }
    }
}

/// All endpoints of one catalog version.
pub struct RouteTable {
    version: CatalogVersion,
    /// More literal paths first.
    endpoints: Vec<Arc<Endpoint>>,
}

impl RouteTable {
    fn compile(snapshot: &CatalogSnapshot) -> Self {
        let mut endpoints = Vec::new();
        for (name, object) in &snapshot.endpoints {
            let Definition::Endpoint(definition) = &object.definition else { continue };
            match Endpoint::compile(name, definition) {
                Ok(endpoint) => endpoints.push(Arc::new(endpoint)),
                Err(reason) => tracing::error!(endpoint = %name, reason, "endpoint cannot be served"),
            }
        }
        endpoints.sort_by_key(|endpoint| endpoint.path.rank());
        Self { version: snapshot.version, endpoints }
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.iter()
    }

    /// The endpoint at `path` with its decoded path values.
    pub fn find<'a>(&'a self, path: &str) -> Option<(&'a Arc<Endpoint>, Captured<'a>)> {
        self.endpoints.iter().find_map(|endpoint| Some((endpoint, endpoint.path.capture(path)?)))
    }
}

/// The newest route table.
#[derive(Default)]
pub struct Endpoints(RwLock<Option<Arc<RouteTable>>>);

impl Endpoints {
    /// The table of the catalog's present version, compiled when that is new.
    pub fn table(&self, catalog: &Catalog) -> Arc<RouteTable> {
        let snapshot = catalog.snapshot();
        if let Some(table) = self.0.read().as_ref().filter(|table| table.version == snapshot.version) {
            return table.clone();
        }
        let table = Arc::new(RouteTable::compile(&snapshot));
        let mut slot = self.0.write();
        match slot.as_ref() {
            // Another request was faster, or has met a newer version.
            Some(present) if present.version >= table.version => present.clone(),
            _ => {
                *slot = Some(table.clone());
                table
            }
        }
    }
}
