//! [`FileIndex`]: load it once, then advance it.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;

use super::action::{AddFile, LogLine, Protocol, TableMetadata, parse_lines};
use super::checkpoint::parse_checkpoint;
use super::draft::Draft;
use super::file::DataFile;
use super::layout::Layout;
use super::root::TableRoot;
use super::segment::{Segment, segments_of, updated};
use super::segments::Segments;
use super::transactions::Transactions;
use super::{features, log};
use crate::base::Timestamp;
use crate::storage::{StorageError, TableVersion};

/// The files of one version of one table.
#[derive(Clone, Debug)]
pub(crate) struct FileIndex {
    root: TableRoot,
    version: TableVersion,
    committed_at: Timestamp,
    metadata: Arc<TableMetadata>,
    protocol: Protocol,
    layout: Arc<Layout>,
    segments: Arc<Segments>,
    transactions: Transactions,
    /// The newest version known to have taken rows away; that of the checkpoint it was loaded from, when there is none.
    rows_removed_at: Option<TableVersion>,
    totals: Totals,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    files: usize,
    rows: u64,
    bytes: u64,
}

impl FileIndex {
    /// Reads the newest version from the log: checkpoint, then the commits after it.
    pub async fn load(root: &TableRoot) -> Result<FileIndex, StorageError> {
        let listing = log::list(root).await?;
        let Some((version, written_at)) = listing.newest() else {
            return Err(StorageError::TableNotFound { path: root.name.to_string() });
        };
        let (summed_up, parts) = listing.checkpoint.map(|(at, parts)| (Some(at), parts)).unwrap_or_default();
        let mut commits = listing.commits;
        let before: Vec<_> = listing.checkpoint_commit.into_iter().filter(|_| commits.is_empty()).collect();
        let (checkpoint, commits, before) = futures::try_join!(
            log::fetch(root, &parts),
            async {
                let files: Vec<_> = commits.drain(..).map(|(_, meta)| meta).collect();
                log::fetch(root, &files).await
            },
            log::fetch(root, &before),
        )?;
        let root = root.clone();
        let source = LogContent { version, written_at, summed_up, before, checkpoint, commits };
        let work = move || replay(root, source);
        // Parsing a large log takes longer than an async thread should be held.
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| StorageError::Damaged { message: format!("reading the log did not finish: {error}") })?
    }

    /// The newest version, reading only commits after this one. The same index when there are none.
    pub async fn advance(self: &Arc<Self>) -> Result<Arc<FileIndex>, StorageError> {
        let commits = log::commits_from(&self.root, self.version.0 + 1).await?;
        if commits.is_empty() {
            // Nothing new; or so much that the commits after ours were cleaned up.
            let checkpoint = log::last_checkpoint(&self.root).await?;
            if checkpoint.is_none_or(|version| version <= self.version.0) {
                return Ok(self.clone());
            }
            tracing::info!(table = %self.root.name, version = %self.version, "log was cleaned up; loading it again");
            return Ok(Arc::new(Self::load(&self.root).await?));
        }
        self.with_commits(&commits).map(Arc::new)
    }

    /// This index after `commits`, which follow it without gap.
    pub fn with_commits(&self, commits: &[(u64, Bytes)]) -> Result<FileIndex, StorageError> {
        let mut draft = Draft::default();
        let mut version = self.version;
        for (number, bytes) in commits {
            draft.apply(&self.root.name, *number, parse_lines(&log::commit_name(*number), bytes)?)?;
            version = TableVersion(*number);
        }
        let written_at = self.committed_at.millis();
        self.with_draft(version, written_at, draft)
    }

    fn with_draft(&self, version: TableVersion, written_at: i64, draft: Draft) -> Result<FileIndex, StorageError> {
        let mut next = self.clone();
        next.version = version;
        next.committed_at = Timestamp::from_millis(draft.committed_at.unwrap_or(written_at));
        next.transactions = self.transactions.with(draft.transactions.clone());
        next.rows_removed_at = draft.rows_removed_at.map(TableVersion).or(self.rows_removed_at);
        next.protocol = draft.protocol.clone().unwrap_or_else(|| self.protocol.clone());
        if let Some(metadata) = draft.metadata.clone().filter(|metadata| *metadata != *self.metadata) {
            next.relayout(metadata)?;
        }
        features::check_protocol(&self.root.name, &next.protocol, column_mapping(&next.metadata))?;
        if draft.has_no_files() {
            return Ok(next);
        }
        let (added, gone) = draft.into_files();
        next.replace_files(added, &gone)?;
        Ok(next)
    }

    fn relayout(&mut self, metadata: TableMetadata) -> Result<(), StorageError> {
        let layout = Arc::new(Layout::from_metadata(&self.root.name, &metadata)?);
        let places = layout.places_in(&self.layout);
        let files: Vec<_> = self.files().map(|file| Arc::new(file.under(&places))).collect();
        self.segments = Arc::new(Segments::new(&layout, segments_of(&layout, &files)));
        self.layout = layout;
        self.metadata = Arc::new(metadata);
        Ok(())
    }

    fn replace_files(&mut self, added: Vec<AddFile>, gone: &[Path]) -> Result<(), StorageError> {
        let typed = |add: &AddFile| DataFile::from_add(&self.root, &self.layout, add).map(Arc::new);
        let added: Vec<Arc<DataFile>> = added.iter().map(typed).collect::<Result<_, _>>()?;
        let leaving = gone.iter().filter_map(|path| self.file(path)).map(Arc::as_ref);
        let left = Totals::of(leaving);
        let came = Totals::of(added.iter().map(Arc::as_ref));
        let segments = updated(&self.layout, &self.segments, gone, added);
        self.segments = Arc::new(Segments::new(&self.layout, segments));
        self.totals = Totals {
            files: self.totals.files + came.files - left.files,
            rows: self.totals.rows + came.rows - left.rows,
            bytes: self.totals.bytes + came.bytes - left.bytes,
        };
        Ok(())
    }

    pub fn root(&self) -> &TableRoot {
        &self.root
    }

    pub fn version(&self) -> TableVersion {
        self.version
    }

    pub fn committed_at(&self) -> Timestamp {
        self.committed_at
    }

    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    pub fn segments(&self) -> &Arc<Segments> {
        &self.segments
    }

    pub fn files(&self) -> impl Iterator<Item = &Arc<DataFile>> {
        self.segments.iter().flat_map(|segment| segment.files())
    }

    /// The file at a decoded path below the table's folder.
    pub fn file(&self, relative: &Path) -> Option<&Arc<DataFile>> {
        self.segments.iter().find_map(|segment| segment.find(relative).and_then(|at| segment.files().get(at)))
    }

    /// Files of this index that hold all rows `older` does not have, and perhaps some it has: a file rewritten from rows
    /// of before and after `older` counts, one rewritten from older rows alone does not.
    pub fn files_added_since(&self, older: &FileIndex) -> Vec<Arc<DataFile>> {
        let is_shared = |segment: &Arc<Segment>| older.segments.iter().any(|other| Arc::ptr_eq(other, segment));
        let own = self.segments.iter().filter(|segment| !is_shared(segment));
        let files = own.flat_map(|segment| segment.files());
        let is_new = |file: &&Arc<DataFile>| file.rows_until > older.version && older.file(&file.relative).is_none();
        files.filter(is_new).cloned().collect()
    }

    /// Files of `older` that this index does not have: removed, or rewritten.
    pub fn files_gone_since<'a>(&self, older: &'a FileIndex) -> Vec<&'a Arc<DataFile>> {
        let is_shared = |segment: &Arc<Segment>| self.segments.iter().any(|own| Arc::ptr_eq(own, segment));
        let others = older.segments.iter().filter(|segment| !is_shared(segment));
        others.flat_map(|segment| segment.files()).filter(|file| self.file(&file.relative).is_none()).collect()
    }

    /// Whether rows of `older` may be missing here: removed, not merely rewritten.
    pub fn rows_removed_since(&self, older: &FileIndex) -> bool {
        self.rows_removed_at.is_some_and(|at| at > older.version)
    }

    /// The version last committed under an application id.
    pub fn transaction_version(&self, app_id: &str) -> Option<i64> {
        self.transactions.get(app_id)
    }

    pub fn file_count(&self) -> usize {
        self.totals.files
    }

    /// Rows of all files; those of files whose log entry has no count (foreign writers) are missing.
    pub fn row_count(&self) -> u64 {
        self.totals.rows
    }

    pub fn bytes(&self) -> u64 {
        self.totals.bytes
    }

    #[cfg(test)]
    pub(super) fn transactions(&self) -> &Transactions {
        &self.transactions
    }
}

impl Totals {
    fn of<'a>(files: impl Iterator<Item = &'a DataFile>) -> Totals {
        files.fold(Totals::default(), |sum, file| Totals {
            files: sum.files + 1,
            rows: sum.rows + file.rows().unwrap_or(0),
            bytes: sum.bytes + file.size,
        })
    }
}

/// What was fetched of a log.
struct LogContent {
    version: u64,
    /// Milliseconds.
    written_at: i64,
    /// The version of the checkpoint.
    summed_up: Option<u64>,
    /// The commit a checkpoint was made of; only its time counts.
    before: Vec<Bytes>,
    checkpoint: Vec<Bytes>,
    /// Up to `version`, without gaps.
    commits: Vec<Bytes>,
}

/// An index from nothing.
fn replay(root: TableRoot, source: LogContent) -> Result<FileIndex, StorageError> {
    let LogContent { version, written_at, summed_up, before, checkpoint, commits } = source;
    let mut draft = Draft::default();
    // What a checkpoint has summed up may have been anything.
    draft.rows_removed_at = summed_up;
    for bytes in checkpoint {
        draft.apply(&root.name, summed_up.unwrap_or_default(), parse_checkpoint(&root.name, bytes)?)?;
    }
    for bytes in before {
        let infos = parse_lines(&root.name, &bytes)?.into_iter().filter_map(|line| line.commit_info);
        let infos = infos.map(|info| LogLine { commit_info: Some(info), ..LogLine::default() });
        draft.apply(&root.name, summed_up.unwrap_or_default(), infos.collect())?;
    }
    let first = (version + 1).saturating_sub(commits.len() as u64);
    for (number, bytes) in (first..).zip(&commits) {
        draft.apply(&root.name, number, parse_lines(&root.name, bytes)?)?;
    }
    let version = TableVersion(version);
    let missing =
        |what: &str| StorageError::Damaged { message: format!("the log of table '{}' has no {what}", root.name) };
    let metadata = draft.metadata.take().ok_or_else(|| missing("metadata"))?;
    let protocol = draft.protocol.take().ok_or_else(|| missing("protocol"))?;
    // Before the columns: a table that needs more than we know should say so rather than look damaged.
    features::check_protocol(&root.name, &protocol, column_mapping(&metadata))?;
    let layout = Arc::new(Layout::from_metadata(&root.name, &metadata)?);
    let empty = FileIndex {
        segments: Arc::new(Segments::new(&layout, Vec::new())),
        layout,
        metadata: Arc::new(metadata),
        protocol,
        root,
        version,
        committed_at: Timestamp::from_millis(written_at),
        transactions: Transactions::default(),
        rows_removed_at: None,
        totals: Totals::default(),
    };
    empty.with_draft(version, written_at, draft)
}

fn column_mapping(metadata: &TableMetadata) -> Option<&str> {
    metadata.configuration.get("delta.columnMapping.mode").map(String::as_str)
}
