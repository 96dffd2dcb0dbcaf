//! Aggregates of a plan in normal form.
//!
//! Flow of [`question`]: projections, aliases and filters below the aggregate are looked through down to one table scan, each
//! column being replaced by the expression below it, so that a query over an inlined view and one over its table look alike.
//! An aggregate below is looked through likewise ([`super::groups`]).

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DataFusionError, ScalarValue, TableReference};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    Aggregate, Between, BinaryExpr, Expr, ExprSchemable, Join, LogicalPlan, TableScan, Volatility,
};

use super::groups::{Above, Groups, aggregate_below, is_of_aggregates, is_of_values, of_rows};
use super::question::{Call, Function, Question, Unfit};
use super::sketch::Sketch;
use super::time::{cut_once, is_whole_micros};

const PUBLIC: &str = "public";

/// The normal form of an aggregate.
///
/// # Errors
/// Why it has none.
pub fn question(aggregate: &Aggregate) -> Result<Question, Unfit> {
    asked(aggregate, Rows::of(&aggregate.input)?)
}

fn asked(aggregate: &Aggregate, input: Rows<'_>) -> Result<Question, Unfit> {
    let mut keys: Vec<Expr> = Vec::with_capacity(aggregate.group_expr.len());
    for (expr, field) in aggregate.group_expr.iter().zip(aggregate.schema.fields()) {
        if matches!(expr, Expr::GroupingSet(_)) {
            return Err(Unfit::GroupingSets);
        }
        let key = input.express(expr)?;
        if is_of_aggregates(&key) {
            return Err(Unfit::Groups("groups are made by its answers".to_owned()));
        }
        if key_fitness(field.data_type()) == Fitness::Float {
            return Err(Unfit::FloatKey(expr.to_string()));
        }
        if !is_storable_key(&key, field.data_type(), input.base) || keys.contains(&key) {
            return Err(Unfit::Key(expr.to_string()));
        }
        keys.push(key);
    }
    let answers = aggregate.schema.fields().iter().skip(keys.len());
    let has_keys = !keys.is_empty();
    let calls = aggregate.aggr_expr.iter().zip(answers);
    let calls = calls.map(|(expr, answer)| call(expr, answer.data_type(), has_keys, &input));
    Ok(Question {
        calls: calls.collect::<Result<_, _>>()?,
        fields: aggregate.schema.iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone())).collect(),
        source: input.source,
        filters: input.filters,
        keys,
    })
}

/// The aggregates of a plan, outermost first; those inside subquery expressions are not looked for.
pub fn aggregates(plan: &LogicalPlan) -> Vec<&Aggregate> {
    let mut found = Vec::new();
    let mut open = vec![plan];
    while let Some(node) = open.pop() {
        if let LogicalPlan::Aggregate(aggregate) = node {
            found.push(aggregate);
        }
        open.extend(node.inputs().into_iter().rev());
    }
    found
}

/// The plan with `by` in the place of `target` (wherever it stands), and the schemas above it worked out again.
///
/// # Errors
/// The columns of `by` do not fit what is above.
pub fn replace(plan: LogicalPlan, target: &Aggregate, by: &LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let replaced = plan.transform_down(|node| match &node {
        LogicalPlan::Aggregate(aggregate) if aggregate == target => {
            Ok(Transformed::new(by.clone(), true, TreeNodeRecursion::Jump))
        }
        _ => Ok(Transformed::no(node)),
    })?;
    if !replaced.transformed {
        return Ok(replaced.data);
    }
    replaced.data.transform_up(|node| node.recompute_schema().map(Transformed::yes)).map(|whole| whole.data)
}

/// What is below an aggregate: the rows of one table that pass the filters, and each column over the table's own; or groups of
/// such rows.
pub(super) struct Rows<'a> {
    pub(super) source: String,
    pub(super) filters: Vec<Expr>,
    pub(super) columns: Vec<Expr>,
    pub(super) schema: &'a DFSchema,
    /// The table's own columns.
    pub(super) base: &'a DFSchema,
    pub(super) groups: Option<Groups>,
}

/// What the rows of a join are taken for.
pub(super) type OfJoin<'a, 'f> = dyn FnMut(&'a Join) -> Result<Rows<'a>, Unfit> + 'f;

impl<'a> Rows<'a> {
    fn of(plan: &'a LogicalPlan) -> Result<Self, Unfit> {
        Self::over(plan, &mut |_| Err(several_tables(plan)))
    }

    /// The rows of a table, or of a join as `of_join` takes it.
    pub(super) fn over(plan: &'a LogicalPlan, of_join: &mut OfJoin<'a, '_>) -> Result<Self, Unfit> {
        let nested = |what| Err(Unfit::Nested(what));
        match plan {
            LogicalPlan::TableScan(scan) => Self::scan(scan),
            LogicalPlan::SubqueryAlias(alias) => {
                Ok(Self { schema: &alias.schema, ..Self::over(&alias.input, of_join)? })
            }
            LogicalPlan::Projection(projection) => {
                let below = Self::over(&projection.input, of_join)?;
                let columns = projection.expr.iter().map(|expr| below.express(expr)).collect::<Result<_, _>>()?;
                Ok(Self { columns, schema: &projection.schema, ..below })
            }
            LogicalPlan::Filter(filter) => {
                let mut below = Self::over(&filter.input, of_join)?;
                let conjuncts = conjuncts(below.express(&filter.predicate)?);
                if conjuncts.iter().any(is_of_aggregates) {
                    return Err(Unfit::Groups("groups are chosen by its answers (HAVING)".to_owned()));
                }
                below.keep(conjuncts);
                Ok(below)
            }
            LogicalPlan::Join(join) => of_join(join),
            LogicalPlan::Union(_) => Err(several_tables(plan)),
            LogicalPlan::Aggregate(aggregate) => Self::groups(aggregate),
            LogicalPlan::Distinct(_) => nested("DISTINCT rows"),
            LogicalPlan::Window(_) => nested("a window function"),
            LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => Err(Unfit::Limit),
            LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => nested("constants"),
            _ => nested("something made of it"),
        }
    }

    /// Only those that pass these filters too.
    pub(super) fn keep(&mut self, conjuncts: Vec<Expr>) {
        for conjunct in conjuncts {
            if !self.filters.contains(&conjunct) {
                self.filters.push(conjunct);
            }
        }
    }

    fn scan(scan: &'a TableScan) -> Result<Self, Unfit> {
        if public_name(&scan.table_name).is_none() {
            return Err(Unfit::NotATable(scan.table_name.to_string()));
        }
        if scan.fetch.is_some() || !scan.filters.is_empty() {
            return Err(Unfit::Nested("an optimised scan"));
        }
        let schema = scan.projected_schema.as_ref();
        let columns = schema.fields().iter().map(|field| Expr::Column(Column::from_name(field.name()))).collect();
        let source = scan.table_name.table().to_owned();
        Ok(Self { source, filters: Vec::new(), columns, schema, base: schema, groups: None })
    }

    /// The groups of an aggregate as rows: its keys over the table's columns, and what it answers for them.
    fn groups(aggregate: &'a Aggregate) -> Result<Self, Unfit> {
        let below = Self::of(&aggregate.input)?;
        let base = below.base;
        let Question { source, filters, keys, calls, fields } = asked(aggregate, below)?;
        if keys.is_empty() {
            return Err(Unfit::Groups("there is one, with or without rows".to_owned()));
        }
        let answers = fields.iter().skip(keys.len()).map(|(_, field)| field.data_type().clone());
        let groups = Groups { calls: calls.into_iter().zip(answers).collect() };
        let columns = keys.into_iter().chain((0..groups.calls.len()).map(aggregate_below)).collect();
        Ok(Self { source, filters, columns, schema: &aggregate.schema, base, groups: Some(groups) })
    }

    /// An expression of the node above, over the columns of the table.
    pub(super) fn express(&self, expr: &Expr) -> Result<Expr, Unfit> {
        if let Some(unfit) = unfit_parts(expr).into_iter().next() {
            return Err(unfit);
        }
        let expressed = expr
            .clone()
            .transform_up(|part| match part {
                Expr::Alias(alias) => Ok(Transformed::yes(*alias.expr)),
                other => Ok(Transformed::no(other)),
            })
            .and_then(|unaliased| {
                unaliased.data.transform_down(|part| match &part {
                    Expr::Column(column) => {
                        let below = self.columns[self.schema.index_of_column(column)?].clone();
                        Ok(Transformed::new(below, true, TreeNodeRecursion::Jump))
                    }
                    _ => Ok(Transformed::no(part)),
                })
            })
            .and_then(|expressed| expressed.data.transform_up(|part| Ok(canonical(part, self.base))));
        expressed.map(|expressed| expressed.data).map_err(|_| Unfit::Nested("columns that are not its own"))
    }
}

/// The name of a table in schema `public`.
pub(super) fn public_name(table: &TableReference) -> Option<&str> {
    match table {
        TableReference::Bare { table } => Some(table),
        TableReference::Partial { schema, table } | TableReference::Full { schema, table, .. } => {
            Some(table.as_ref()).filter(|_| schema.as_ref() == PUBLIC)
        }
    }
}

/// Why a join or a union has no such form.
pub(super) fn several_tables(plan: &LogicalPlan) -> Unfit {
    let mut tables = Vec::new();
    let mut open = vec![plan];
    while let Some(node) = open.pop() {
        if let LogicalPlan::TableScan(scan) = node
            && !tables.iter().any(|name| name == scan.table_name.table())
        {
            tables.push(scan.table_name.table().to_owned());
        }
        open.extend(node.inputs());
    }
    match tables.len() {
        0 | 1 => Unfit::Nested("a join or union of it"),
        _ => {
            tables.sort_unstable();
            Unfit::SeveralTables(tables)
        }
    }
}

/// Conjuncts as questions have them: `BETWEEN` is two, TRUE is none.
pub(super) fn conjuncts(predicate: Expr) -> Vec<Expr> {
    let split = split_conjunction_owned(predicate).into_iter().flat_map(|conjunct| match conjunct {
        Expr::Between(Between { expr, negated: false, low, high }) => {
            vec![expr.clone().gt_eq(*low), expr.lt_eq(*high)]
        }
        other => vec![other],
    });
    split.filter(|conjunct| !matches!(conjunct, Expr::Literal(ScalarValue::Boolean(Some(true)), _))).collect()
}

/// One spelling for what means the same: `5 < x` is `x > 5`, `date_trunc('HOUR', …)` is `date_trunc('hour', …)`, the day of an hour
/// is the day. `base` has the columns of the table.
fn canonical(expr: Expr, base: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            match op.swap().filter(|_| !left.any_column_refs() && right.any_column_refs()) {
                Some(swapped) => {
                    Transformed::yes(Expr::BinaryExpr(BinaryExpr { left: right, op: swapped, right: left }))
                }
                None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            }
        }
        Expr::ScalarFunction(mut function) if function.name() == "date_trunc" => {
            if let Some(Expr::Literal(value, _)) = function.args.first()
                && let Some(Some(word)) = value.try_as_str()
            {
                let word = ScalarValue::Utf8(Some(word.to_ascii_lowercase()));
                function.args[0] = Expr::Literal(word, None);
            }
            Transformed::yes(cut_once(Expr::ScalarFunction(function), base))
        }
        other @ (Expr::ScalarFunction(_) | Expr::Cast(_)) => Transformed::yes(cut_once(other, base)),
        other => Transformed::no(other),
    }
}

/// The expression itself, whatever it is called.
pub(super) fn without_alias(mut expr: &Expr) -> &Expr {
    while let Expr::Alias(alias) = expr {
        expr = &alias.expr;
    }
    expr
}

/// What in an expression keeps it out of a question.
pub(super) fn unfit_parts(expr: &Expr) -> Vec<Unfit> {
    let mut found = Vec::new();
    let walked = expr.apply(|part| {
        let unsupported = |function: String| Unfit::Unsupported { function, instead: "strategy='full'" };
        match part {
            Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
                found.push(Unfit::Volatile(format!("{}()", call.name())));
            }
            // Text may be stored as another kind of text.
            Expr::ScalarFunction(call) if matches!(call.name(), "arrow_typeof" | "arrow_metadata" | "arrow_field") => {
                found.push(unsupported(call.name().to_owned()));
            }
            Expr::HigherOrderFunction(call) => found.push(unsupported(call.name().to_owned())),
            Expr::Unnest(_) => found.push(unsupported("unnest".to_owned())),
            Expr::Placeholder(placeholder) => found.push(Unfit::Volatile(placeholder.id.clone())),
            Expr::ScalarVariable(_, names) => found.push(Unfit::Volatile(names.join("."))),
            Expr::ScalarSubquery(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_)
            | Expr::OuterReferenceColumn(..) => found.push(Unfit::Subquery),
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    });
    match walked {
        Ok(_) => found,
        Err(_) => vec![Unfit::Nested("an expression too deep to read")],
    }
}

/// Whether equal values of a type are the same value, however they are stored and in whatever order they come.
#[derive(PartialEq)]
enum Fitness {
    Exact,
    Float,
    /// Times finer than those stored.
    Nanoseconds,
    Unknown,
}

fn key_fitness(data_type: &DataType) -> Fitness {
    match data_type {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Date32
        | DataType::Timestamp(TimeUnit::Microsecond, _)
        | DataType::Decimal128(..)
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::BinaryView => Fitness::Exact,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Fitness::Nanoseconds,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => Fitness::Float,
        _ => Fitness::Unknown,
    }
}

/// Whether groups can be stored by an expression of this type over columns of `base`: it is not constant, and its values are kept
/// as they are.
pub(super) fn is_storable_key(key: &Expr, data_type: &DataType, base: &DFSchema) -> bool {
    match key_fitness(data_type) {
        Fitness::Exact => key.any_column_refs(),
        Fitness::Nanoseconds => is_whole_micros(key, base),
        Fitness::Float | Fitness::Unknown => false,
    }
}

fn is_small_integer(data_type: &DataType) -> bool {
    data_type.is_signed_integer() || matches!(data_type, DataType::UInt8 | DataType::UInt16 | DataType::UInt32)
}

/// One call, whose answer has the type `answer`.
pub(super) fn call(expr: &Expr, answer: &DataType, has_keys: bool, input: &Rows) -> Result<Call, Unfit> {
    let expr = without_alias(expr);
    let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else {
        return Err(Unfit::Unsupported { function: expr.to_string(), instead: "strategy='full'" });
    };
    let name = func.name();
    if params.distinct {
        return Err(Unfit::Distinct(name.to_owned()));
    }
    // WITHIN GROUP (ORDER BY …) names the argument of a percentile.
    if (!params.order_by.is_empty() && !is_percentile(name)) || params.null_treatment.is_some() {
        return Err(Unfit::Ordered(name.to_owned()));
    }
    let unsupported = |instead| Unfit::Unsupported { function: name.to_owned(), instead };
    let (argument, size) = arguments(name, &params.args).ok_or_else(|| unsupported(instead_of(name)))?;
    let taken = argument.get_type(input.schema).map_err(|_| unsupported("strategy='full'"))?;
    let expressed = input.express(argument)?;
    let filter = params.filter.as_ref().map(|filter| input.express(filter)).transpose()?;
    if let Some(groups) = &input.groups
        && (!is_of_values(name) || is_of_aggregates(&expressed) || filter.as_ref().is_some_and(is_of_aggregates))
    {
        let taken = &taken;
        return of_rows(groups, Above { name, argument: &expressed, taken, answer, filter, size, has_keys });
    }
    let function = match name {
        "count" if matches!(argument, Expr::Literal(value, _) if !value.is_null()) => Function::CountRows,
        "count" => Function::Count,
        "sum" | "avg" if taken.is_floating() => return Err(Unfit::FloatSum(name.to_owned())),
        "sum" if *answer == DataType::Int64 && is_small_integer(&taken) => Function::Sum,
        "sum" if matches!((answer, &taken), (DataType::Decimal128(..), DataType::Decimal128(..))) => {
            Function::DecimalSum
        }
        "avg" if is_small_integer(&taken) => Function::Average,
        "avg" if matches!(taken, DataType::Decimal128(..)) => return Err(unsupported("sum(x) / count(x)")),
        "min" | "max" => match key_fitness(&taken) {
            Fitness::Float => return Err(Unfit::FloatSum(name.to_owned())),
            Fitness::Nanoseconds if !is_whole_micros(&expressed, input.base) => {
                return Err(unsupported("strategy='full'"));
            }
            Fitness::Unknown => return Err(unsupported("strategy='full'")),
            Fitness::Exact | Fitness::Nanoseconds if name == "min" => Function::Min,
            Fitness::Exact | Fitness::Nanoseconds => Function::Max,
        },
        "bool_and" => Function::BoolAnd,
        "bool_or" => Function::BoolOr,
        "approx_distinct" if *answer == DataType::Int64 => Function::ApproxDistinct,
        _ => match Sketch::named(name, size) {
            Some(kept) => Function::Sketch { kept, size },
            None => return Err(unsupported(instead_of(name))),
        },
    };
    let argument = Some(expressed).filter(|_| function != Function::CountRows);
    Ok(Call { function, argument, filter, total: None })
}

/// The argument of a call, and the size of a sketch when it is said.
fn arguments<'e>(name: &str, arguments: &'e [Expr]) -> Option<(&'e Expr, Option<i64>)> {
    match arguments {
        [argument] => Some((argument, None)),
        [argument, Expr::Literal(size, _)] if Sketch::named(name, None).is_some() => {
            match size.cast_to(&DataType::Int64).ok()? {
                ScalarValue::Int64(Some(size)) => Some((argument, Some(size))),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Percentiles whose state is private, and by the order of rows.
pub(super) fn is_percentile(name: &str) -> bool {
    matches!(name, "approx_percentile_cont" | "approx_percentile_cont_with_weight" | "approx_median")
}

/// What merges from parts and says about the same.
fn instead_of(name: &str) -> &'static str {
    match is_percentile(name) {
        true => "kll_sketch(x), and kll_quantile(…, q) where the view is read",
        false => "strategy='full'",
    }
}
