//! Decimals beside floating-point numbers are DOUBLEs, as in PostgreSQL; quotients of decimals keep digits (see `quotient`).
//!
//! DataFusion makes decimals of fifteen places of both, where `1e-20` is 0 and `1e20` is an error. An analyzer rule before its
//! coercion of types casts the decimals instead: in comparisons, arithmetic, BETWEEN, IN, CASE, functions of alike values, keys
//! of joins and the columns of UNION. What is planned without an analyzer calls [`settled`].

use std::sync::Arc;

use arrow::datatypes::{DataType, Decimal128Type, DecimalType};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Case, Cast, InList, InSubquery, SetComparison};
use datafusion::logical_expr::expr_rewriter::{NamePreserver, coerce_plan_expr_for_schema};
use datafusion::logical_expr::expr_schema::cast_subquery;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Between, BinaryExpr, Expr, ExprSchemable, Join, LogicalPlan, Operator, Subquery, Union,
};
use datafusion::optimizer::AnalyzerRule;

use super::{product, quotient};

/// Functions whose arguments become one type, or are computed with.
const ALIKE: [&str; 18] = [
    "array_append",
    "array_has",
    "array_position",
    "array_positions",
    "array_prepend",
    "array_remove",
    "array_remove_all",
    "array_replace",
    "atan2",
    "coalesce",
    "greatest",
    "least",
    "log",
    "make_array",
    "nullif",
    "nvl",
    "nvl2",
    "power",
];

/// The analyzer rule.
#[derive(Debug)]
pub(super) struct Numbers;

impl AnalyzerRule for Numbers {
    fn name(&self) -> &str {
        "numbers"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        // Plans above one whose columns have changed have other columns too.
        let mut changed = false;
        let settled = plan.transform_up_with_subqueries(|plan| {
            let plan = settled_plan(plan)?;
            changed |= plan.transformed;
            match changed {
                true => Ok(Transformed::yes(plan.data.recompute_schema()?)),
                false => Ok(plan),
            }
        })?;
        Ok(settled.data)
    }
}

fn settled_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let plan = if has_candidates(&plan)? {
        let mut schema = merge_schema(&plan.inputs());
        if let LogicalPlan::TableScan(scan) = &plan {
            schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
        }
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(settled_parts(expr, &schema)?.update_data(|expr| name.restore(expr)))
        })?
    } else {
        Transformed::no(plan)
    };
    let is_rewritten = plan.transformed;
    plan.transform_data(|plan| match plan {
        LogicalPlan::Join(join) => Ok(with_keys_alike(join)),
        LogicalPlan::Union(union) => with_columns_alike(union),
        // Its columns have the types that it was planned with.
        LogicalPlan::Values(mut values) if is_rewritten => {
            let nothing = DFSchema::empty();
            for row in &mut values.values {
                for (value, field) in row.iter_mut().zip(values.schema.fields()) {
                    *value = std::mem::take(value).cast_to(field.data_type(), &nothing)?;
                }
            }
            Ok(Transformed::no(LogicalPlan::Values(values)))
        }
        other => Ok(Transformed::no(other)),
    })
}

fn has_candidates(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(|expr| {
        found = found || expr.exists(|part| Ok(is_candidate(part)))?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn is_candidate(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(BinaryExpr { op, .. }) => is_of_numbers(*op),
        Expr::ScalarFunction(call) => ALIKE.contains(&call.func.name()),
        Expr::Between(_) | Expr::InList(_) | Expr::Case(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => true,
        _ => false,
    }
}

fn is_of_numbers(op: Operator) -> bool {
    use Operator::*;
    matches!(
        op,
        Eq | NotEq
            | Lt
            | LtEq
            | Gt
            | GtEq
            | IsDistinctFrom
            | IsNotDistinctFrom
            | Plus
            | Minus
            | Multiply
            | Divide
            | Modulo
    )
}

/// The expression as the rule leaves it, over columns of `schema`.
///
/// # Errors
/// Subqueries that cannot be cast.
pub(in crate::query) fn settled(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(settled_parts(expr, schema)?.data)
}

fn settled_parts(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match may_have_fractions(&expr, schema)? {
        true => expr.transform_up(|part| settled_part(part, schema)),
        false => Ok(Transformed::no(expr)),
    }
}

/// Whether there may be a decimal or a floating-point number in it. Types of parts are found anew for each part, which long
/// chains of other things are spared.
pub(super) fn may_have_fractions(expr: &Expr, schema: &DFSchema) -> Result<bool> {
    let is_fraction = |data_type: &DataType| data_type.is_decimal() || is_floating(data_type);
    expr.exists(|part| {
        Ok(match part {
            Expr::Literal(value, _) => is_fraction(&value.data_type()),
            Expr::Column(_) => part.get_type(schema).ok().is_none_or(|data_type| is_fraction(&data_type)),
            Expr::Cast(cast) => is_fraction(cast.field.data_type()),
            Expr::BinaryExpr(_) | Expr::Between(_) | Expr::InList(_) | Expr::Like(_) | Expr::Case(_) => false,
            Expr::Alias(_) | Expr::Not(_) | Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::Negative(_) => false,
            _ => true,
        })
    })
}

fn settled_part(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let changed = match &mut expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_of_numbers(*op) => {
            make_alike([left.as_mut(), right.as_mut()], schema)
        }
        Expr::Between(Between { expr, low, high, .. }) => {
            make_alike([expr.as_mut(), low.as_mut(), high.as_mut()], schema)
        }
        Expr::InList(InList { expr, list, .. }) => make_alike(std::iter::once(expr.as_mut()).chain(list), schema),
        Expr::Case(case) => make_case_alike(case, schema),
        Expr::ScalarFunction(call) if ALIKE.contains(&call.func.name()) => make_alike(&mut call.args, schema),
        Expr::InSubquery(InSubquery { expr, subquery, .. })
        | Expr::SetComparison(SetComparison { expr, subquery, .. }) => make_subquery_alike(expr, subquery, schema)?,
        _ => false,
    };
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right })
            if quotient::is_of_decimals(&left, &right, schema) =>
        {
            Ok(Transformed::yes(quotient::quotient(*left, *right)))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Multiply, right })
            if product::is_too_fine(&left, &right, schema) =>
        {
            Ok(Transformed::yes(product::product(*left, *right)))
        }
        other if changed => Ok(Transformed::yes(other)),
        other => Ok(Transformed::no(other)),
    }
}

/// Makes DOUBLEs of the decimals where there is a floating-point number among `sides`; whether there were such.
fn make_alike<'e>(sides: impl IntoIterator<Item = &'e mut Expr>, schema: &DFSchema) -> bool {
    let typed = sides.into_iter().map(|side| {
        let data_type = side.get_type(schema).ok();
        (side, data_type)
    });
    let sides: Vec<(&mut Expr, Option<DataType>)> = typed.collect();
    if !sides.iter().any(|(_, data_type)| data_type.as_ref().is_some_and(is_floating)) {
        return false;
    }
    let mut changed = false;
    for (side, data_type) in sides {
        if data_type.is_some_and(|data_type| data_type.is_decimal()) {
            *side = in_double(std::mem::take(side));
            changed = true;
        }
    }
    changed
}

/// Floating-point numbers and lists of them.
fn is_floating(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) => item.data_type().is_floating(),
        other => other.is_floating(),
    }
}

fn make_case_alike(case: &mut Case, schema: &DFSchema) -> bool {
    let Case { expr, when_then_expr, else_expr } = case;
    let mut changed = false;
    if let Some(expr) = expr {
        let compared = when_then_expr.iter_mut().map(|(when, _)| when.as_mut());
        changed |= make_alike(std::iter::once(expr.as_mut()).chain(compared), schema);
    }
    let answers = when_then_expr.iter_mut().map(|(_, then)| then.as_mut());
    changed | make_alike(answers.chain(else_expr.as_deref_mut()), schema)
}

fn make_subquery_alike(expr: &mut Expr, subquery: &mut Subquery, schema: &DFSchema) -> Result<bool> {
    let Some(asked) = subquery.subquery.schema().fields().first().map(|field| field.data_type().clone()) else {
        return Ok(false);
    };
    match expr.get_type(schema) {
        Ok(own) if own.is_decimal() && asked.is_floating() => {
            *expr = in_double(std::mem::take(expr));
            Ok(true)
        }
        Ok(own) if own.is_floating() && asked.is_decimal() => {
            *subquery = cast_subquery(subquery.clone(), &DataType::Float64)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// A literal is the DOUBLE nearest to what is written; Arrow's cast of one of many digits may be the one beside it.
fn in_double(expr: Expr) -> Expr {
    if let Expr::Literal(value @ ScalarValue::Decimal128(Some(unscaled), precision, scale), _) = &expr
        && let Ok(nearest) = Decimal128Type::format_decimal(*unscaled, *precision, *scale).parse::<f64>()
    {
        let nearest = ScalarValue::Float64(Some(nearest));
        if value.cast_to(&DataType::Float64).ok().as_ref() != Some(&nearest) {
            return Expr::Literal(nearest, None);
        }
    }
    Expr::Cast(Cast::new(Box::new(expr), DataType::Float64))
}

fn with_keys_alike(mut join: Join) -> Transformed<LogicalPlan> {
    let (left_schema, right_schema) = (join.left.schema().clone(), join.right.schema().clone());
    let mut changed = false;
    for (left, right) in &mut join.on {
        let (Ok(of_left), Ok(of_right)) = (left.get_type(&left_schema), right.get_type(&right_schema)) else {
            continue;
        };
        let side = match (of_left.is_floating(), of_right.is_floating()) {
            (false, true) if of_left.is_decimal() => left,
            (true, false) if of_right.is_decimal() => right,
            _ => continue,
        };
        *side = in_double(std::mem::take(side));
        changed = true;
    }
    Transformed::new(LogicalPlan::Join(join), changed, TreeNodeRecursion::Continue)
}

fn with_columns_alike(union: Union) -> Result<Transformed<LogicalPlan>> {
    let Union { inputs, schema } = union;
    let is_mixed = |column: usize| {
        let types =
            inputs.iter().filter_map(|input| input.schema().fields().get(column)).map(|field| field.data_type());
        let (floating, others): (Vec<&DataType>, Vec<&DataType>) = types.partition(|data_type| data_type.is_floating());
        let decimal = others.iter().any(|data_type| data_type.is_decimal());
        !floating.is_empty() && (decimal || schema.field(column).data_type().is_decimal())
    };
    let mixed: Vec<bool> = (0..schema.fields().len()).map(is_mixed).collect();
    if !mixed.contains(&true) {
        return Ok(Transformed::no(LogicalPlan::Union(Union { inputs, schema })));
    }
    let inputs = inputs.into_iter().map(|input| {
        let wanted = with_doubles(input.schema(), &mixed)?;
        Ok(Arc::new(coerce_plan_expr_for_schema(Arc::unwrap_or_clone(input), &wanted)?))
    });
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    let schema = Arc::new(with_doubles(&schema, &mixed)?);
    Ok(Transformed::yes(LogicalPlan::Union(Union { inputs, schema })))
}

/// The schema with DOUBLE for the decimals of the columns that are `mixed`.
fn with_doubles(schema: &DFSchema, mixed: &[bool]) -> Result<DFSchema> {
    let fields = schema.iter().enumerate().map(|(column, (qualifier, field))| {
        let is_mixed = mixed.get(column).copied().unwrap_or(false) && field.data_type().is_decimal();
        let field = match is_mixed {
            true => Arc::new(field.as_ref().clone().with_data_type(DataType::Float64)),
            false => field.clone(),
        };
        (qualifier.cloned(), field)
    });
    DFSchema::new_with_metadata(fields.collect(), schema.metadata().clone())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use datafusion::logical_expr::{cast, col, lit};

    use super::*;

    fn decimal(unscaled: i128, precision: u8, scale: i8) -> Expr {
        lit(ScalarValue::Decimal128(Some(unscaled), precision, scale))
    }

    fn check(expr: Expr, expected: &str) {
        let schema = Schema::new(vec![
            Field::new("x", DataType::Float64, true),
            Field::new("m", DataType::Decimal128(18, 6), true),
        ]);
        let settled = settled(expr, &DFSchema::try_from(schema).unwrap()).unwrap();
        assert_eq!(settled.to_string(), expected);
    }

    #[test]
    fn decimals_beside_doubles_are_doubles() {
        let half = || decimal(5, 1, 1);
        let cast_half = cast(half(), DataType::Float64).to_string();
        check(col("x").gt(half()), &format!("x > {cast_half}"));
        check(col("x").eq(col("m")), "x = CAST(m AS Float64)");
        check(col("m").gt(half()), &col("m").gt(half()).to_string());
        check(col("x").in_list(vec![lit(1), half()], false), &format!("x IN ([Int32(1), {cast_half}])"));
    }

    #[test]
    fn literals_are_the_nearest_double() {
        let mut differing = 0;
        for digits in 1..=38_u8 {
            let unscaled = 1_234_567_890_123_456_789_012_345_678_901_234_567_i128 / 10_i128.pow(u32::from(38 - digits));
            let Expr::Literal(ScalarValue::Float64(Some(nearest)), _) = in_double(decimal(unscaled, 38, 30)) else {
                continue;
            };
            let text = Decimal128Type::format_decimal(unscaled, 38, 30);
            assert_eq!(nearest, text.parse::<f64>().unwrap(), "{text}");
            differing += 1;
        }
        assert!(differing > 0, "there are such that Arrow's cast misses");
    }
}
