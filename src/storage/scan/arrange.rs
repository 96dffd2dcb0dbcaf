//! Distributes files over partitions.
//!
//! Files within a group are read one after another. Where the files are sorted, and can be dealt out so that within each
//! group one ends before the next begins, the groups declare the order; otherwise they are balanced by size. Whether
//! large files are cut further is DataFusion's decision (`repartition_file_scans`); cut ranges of a file keep its order.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::compute::SortOptions;
use datafusion::common::ScalarValue;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileGroup;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use object_store::ObjectMeta;

use crate::storage::index::{DataFile, Layout};

/// More files than this are not put in order: DataFusion would compare them again in every optimizer pass, and a table
/// with that many files is waiting for compaction.
const ORDERED_FILES_MAX: usize = 512;

/// File groups and the order of rows within each.
pub(super) struct Arrangement {
    pub groups: Vec<FileGroup>,
    pub ordering: Option<LexOrdering>,
}

/// Deals `files` out to at most `partitions` groups.
pub(super) fn arrange(layout: &Layout, files: &[&Arc<DataFile>], partitions: usize) -> Arrangement {
    let partitions = partitions.max(1);
    for depth in (1..=sorted_depth(layout, files)).rev() {
        let places = layout.sort_places.get(..depth).unwrap_or_default();
        if let Some(groups) = in_order(places, files, partitions) {
            let ordering = LexOrdering::new(places.iter().map(|place| sort_key(layout, *place)));
            return Arrangement { groups, ordering };
        }
    }
    let all = FileGroup::new(files.iter().map(|file| partitioned(file)).collect());
    Arrangement { groups: balanced(all, partitions), ordering: None }
}

/// Groups of nearly equal bytes; neighbours stay together.
fn balanced(all: FileGroup, partitions: usize) -> Vec<FileGroup> {
    let total: u64 = all.iter().map(|file| file.object_meta.size).sum();
    let share = (total / partitions as u64).max(1);
    let mut groups = Vec::with_capacity(partitions);
    let mut group: Vec<PartitionedFile> = Vec::new();
    let mut bytes = 0;
    for file in all.into_inner() {
        bytes += file.object_meta.size;
        group.push(file);
        if bytes >= share && groups.len() + 1 < partitions {
            groups.push(FileGroup::new(std::mem::take(&mut group)));
            bytes = 0;
        }
    }
    if !group.is_empty() {
        groups.push(FileGroup::new(group));
    }
    groups
}

/// How many leading sort columns every file is sorted by.
fn sorted_depth(layout: &Layout, files: &[&Arc<DataFile>]) -> usize {
    if layout.sort_places.is_empty() || files.len() > ORDERED_FILES_MAX {
        return 0;
    }
    let names: Vec<&str> =
        layout.sort_places.iter().map(|place| layout.ordered().field(*place).name().as_str()).collect();
    let depth = |file: &Arc<DataFile>| {
        let sorted_by = file.sorted_by.as_deref().unwrap_or_default();
        sorted_by.split(',').zip(&names).take_while(|(sorted, name)| *sorted == **name).count()
    };
    files.iter().map(|file| depth(file)).min().unwrap_or(0)
}

/// First and last possible row of a file, over the sort columns.
struct Extent<'a> {
    file: &'a Arc<DataFile>,
    first: Vec<&'a ScalarValue>,
    /// `None` = the file may end with nulls, which sort last: nothing can follow it.
    last: Option<Vec<&'a ScalarValue>>,
}

/// The files in groups within which each file ends before the next begins; `None` when that takes too many groups.
///
/// Colouring intervals greedily by their start needs as many groups as intervals overlap anywhere, whichever of the
/// free groups is chosen; choosing the smallest balances them.
fn in_order(places: &[usize], files: &[&Arc<DataFile>], partitions: usize) -> Option<Vec<FileGroup>> {
    let mut extents: Vec<Extent> = files.iter().map(|file| extent(places, file)).collect::<Option<_>>()?;
    extents.sort_by(|a, b| lexicographic(&a.first, &b.first));
    let mut groups: Vec<(u64, Vec<Extent>)> = Vec::with_capacity(partitions);
    for extent in extents {
        // An unused group is the best fit: parallelism first.
        if groups.len() < partitions {
            groups.push((extent.file.size, vec![extent]));
            continue;
        }
        let free = groups.iter_mut().filter(|(_, group)| group.last().is_some_and(|last| ends_before(last, &extent)));
        let (bytes, group) = free.min_by_key(|(bytes, _)| *bytes)?;
        *bytes += extent.file.size;
        group.push(extent);
    }
    let file_groups =
        groups.into_iter().map(|(_, group)| group.iter().map(|extent| partitioned(extent.file)).collect());
    Some(file_groups.map(FileGroup::new).collect())
}

fn extent<'a>(places: &[usize], file: &'a Arc<DataFile>) -> Option<Extent<'a>> {
    let columns = &file.statistics.column_statistics;
    let first = places.iter().map(|place| columns.get(*place)?.min_value.get_value()).collect::<Option<Vec<_>>>()?;
    let upper = |place: &usize| {
        if !file.has_no_nulls(*place) {
            return None;
        }
        columns.get(*place)?.max_value.get_value()
    };
    Some(Extent { file, first, last: places.iter().map(upper).collect() })
}

/// Every row of `a` sorts before, or with, every row of `b`.
fn ends_before(a: &Extent, b: &Extent) -> bool {
    a.last.as_ref().is_some_and(|last| lexicographic(last, &b.first) != Ordering::Greater)
}

fn lexicographic(a: &[&ScalarValue], b: &[&ScalarValue]) -> Ordering {
    let pairs = a.iter().zip(b);
    // Values of one column have one type and are never floats, so they compare.
    pairs
        .map(|(a, b)| a.partial_cmp(b).unwrap_or(Ordering::Greater))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn sort_key(layout: &Layout, place: usize) -> PhysicalSortExpr {
    let column = Column::new(layout.ordered().field(place).name(), place);
    PhysicalSortExpr::new(Arc::new(column), SortOptions { descending: false, nulls_first: false })
}

pub(super) fn partitioned(file: &DataFile) -> PartitionedFile {
    let meta = ObjectMeta {
        location: file.location.clone(),
        last_modified: file.modified,
        size: file.size,
        e_tag: None,
        version: None,
    };
    let mut scanned = PartitionedFile::new_from_meta(meta);
    scanned.partition_values.clone_from(&file.partition_values);
    // Already in table order with the partition columns, so not through `with_statistics`, which would add them again.
    scanned.statistics = Some(file.statistics.clone());
    scanned
}
