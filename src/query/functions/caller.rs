//! `current_user()` and `current_attribute('name')`: who asks, and what the directory says of them.
//!
//! The values travel in the statement's configuration ([`Caller`]); outside statements of a caller they are NULL.

use std::any::Any;
use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

pub(in crate::query) const CURRENT_USER: &str = "current_user";
pub(in crate::query) const CURRENT_ATTRIBUTE: &str = "current_attribute";

/// Who a statement runs for.
#[derive(Clone, Debug, Default)]
pub(in crate::query) struct Caller {
    pub(in crate::query) user: String,
    pub(in crate::query) attributes: BTreeMap<String, String>,
}

impl ConfigExtension for Caller {
    const PREFIX: &'static str = "adlake_caller";
}

impl ExtensionOptions for Caller {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> Result<()> {
        plan_err!("'{key}' cannot be set")
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Asked {
    User,
    Attribute,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct OfCaller {
    asked: Asked,
    signature: Signature,
}

impl OfCaller {
    pub(super) fn user() -> Self {
        Self { asked: Asked::User, signature: Signature::nullary(Volatility::Stable) }
    }

    pub(super) fn attribute() -> Self {
        let signature = Signature::exact(vec![DataType::Utf8], Volatility::Stable);
        Self { asked: Asked::Attribute, signature }
    }

    fn value(&self, options: &ConfigOptions, argument: Option<&ScalarValue>) -> Result<ScalarValue> {
        let caller = options.extensions.get::<Caller>();
        let value = match self.asked {
            Asked::User => caller.map(|caller| caller.user.clone()),
            Asked::Attribute => {
                let Some(Some(name)) = argument.and_then(ScalarValue::try_as_str) else {
                    return plan_err!("current_attribute takes the name of an attribute as a 'string'");
                };
                caller.and_then(|caller| caller.attributes.get(name).cloned())
            }
        };
        Ok(ScalarValue::Utf8(value))
    }
}

impl ScalarUDFImpl for OfCaller {
    fn name(&self) -> &str {
        match self.asked {
            Asked::User => CURRENT_USER,
            Asked::Attribute => CURRENT_ATTRIBUTE,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let argument = match args.args.first() {
            Some(ColumnarValue::Scalar(value)) => Some(value),
            _ => None,
        };
        self.value(&args.config_options, argument).map(ColumnarValue::Scalar)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let argument = match args.first() {
            None => None,
            Some(Expr::Literal(value, _)) => Some(value),
            Some(_) => return plan_err!("current_attribute takes the name of an attribute as a 'string'"),
        };
        let value = self.value(info.config_options(), argument)?;
        Ok(ExprSimplifyResult::Simplified(Expr::Literal(value, None)))
    }
}

/// Whether a plan asks who runs it.
pub(in crate::query) fn depends_on_caller(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                if let Expr::ScalarFunction(call) = part {
                    found |= matches!(call.name(), CURRENT_USER | CURRENT_ATTRIBUTE);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}
