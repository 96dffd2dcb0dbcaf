//! The simplest functions that do what [`Functions`] asks for.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::functions_aggregate::{bool_and_or, count, min_max, sum};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, ScalarUDF, Signature, TypeSignature, Volatility,
    create_udaf, create_udf,
};

use crate::rollup::{Functions, Sketching};

const TOTAL: DataType = DataType::Decimal128(38, 0);

pub(super) fn functions() -> Functions {
    Functions {
        count: count::count_udaf(),
        sum: sum::sum_udaf(),
        min: min_max::min_udaf(),
        max: min_max::max_udaf(),
        bool_and: bool_and_or::bool_and_udaf(),
        bool_or: bool_and_or::bool_or_udaf(),
        partial_sum: total("adlake_partial_sum", DataType::Int64, TOTAL),
        fold_sum: total("adlake_fold_sum", TOTAL, TOTAL),
        merge_sum: total("adlake_merge_sum", TOTAL, DataType::Int64),
        average: average(),
        coalesce: datafusion::functions::core::coalesce(),
        hll: sketching("hll_sketch", "hll_union"),
        theta: sketching("theta_sketch", "theta_union"),
        kll: sketching("kll_sketch", "kll_merge"),
        hll_distinct: distinct(),
    }
}

/// Aggregates that SQL can call.
pub(super) fn aggregates() -> Vec<Arc<AggregateUDF>> {
    let Functions { hll, theta, kll, .. } = functions();
    let sketches = [hll, theta, kll].into_iter().flat_map(|Sketching { sketch, union }| [sketch, union]);
    sketches.chain([Arc::new(AggregateUDF::from(Sets::new("approx_distinct", Gives::Count)))]).collect()
}

fn sketching(sketch: &'static str, union: &'static str) -> Sketching {
    Sketching {
        sketch: Arc::new(AggregateUDF::from(Sets::new(sketch, Gives::SetOfValues))),
        union: Arc::new(AggregateUDF::from(Sets::new(union, Gives::SetOfSets))),
    }
}

/// The simplest sketch of distinct values: their texts, sorted, one a line. A size is taken, and shown in front when it is said.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Sets {
    name: &'static str,
    gives: Gives,
    signature: Signature,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Gives {
    SetOfValues,
    SetOfSets,
    Count,
}

impl Sets {
    fn new(name: &'static str, gives: Gives) -> Self {
        let takes = TypeSignature::OneOf(vec![TypeSignature::Any(1), TypeSignature::Any(2)]);
        Self { name, gives, signature: Signature::new(takes, Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Sets {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(match self.gives {
            Gives::SetOfValues | Gives::SetOfSets => DataType::Binary,
            Gives::Count => DataType::Int64,
        })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let size = args.exprs.get(1).map(ToString::to_string);
        Ok(Box::new(Set { gives: self.gives, size, values: BTreeSet::new() }))
    }

    fn state_fields(&self, _args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new("set", DataType::Binary, true))])
    }
}

#[derive(Debug)]
struct Set {
    gives: Gives,
    size: Option<String>,
    values: BTreeSet<String>,
}

impl Set {
    fn binary(&self) -> Vec<u8> {
        let size = self.size.iter().map(|size| format!("of {size}"));
        size.chain(self.values.iter().map(|value| format!("={value}"))).collect::<Vec<_>>().join("\n").into_bytes()
    }
}

fn members(sets: &ArrayRef) -> Vec<String> {
    let sets = cast(sets, &DataType::Binary).unwrap();
    let texts = sets.as_binary::<i32>().iter().flatten().map(|set| String::from_utf8(set.to_vec()).unwrap());
    texts
        .flat_map(|text| text.lines().filter_map(|line| line.strip_prefix('=').map(str::to_owned)).collect::<Vec<_>>())
        .collect()
}

impl Accumulator for Set {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match self.gives {
            Gives::SetOfSets => self.values.extend(members(&values[0])),
            Gives::SetOfValues | Gives::Count => {
                let texts = cast(&values[0], &DataType::Utf8).unwrap();
                self.values.extend(texts.as_string::<i32>().iter().flatten().map(str::to_owned));
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.values.extend(members(&states[0]));
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(Some(self.binary()))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(match self.gives {
            Gives::SetOfValues | Gives::SetOfSets => ScalarValue::Binary(Some(self.binary())),
            Gives::Count => ScalarValue::Int64(i64::try_from(self.values.len()).ok()),
        })
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

fn distinct() -> Arc<ScalarUDF> {
    let count = |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let sets = cast(&arrays[0], &DataType::Binary)?;
        let counts = sets.as_binary::<i32>().iter().map(|set| {
            set.map(|set| set.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"=")).count() as i64)
        });
        Ok(ColumnarValue::Array(Arc::new(counts.collect::<Int64Array>()) as ArrayRef))
    };
    let taken = vec![DataType::Binary];
    Arc::new(create_udf("adlake_hll_distinct", taken, DataType::Int64, Volatility::Immutable, Arc::new(count)))
}

fn total(name: &str, input: DataType, output: DataType) -> Arc<AggregateUDF> {
    let result = output.clone();
    let make = move |_: datafusion::logical_expr::function::AccumulatorArgs| {
        Ok(Box::new(Total { output: result.clone(), total: None }) as Box<dyn Accumulator>)
    };
    let state = Arc::new(vec![TOTAL]);
    Arc::new(create_udaf(name, vec![input], Arc::new(output), Volatility::Immutable, Arc::new(make), state))
}

#[derive(Debug)]
struct Total {
    output: DataType,
    total: Option<i128>,
}

impl Accumulator for Total {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = &values[0];
        let added: Vec<i128> = match values.data_type() {
            DataType::Int64 => values.as_primitive::<Int64Type>().iter().flatten().map(i128::from).collect(),
            _ => values.as_primitive::<Decimal128Type>().iter().flatten().collect(),
        };
        if !added.is_empty() {
            self.total = Some(self.total.unwrap_or(0) + added.into_iter().sum::<i128>());
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Decimal128(self.total, 38, 0)])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.output == TOTAL {
            return Ok(ScalarValue::Decimal128(self.total, 38, 0));
        }
        match self.total.map(i64::try_from).transpose() {
            Ok(total) => Ok(ScalarValue::Int64(total)),
            Err(_) => exec_err!("sum is out of the range of Int64"),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

fn average() -> Arc<ScalarUDF> {
    let divide = |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let totals = arrays[0].as_primitive::<Decimal128Type>();
        let counts = arrays[1].as_primitive::<Int64Type>();
        let averages = totals.iter().zip(counts).map(|(total, count)| match (total, count) {
            (Some(total), Some(count)) if count != 0 => Some(total as f64 / count as f64),
            _ => None,
        });
        Ok(ColumnarValue::Array(Arc::new(averages.collect::<Float64Array>()) as ArrayRef))
    };
    let taken = vec![TOTAL, DataType::Int64];
    Arc::new(create_udf("adlake_average", taken, DataType::Float64, Volatility::Immutable, Arc::new(divide)))
}
