//! Expressions and plans as text that tells any two of them apart, and is the same in every process: what fingerprints are of.
//!
//! DataFusion prints for people: without parentheses (`a - (b - c)` as `a - b - c`), with long values and lists cut short and
//! subqueries left out. So an expression is written here as its kind, its own words and, each in parentheses, the expressions
//! inside it; a plan as its nodes with all their expressions. Functions go by their names; how a `Debug` prints them may hold
//! addresses.

use std::fmt::Write;
use std::hash::{Hash, Hasher};

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{Sort, WindowFunctionParams};
use datafusion::logical_expr::{Expr, LogicalPlan};
use xxhash_rust::xxh3::Xxh3;

/// An expression, to the last detail.
pub(super) fn of_expr(expr: &Expr) -> String {
    let mut text = String::new();
    write_expr(&mut text, expr);
    text
}

/// A plan, to the last detail but what its tables hold.
pub(super) fn of_plan(plan: &LogicalPlan) -> String {
    let mut text = String::new();
    write_plan(&mut text, plan);
    text
}

fn write_expr(text: &mut String, expr: &Expr) {
    text.push('(');
    text.push_str(expr.variant_name());
    write_own(text, expr);
    // Neither the walk over what is directly inside nor writing to a string fails.
    let _ = expr.apply_children(|inner| {
        write_expr(text, inner);
        Ok(TreeNodeRecursion::Continue)
    });
    text.push(')');
}

fn write_plan(text: &mut String, plan: &LogicalPlan) {
    let _ = write!(text, "[{}", plan.display());
    if let LogicalPlan::Join(join) = plan {
        let _ = write!(text, " {:?} {}", join.null_equality, join.null_aware);
    }
    let _ = plan.apply_expressions(|expr| {
        write_expr(text, expr);
        Ok(TreeNodeRecursion::Continue)
    });
    for input in plan.inputs() {
        write_plan(text, input);
    }
    text.push(']');
}

/// What an expression says apart from the expressions inside it.
fn write_own(text: &mut String, expr: &Expr) {
    let _ = match expr {
        Expr::Not(_)
        | Expr::IsNotNull(_)
        | Expr::IsNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_)
        | Expr::Negative(_) => Ok(()),
        Expr::BinaryExpr(binary) => write!(text, " {:?}", binary.op),
        Expr::Alias(alias) => write!(text, " {:?} {:?}", alias.relation, alias.name),
        Expr::Column(column) | Expr::OuterReferenceColumn(_, column) => {
            write!(text, " {:?} {:?}", column.relation, column.name)
        }
        Expr::Literal(value, _) => write!(text, " {:?} {value:?} {:016x}", value.data_type(), hash(value)),
        Expr::Cast(cast) => write!(text, " {:?}", cast.field.data_type()),
        Expr::TryCast(cast) => write!(text, " {:?}", cast.field.data_type()),
        Expr::Like(like) | Expr::SimilarTo(like) => {
            write!(text, " {} {:?} {}", like.negated, like.escape_char, like.case_insensitive)
        }
        Expr::Between(between) => write!(text, " {}", between.negated),
        Expr::InList(list) => write!(text, " {}", list.negated),
        Expr::Case(case) => write!(text, " {} {}", case.expr.is_some(), case.else_expr.is_some()),
        Expr::ScalarFunction(call) => write!(text, " {:?}", call.func.name()),
        Expr::AggregateFunction(call) => {
            let of = &call.params;
            let (filter, order) = (of.filter.is_some(), directions(&of.order_by));
            let counts = (of.args.len(), of.distinct, filter);
            write!(text, " {:?} {counts:?} {order:?} {:?}", call.func.name(), of.null_treatment)
        }
        Expr::WindowFunction(call) => {
            let WindowFunctionParams { args, partition_by, order_by, window_frame, filter, null_treatment, distinct } =
                &call.params;
            let counts = (args.len(), partition_by.len(), *distinct, filter.is_some());
            let order = directions(order_by);
            write!(text, " {:?} {counts:?} {order:?} {window_frame:?} {null_treatment:?}", call.fun.name())
        }
        Expr::Exists(exists) => {
            let _ = write!(text, " {}", exists.negated);
            write_plan(text, &exists.subquery.subquery);
            Ok(())
        }
        Expr::InSubquery(inside) => {
            let _ = write!(text, " {}", inside.negated);
            write_plan(text, &inside.subquery.subquery);
            Ok(())
        }
        Expr::SetComparison(compared) => {
            let _ = write!(text, " {:?} {:?}", compared.op, compared.quantifier);
            write_plan(text, &compared.subquery.subquery);
            Ok(())
        }
        Expr::ScalarSubquery(subquery) => {
            write_plan(text, &subquery.subquery);
            Ok(())
        }
        other => write!(text, " {other}"),
    };
}

fn directions(order: &[Sort]) -> Vec<(bool, bool)> {
    order.iter().map(|sort| (sort.asc, sort.nulls_first)).collect()
}

/// Of all of a value: long ones are printed in part.
fn hash(value: &ScalarValue) -> u64 {
    let mut hasher = Xxh3::new();
    value.hash(&mut hasher);
    hasher.finish()
}
