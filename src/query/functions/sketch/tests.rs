//! Sketches merge as their values would, and no bytes make them panic.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use datafusion::common::Result;

use super::aggregate::Kind;
use super::{hll, kll, theta};

fn integers(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(values.into_iter().map(Some).collect::<Int64Array>())
}

fn sketch(kind: Kind, size: Option<u16>, values: &ArrayRef) -> Vec<u8> {
    let mut building = kind.build(size).unwrap();
    building.add(values).unwrap();
    building.serialize().unwrap()
}

fn merged(kind: Kind, sketches: &[Vec<u8>]) -> Result<Vec<u8>> {
    merged_to(kind, None, sketches)
}

fn merged_to(kind: Kind, size: Option<u16>, sketches: &[Vec<u8>]) -> Result<Vec<u8>> {
    let mut building = kind.build(size)?;
    sketches.iter().try_for_each(|sketch| building.merge(sketch))?;
    building.serialize()
}

/// Counts of values at which a sketch changes its form, for small and large ones.
const COUNTS: [i64; 12] = [0, 1, 2, 7, 8, 9, 25, 200, 400, 3_000, 20_000, 300_000];

/// Sketches of the values in another order, and of parts that overlap, united in several ways.
fn depends_on_the_values_alone(kind: Kind, lg_k: u16, count: i64) -> Vec<u8> {
    let what = format!("{kind:?}, lg_k {lg_k}, {count} values");
    let direct = sketch(kind, Some(lg_k), &integers(0..count));
    assert_eq!(direct, sketch(kind, Some(lg_k), &integers((0..count).rev())), "{what}");
    let part = |from: i64, step: usize| sketch(kind, Some(lg_k), &integers((from..count).step_by(step)));
    let parts = [part(0, 3), part(1, 3), part(2, 3), part(0, 100), part(count, 1)];
    let united = |sketches: &[Vec<u8>]| merged_to(kind, Some(lg_k), sketches).unwrap();
    assert_eq!(united(&parts), direct, "{what}");
    let halves = [united(&parts[2..]), united(&parts[..2]), united(&[])];
    assert_eq!(united(&halves), direct, "{what}");
    direct
}

#[test]
fn an_hll_sketch_depends_on_the_values_alone() {
    for lg_k in [4, 7, 8, 12, 14] {
        for count in COUNTS {
            let direct = depends_on_the_values_alone(Kind::Hll, lg_k, count);
            let read = hll::read(&direct).unwrap();
            let error = 6.0 * 1.04 / f64::from(1_u32 << lg_k).sqrt();
            let near = (read.estimate() - count as f64).abs() <= count as f64 * error + 0.01;
            assert!(near, "lg_k {lg_k}: {} of {count}", read.estimate());
        }
    }
}

#[test]
fn a_theta_sketch_depends_on_the_values_alone() {
    for lg_k in [5, 7, 12] {
        let around = [(1_i64 << lg_k) - 1, 1 << lg_k, (1 << lg_k) + 1, (2 << lg_k) - 3, 2 << lg_k];
        for count in COUNTS.into_iter().chain(around) {
            depends_on_the_values_alone(Kind::Theta, lg_k, count);
        }
    }
}

/// Of any sizes: unions of unions are the union of all, whatever is united first. The union's size is the same all along.
#[test]
fn unions_are_associative() {
    for kind in [Kind::Hll, Kind::Theta] {
        for sizes in [[6_u16, 9, 12], [12, 6, 9], [9, 9, 5], [5, 13, 13]] {
            for counts in [[0, 3, 400], [30, 700, 9_000], [20_000, 60, 2_000]] {
                let of = |index: usize| {
                    let from = index as i64 * 350;
                    sketch(kind, Some(sizes[index]), &integers(from..from + counts[index]))
                };
                let (a, b, c) = (of(0), of(1), of(2));
                for size in [None, Some(7), Some(12)] {
                    let united = |sketches: &[&Vec<u8>]| {
                        let sketches: Vec<Vec<u8>> = sketches.iter().map(|sketch| (*sketch).clone()).collect();
                        merged_to(kind, size, &sketches).unwrap()
                    };
                    let all = united(&[&a, &b, &c]);
                    for (one, other, last) in [(&a, &b, &c), (&c, &a, &b), (&c, &b, &a)] {
                        assert_eq!(
                            united(&[&united(&[one, other]), last]),
                            all,
                            "{kind:?} {sizes:?} {counts:?} {size:?}"
                        );
                        assert_eq!(
                            united(&[last, &united(&[other, one])]),
                            all,
                            "{kind:?} {sizes:?} {counts:?} {size:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_union_has_the_least_lg_k() {
    let values = integers(0..20_000);
    let small = sketch(Kind::Hll, Some(9), &values);
    for others in [integers(0..3), integers(0..100), integers(0..20_000)] {
        let large = sketch(Kind::Hll, Some(13), &others);
        assert_eq!(merged(Kind::Hll, &[large.clone(), small.clone()]).unwrap(), small);
        assert_eq!(merged(Kind::Hll, &[small.clone(), large]).unwrap(), small);
    }
}

#[test]
fn theta_sketches_are_sets() {
    let (evens, threes) = (integers((0..600).step_by(2)), integers((0..600).step_by(3)));
    let (evens, threes) = (sketch(Kind::Theta, None, &evens), sketch(Kind::Theta, None, &threes));
    let count = |sketch: &[u8]| theta::read(sketch).unwrap().estimate();
    assert_eq!(count(&theta::intersect(&evens, &threes).unwrap()), 100.0);
    assert_eq!(count(&theta::difference(&evens, &threes).unwrap()), 200.0);
    assert_eq!(
        theta::combine(&evens, &threes).unwrap(),
        merged(Kind::Theta, &[threes.clone(), evens.clone()]).unwrap()
    );
    assert_eq!(count(&merged(Kind::Theta, &[evens.clone(), threes]).unwrap()), 400.0);
    assert_eq!(merged(Kind::Theta, &[evens.clone(), evens.clone()]).unwrap(), evens);
}

#[test]
fn theta_counts_many_within_its_error() {
    let parts: Vec<Vec<u8>> =
        (0..4).map(|part| sketch(Kind::Theta, None, &integers(part * 40_000..(part + 2) * 40_000))).collect();
    let union = theta::read(&merged(Kind::Theta, &parts).unwrap()).unwrap();
    assert!((union.estimate() - 200_000.0).abs() < 10_000.0, "{}", union.estimate());
    assert!(union.num_retained() <= 4_096);
}

#[test]
fn quantiles_are_near() {
    let parts: Vec<Vec<u8>> =
        (0..5).map(|part| sketch(Kind::Kll, None, &integers((part..100_000).step_by(5)))).collect();
    let all = merged(Kind::Kll, &parts).unwrap();
    for rank in [0.1, 0.5, 0.99] {
        let number = kll::quantile(&all, rank).unwrap().unwrap();
        assert!((number - rank * 100_000.0).abs() < 4_000.0, "{rank}: {number}");
    }
    assert_eq!(kll::count(&all).unwrap(), 100_000);
    let bounds = (kll::lower(&all, 0.5).unwrap().unwrap(), kll::upper(&all, 0.5).unwrap().unwrap());
    assert!(bounds.0 < bounds.1 && (40_000.0..60_000.0).contains(&bounds.0) && bounds.1 < 60_000.0, "{bounds:?}");
    assert_eq!(kll::quantile(&all, 0.0).unwrap(), Some(0.0));
    assert_eq!(kll::quantile(&all, 1.0).unwrap(), Some(99_999.0));
    assert!(kll::quantile(&all, 1.1).is_err() && kll::quantile(&all, f64::NAN).is_err());
}

#[test]
fn what_is_nothing_is_left_out() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![None, Some(""), Some("a"), Some("a")]));
    for kind in [Kind::Hll, Kind::Theta] {
        let one: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        assert_eq!(sketch(kind, None, &texts), sketch(kind, None, &one));
    }
    let numbers: ArrayRef = Arc::new(Float64Array::from(vec![None, Some(f64::NAN), Some(2.5)]));
    assert_eq!(kll::quantile(&sketch(Kind::Kll, None, &numbers), 0.5).unwrap(), Some(2.5));
    assert_eq!(kll::quantile(&sketch(Kind::Kll, None, &integers([])), 0.5).unwrap(), None);
}

/// Everything SQL can do with the bytes: errors are fine, panics are not.
fn use_all(bytes: &[u8], sound: &[(Kind, Vec<u8>)]) {
    if let Ok(sketch) = hll::read(bytes) {
        let said =
            [sketch.estimate(), sketch.lower_bound(super::scalar::WIDTH), sketch.upper_bound(super::scalar::WIDTH)];
        assert!(said.iter().all(|number| !number.is_nan()), "{said:?}");
    }
    if let Ok(sketch) = theta::read(bytes) {
        let _ = (sketch.estimate(), sketch.lower_bound(super::scalar::WIDTH), sketch.upper_bound(super::scalar::WIDTH));
    }
    let _ = (kll::count(bytes), kll::quantile(bytes, 0.3), kll::lower(bytes, 0.3), kll::upper(bytes, 0.3));
    let _ = hll::distinct(bytes);
    for (kind, good) in sound {
        for order in [[bytes.to_vec(), good.clone()], [good.clone(), bytes.to_vec()]] {
            if let Ok(both) = merged(*kind, &order) {
                merged(*kind, &[both]).unwrap();
            }
        }
        if *kind == Kind::Theta {
            let _ = (
                theta::combine(bytes, good),
                theta::intersect(bytes, good),
                theta::difference(bytes, good),
                theta::difference(good, bytes),
            );
        }
    }
}

#[test]
fn damaged_bytes_are_errors_or_another_sketch() {
    let mut seed = 3_u64;
    let mut next = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below.max(1)
    };
    let kinds = [Kind::Hll, Kind::Theta, Kind::Kll];
    let of = |kind, count| (kind, sketch(kind, None, &integers(0..count)));
    let sound: Vec<_> = kinds.iter().flat_map(|kind| [of(*kind, 5), of(*kind, 9_000)]).collect();
    for kind in kinds {
        for count in [0, 1, 3, 30, 300, 2_000] {
            let good = sketch(kind, Some(9), &integers(0..count));
            for length in [0, 1, 7, 8, 11, 12, 20, good.len().saturating_sub(1)] {
                use_all(&good[..length.min(good.len())], &sound);
            }
            for _ in 0..60 {
                let mut bytes = good.clone();
                for _ in 0..=next(3) {
                    // Mostly the head, which says how the rest is read.
                    let place = if next(4) == 0 { next(bytes.len()) } else { next(bytes.len().min(44)) };
                    bytes[place] = next(256) as u8;
                }
                if next(5) == 0 {
                    bytes.resize(next(6_000), next(256) as u8);
                }
                use_all(&bytes, &sound);
            }
        }
    }
}
