//! Theta sketches: distinct counts whose intersections and differences are sketches too.
//! The compact form, ordered, not compressed: the one every version of every library reads.

use std::mem::size_of_val;

use arrow::array::ArrayRef;
use datafusion::common::{DataFusionError, Result};
use datasketches::error::Error;
use datasketches::theta::{
    CompactThetaSketch, ThetaANotB, ThetaIntersection, ThetaSketch, ThetaSketchBuilder, ThetaUnion, ThetaUnionBuilder,
};

use super::aggregate::Building;
use super::{damaged, hash};

const LG_K: u8 = 12;
/// More than two sketches hold.
const LG_K_MAX: u8 = 26;

fn failed(error: Error) -> DataFusionError {
    damaged("a theta", error.message())
}

/// The sketch in the bytes.
pub(super) fn read(bytes: &[u8]) -> Result<CompactThetaSketch> {
    let sketch = CompactThetaSketch::deserialize(bytes).map_err(failed)?;
    let mut hashes: Vec<u64> = sketch.iter().map(|entry| entry.hash()).collect();
    if !sketch.is_ordered() {
        hashes.sort_unstable();
    }
    match hashes.is_sorted_by(|one, next| one < next) {
        true => Ok(sketch),
        false => Err(damaged("a theta", "its hashes are not in order, or repeat")),
    }
}

/// Values that are in either, at the resolution of the finer one.
pub(super) fn combine(one: &[u8], other: &[u8]) -> Result<Vec<u8>> {
    let mut either = ThetaUnionBuilder::default().lg_k(LG_K_MAX).build().map_err(failed)?;
    either.update(&read(one)?).map_err(failed)?;
    either.update(&read(other)?).map_err(failed)?;
    Ok(either.to_sketch(true).serialize())
}

/// Values that are in both.
pub(super) fn intersect(one: &[u8], other: &[u8]) -> Result<Vec<u8>> {
    let mut both = ThetaIntersection::default();
    both.update(&read(one)?).map_err(failed)?;
    both.update(&read(other)?).map_err(failed)?;
    both.to_sketch(true).map(|sketch| sketch.serialize()).ok_or_else(|| damaged("a theta", "nothing came of it"))
}

/// Values that are in the first only.
pub(super) fn difference(one: &[u8], other: &[u8]) -> Result<Vec<u8>> {
    let (one, other) = (read(one)?, read(other)?);
    Ok(ThetaANotB::default().compute(&one, &other, true).map_err(failed)?.serialize())
}

/// Rows and sketches apart: a sketch takes values, a union takes sketches.
#[derive(Debug)]
pub(super) struct ThetaBuilding {
    lg_k: u8,
    rows: ThetaSketch,
    /// `None` until there is a sketch.
    union: Option<ThetaUnion>,
}

impl ThetaBuilding {
    pub(super) fn new(lg_k: Option<u16>) -> Result<Self> {
        let lg_k = lg_k.and_then(|lg_k| u8::try_from(lg_k).ok()).unwrap_or(LG_K);
        let rows = ThetaSketchBuilder::default().lg_k(lg_k).build().map_err(failed)?;
        Ok(Self { lg_k, rows, union: None })
    }
}

impl Building for ThetaBuilding {
    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        hash::each(values, |value| self.rows.update(value))
    }

    fn merge(&mut self, sketch: &[u8]) -> Result<()> {
        let sketch = read(sketch)?;
        let union = match &mut self.union {
            Some(union) => union,
            none => none.insert(ThetaUnionBuilder::default().lg_k(self.lg_k).build().map_err(failed)?),
        };
        union.update(&sketch).map_err(failed)
    }

    fn serialize(&mut self) -> Result<Vec<u8>> {
        let Some(union) = &mut self.union else {
            // As a union would leave it: no more than 2^lg_k values.
            self.rows.trim();
            return Ok(self.rows.compact(true).serialize());
        };
        union.update(&self.rows).map_err(failed)?;
        Ok(union.to_sketch(true).serialize())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.rows.estimated_size() + self.union.as_ref().map_or(0, ThetaUnion::estimated_size)
    }
}
