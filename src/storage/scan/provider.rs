//! [`LakeTable`]: one version of a table, or some of its files, as a DataFusion table.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, Statistics};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{PhysicalExpr, conjunction_opt, create_physical_expr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::metrics::MetricBuilder;

use super::arrange::{Arrangement, arrange};
use super::prune::{Kept, prune};
use super::summary::summary;
use crate::storage::TableVersion;
use crate::storage::index::{DataFile, FileIndex, Layout, Segments, TableRoot, segments_of};

/// See the module `scan`. Holds the files of its version; later commits do not change it.
pub(crate) struct LakeTable {
    root: TableRoot,
    version: TableVersion,
    layout: Arc<Layout>,
    segments: Arc<Segments>,
    /// Of all segments.
    file_count: usize,
}

impl LakeTable {
    /// All files of `index`.
    pub fn new(index: &FileIndex) -> LakeTable {
        Self::of(index, index.segments().clone())
    }

    /// Only `files`, which belong to `index`.
    pub fn of_files(index: &FileIndex, files: &[Arc<DataFile>]) -> LakeTable {
        let segments = segments_of(index.layout(), files);
        Self::of(index, Arc::new(Segments::new(index.layout(), segments)))
    }

    /// All files of `index`, cut into segments of `size`.
    #[cfg(test)]
    pub fn cut(index: &FileIndex, size: usize) -> LakeTable {
        let files: Vec<Arc<DataFile>> = index.files().cloned().collect();
        let segments = crate::storage::index::segments_of_size(index.layout(), &files, size);
        Self::of(index, Arc::new(Segments::new(index.layout(), segments)))
    }

    fn of(index: &FileIndex, segments: Arc<Segments>) -> LakeTable {
        LakeTable {
            root: index.root().clone(),
            version: index.version(),
            layout: index.layout().clone(),
            file_count: segments.iter().map(|segment| segment.files().len()).sum(),
            segments,
        }
    }

    /// The filters together, over table order. Those that mean nothing here (a scalar subquery, not yet computed) are
    /// left to the filter above the scan.
    fn predicate(&self, state: &dyn Session, filters: &[Expr]) -> Option<Arc<dyn PhysicalExpr>> {
        let context = PhysicalPlanningContext::default();
        let physical =
            |filter| create_physical_expr(filter, &self.layout.resolver, state.execution_props(), &context).ok();
        conjunction_opt(filters.iter().filter_map(physical))
    }

    /// The files that may hold rows which pass the filters, by their statistics.
    pub fn files_for(&self, state: &dyn Session, filters: &[Expr]) -> Vec<Arc<DataFile>> {
        let predicate = self.predicate(state, filters);
        let max_in_list_size = state.config_options().execution.parquet.max_in_list_size;
        let kept = prune(&self.layout, &self.segments, predicate.as_ref(), max_in_list_size);
        kept.iter().flat_map(Kept::files).cloned().collect()
    }

    /// Whether the rows wanted are few and lie together, so that deciding on the filter columns first and decoding the
    /// others only for matching rows pays: an equality on a column the files are sorted by or have a bloom filter for.
    fn is_selective(&self, filters: &[Expr]) -> bool {
        let spec = &self.layout.spec;
        let is_key = |name: &str| {
            spec.sort_by.first().is_some_and(|first| first == name)
                || spec.event_key.as_deref() == Some(name)
                || spec.bloom_columns.iter().any(|bloom| bloom == name)
        };
        let conjuncts = filters.iter().flat_map(split_conjunction);
        conjuncts.filter_map(equality_column).any(is_key)
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &Arc<DataFile>> {
        self.segments.iter().flat_map(|segment| segment.files())
    }

    pub(super) fn root(&self) -> &TableRoot {
        &self.root
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Rows of the files that may hold some that pass `filters`.
    fn rows_left(&self, state: &dyn Session, filters: &[Expr]) -> u64 {
        let predicate = self.predicate(state, filters);
        let max_in_list_size = state.config_options().execution.parquet.max_in_list_size;
        let kept = prune(&self.layout, &self.segments, predicate.as_ref(), max_in_list_size);
        summary(&self.layout, &kept, &[]).num_rows.get_value().map_or(0, |rows| *rows as u64)
    }

    fn source(&self, state: &dyn Session, filters: &[Expr]) -> ParquetSource {
        let mut options =
            TableParquetOptions { global: state.config_options().execution.parquet.clone(), ..Default::default() };
        options.global.enable_page_index = true;
        options.global.bloom_filter_on_read = true;
        options.global.pruning = true;
        if self.is_selective(filters) {
            options.global.pushdown_filters = true;
        }
        let readers = CachedParquetFileReaderFactory::new(self.root.store.clone(), self.root.metadata_cache.clone());
        let hint = options.global.metadata_size_hint;
        let source = ParquetSource::new(self.layout.table_schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(readers));
        match hint {
            Some(hint) => source.with_metadata_size_hint(hint),
            None => source,
        }
    }

    /// What EXPLAIN ANALYZE shows of this scan beside DataFusion's own numbers.
    fn count(&self, source: &ParquetSource, scanned: usize) {
        let total = self.file_count;
        let metric =
            |name: &'static str, value: usize| MetricBuilder::new(source.metrics()).global_counter(name).add(value);
        metric("table_files", total);
        metric("table_files_pruned", total - scanned);
        metric("table_version", usize::try_from(self.version.0).unwrap_or(usize::MAX));
        tracing::debug!(table = %self.root.name, version = %self.version, files = total, scanned, "planned scan");
    }

    fn plan(&self, state: &dyn Session, request: &ScanRequest) -> Result<Arc<dyn ExecutionPlan>> {
        let predicate = self.predicate(state, request.filters);
        let max_in_list_size = state.config_options().execution.parquet.max_in_list_size;
        let mut kept = prune(&self.layout, &self.segments, predicate.as_ref(), max_in_list_size);
        if let (Some(limit), true) = (request.limit, request.filters.is_empty()) {
            kept = enough_for(limit, &kept);
        }
        let files: Vec<&Arc<DataFile>> = kept.iter().flat_map(Kept::files).collect();
        let places: Vec<usize> = match request.projection {
            Some(columns) => columns.iter().filter_map(|column| self.layout.places.get(*column).copied()).collect(),
            None => self.layout.places.clone(),
        };
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(Arc::new(self.layout.ordered().project(&places)?))));
        }
        let source = self.source(state, request.filters);
        self.count(&source, files.len());
        let Arrangement { groups, ordering } = arrange(&self.layout, &files, state.config().target_partitions());
        let config = FileScanConfigBuilder::new(self.root.store_url.clone(), Arc::new(source))
            .with_statistics(summary(&self.layout, &kept, &places))
            .with_projection_indices(Some(places))?
            .with_file_groups(groups)
            .with_output_ordering(ordering.into_iter().collect())
            .with_limit(request.limit.filter(|_| request.filters.is_empty()))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// Rows that a scan of `provider` with `filters` reads: of the files that statistics do not rule out. None: it is no table of a lake.
/// No file is opened; types in the filters are settled.
pub fn rows_left(provider: &dyn TableProvider, state: &dyn Session, filters: &[Expr]) -> Option<u64> {
    provider.downcast_ref::<LakeTable>().map(|table| table.rows_left(state, filters))
}

struct ScanRequest<'a> {
    projection: Option<&'a Vec<usize>>,
    filters: &'a [Expr],
    limit: Option<usize>,
}

/// The first files, as many as `limit` rows need.
fn enough_for<'a>(limit: usize, kept: &[Kept<'a>]) -> Vec<Kept<'a>> {
    let mut rows = 0_u64;
    let files = kept.iter().flat_map(Kept::files).take_while(|file| {
        let wanted = rows < limit as u64;
        rows = rows.saturating_add(file.rows().unwrap_or(0));
        wanted
    });
    let files: Vec<_> = files.collect();
    if files.is_empty() { Vec::new() } else { vec![Kept::Files(files)] }
}

/// The column of `column = literal` or `column IN (literals)`.
fn equality_column(filter: &Expr) -> Option<&str> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(..)) | (Expr::Literal(..), Expr::Column(column)) => Some(&column.name),
            _ => None,
        },
        Expr::InList(InList { expr, negated: false, .. }) => match expr.as_ref() {
            Expr::Column(column) => Some(&column.name),
            _ => None,
        },
        _ => None,
    }
}

impl fmt::Debug for LakeTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LakeTable")
            .field("table", &self.root.name)
            .field("version", &self.version)
            .field("files", &self.file_count)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        self.layout.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn statistics(&self) -> Option<Statistics> {
        let kept = prune(&self.layout, &self.segments, None, 0);
        let mut statistics = summary(&self.layout, &kept, &self.layout.places);
        let columns = self.layout.places.iter().filter_map(|place| statistics.column_statistics.get(*place)).cloned();
        statistics.column_statistics = columns.collect();
        Some(statistics)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.plan(state, &ScanRequest { projection, filters, limit })
    }
}
