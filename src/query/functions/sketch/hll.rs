//! HyperLogLog: distinct counts in the least space. HLL_4 sketches, in one normal form: coupons sorted, and the estimate
//! by the registers alone (DataSketches calls that out of order), never by the order in which values came.
//!
//! ```text
//! byte   0     1        2       3      4       5      6                 7                8
//!        ints  version  family  lg_k   lg_arr  flags  count | cur_min   mode + 4 × type  coupons | SET: count, coupons
//!                                                                                        | hip kxq0 kxq1 zeros aux, registers
//! ```

use std::mem::size_of_val;

use arrow::array::ArrayRef;
use datafusion::common::{DataFusionError, Result};
use datasketches::error::Error;
use datasketches::hll::{HllSketch, HllType, HllUnion};

use super::aggregate::Building;
use super::{damaged, hash};

const LG_K: u8 = 12;

const FAMILY: usize = 2;
const HLL_FAMILY: u8 = 7;
const FLAGS: usize = 5;
const COMPACT: u8 = 8;
const OUT_OF_ORDER: u8 = 16;
const COUNT: usize = 6;
const LIST_START: usize = 8;
const SET_START: usize = 12;
const HIP: std::ops::Range<usize> = 8..16;
const REGISTERS_START: usize = 40;
/// A list of 8 coupons has become a set.
const LIST_COUNT_MAX: u8 = 7;
const REGISTER_MAX: u8 = 63;
/// HLL_4 keeps what a register is above the least of all, up to 14.
const LEAST_REGISTER_MAX: u8 = REGISTER_MAX - 14;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    List,
    Set,
    Registers,
}

/// `None`: too short, or none that there is.
fn mode(bytes: &[u8]) -> Option<Mode> {
    match bytes.get(7)? & 3 {
        0 => Some(Mode::List),
        1 => Some(Mode::Set),
        2 => Some(Mode::Registers),
        _ => None,
    }
}

fn bad(why: impl std::fmt::Display) -> DataFusionError {
    damaged("an HLL", why)
}

fn failed(error: Error) -> DataFusionError {
    bad(error.message())
}

fn words(bytes: &[u8], start: usize) -> impl Iterator<Item = u32> + '_ {
    let (words, _) = bytes.get(start..).unwrap_or_default().as_chunks::<4>();
    words.iter().map(|word| u32::from_le_bytes(*word))
}

/// What the library takes on trust: it would count, or shift, by these without looking.
fn check(bytes: &[u8]) -> Result<()> {
    // The library says it better of bytes that are too short, or of another kind.
    if bytes.len() < LIST_START || bytes[FAMILY] != HLL_FAMILY {
        return Ok(());
    }
    let is_compact = bytes.get(FLAGS).is_some_and(|flags| flags & COMPACT != 0);
    let is_sound = match mode(bytes) {
        Some(Mode::List) => {
            let count = bytes[COUNT];
            let slots = if is_compact { count } else { LIST_COUNT_MAX + 1 };
            let mut coupons: Vec<u32> =
                words(bytes, LIST_START).take(usize::from(slots)).filter(|coupon| *coupon != 0).collect();
            coupons.sort_unstable();
            coupons.dedup();
            count <= LIST_COUNT_MAX && (count == 0 || coupons.len() == usize::from(count))
        }
        Some(Mode::Set) => !is_compact || words(bytes, SET_START).all(|coupon| coupon != 0),
        Some(Mode::Registers) => {
            let hip = bytes.get(HIP).and_then(|hip| hip.try_into().ok()).map(f64::from_le_bytes);
            let registers = bytes.get(REGISTERS_START..).unwrap_or_default();
            let is_hll8 = bytes[7] >> 2 & 3 == 2;
            hip.is_some_and(|hip| hip.is_finite() && hip >= 0.0)
                && bytes[COUNT] <= LEAST_REGISTER_MAX
                && (!is_hll8 || registers.iter().all(|register| *register <= REGISTER_MAX))
        }
        None => false,
    };
    if is_sound { Ok(()) } else { Err(bad("its parts do not fit together")) }
}

/// The sketch in the bytes. What is derived from its registers is computed anew.
pub(super) fn read(bytes: &[u8]) -> Result<HllSketch> {
    check(bytes)?;
    let sketch = HllSketch::deserialize(bytes).map_err(failed)?;
    let mut union = HllUnion::new(sketch.lg_config_k()).map_err(failed)?;
    union.update(&sketch);
    Ok(union.to_sketch(HllType::Hll8))
}

/// The normal form.
fn write(sketch: &HllSketch) -> Vec<u8> {
    let mut bytes = sketch.serialize();
    let sort_from = |bytes: &mut [u8], start: usize| {
        let (words, _) = bytes.get_mut(start..).unwrap_or_default().as_chunks_mut::<4>();
        words.sort_unstable_by_key(|word| u32::from_le_bytes(*word));
    };
    match mode(&bytes) {
        Some(Mode::List) => sort_from(&mut bytes, LIST_START),
        Some(Mode::Set) => sort_from(&mut bytes, SET_START),
        Some(Mode::Registers) => {
            bytes[FLAGS] |= OUT_OF_ORDER;
            bytes[HIP].fill(0);
        }
        None => {}
    }
    bytes
}

/// How many distinct values, to the nearest whole number.
pub(super) fn distinct(bytes: &[u8]) -> Result<i64> {
    // A cast of a float saturates.
    Ok(read(bytes)?.estimate().round() as i64)
}

/// Values that are in either; the least lg_k of the two that hold any.
pub(super) fn combine(one: &[u8], other: &[u8]) -> Result<Vec<u8>> {
    let mut both = HllBuilding::new(None);
    both.merge(one)?;
    both.merge(other)?;
    both.serialize()
}

/// The union of sketches has the least lg_k of those that hold a value, and no more than was asked for.
#[derive(Debug)]
pub(super) struct HllBuilding {
    /// As asked for.
    lg_k: Option<u8>,
    /// `None` until there is a value.
    union: Option<HllUnion>,
}

impl HllBuilding {
    pub(super) fn new(lg_k: Option<u16>) -> Self {
        Self { lg_k: lg_k.and_then(|lg_k| u8::try_from(lg_k).ok()), union: None }
    }

    /// The union, with at most 2^lg_k registers.
    fn at_most(&mut self, lg_k: u8) -> Result<&mut HllUnion> {
        let union = match self.union.take() {
            Some(union) if union.lg_max_k() <= lg_k => union,
            larger => {
                let mut union = HllUnion::new(lg_k).map_err(failed)?;
                if let Some(larger) = larger {
                    union.update(&larger.to_sketch(HllType::Hll8));
                }
                union
            }
        };
        Ok(self.union.insert(union))
    }
}

impl Building for HllBuilding {
    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        let union = self.at_most(self.lg_k.unwrap_or(LG_K))?;
        hash::each(values, |value| union.update_value(value))
    }

    fn merge(&mut self, sketch: &[u8]) -> Result<()> {
        let sketch = read(sketch)?;
        if !sketch.is_empty() {
            let lg_k = sketch.lg_config_k();
            self.at_most(self.lg_k.map_or(lg_k, |most| most.min(lg_k)))?.update(&sketch);
        }
        Ok(())
    }

    fn serialize(&mut self) -> Result<Vec<u8>> {
        match &self.union {
            Some(union) => Ok(write(&union.to_sketch(HllType::Hll4))),
            None => Ok(HllSketch::new(self.lg_k.unwrap_or(LG_K), HllType::Hll4).map_err(failed)?.serialize()),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.union.as_ref().map_or(0, HllUnion::estimated_size)
    }
}
