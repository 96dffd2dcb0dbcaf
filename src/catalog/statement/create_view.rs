//! `CREATE VIEW name AS query` and `CREATE MATERIALIZED VIEW name [WITH (refresh='continuous', …)] AS query`.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::create::Body;
use super::cursor::Cursor;
use super::options::Options;
use super::view_options::{self, ViewOptions};
use super::{partitioning, query};
use crate::catalog::{CatalogError, Definition, MaterializedViewDefinition, ViewDefinition};

/// Reads what follows the view's name.
pub fn view(cursor: &mut Cursor) -> Result<Body, CatalogError> {
    refuse_column_list(cursor)?;
    Options::read(cursor)?.finish("CREATE VIEW", &[])?;
    cursor.expect_word("AS")?;
    let query = query::stored(cursor)?;
    query.refuse_parameters("a view")?;
    query.refuse_filters()?;
    Ok(Body { definition: Definition::View(ViewDefinition { query: query.text }), reads: query.reads })
}

/// Reads what follows the materialized view's name.
pub fn materialized_view(cursor: &mut Cursor) -> Result<Body, CatalogError> {
    refuse_column_list(cursor)?;
    let mut options = Options::read(cursor)?;
    let ViewOptions { trigger, strategy, rewrite, restate_after, verify } = view_options::take(&mut options)?;
    let layout = partitioning::take_layout(&mut options, None)?;
    options.finish("CREATE MATERIALIZED VIEW", &view_options::OPTIONS)?;
    cursor.expect_word("AS")?;
    let query = query::stored(cursor)?;
    query.refuse_parameters("a materialized view")?;
    query.refuse_filters()?;
    let definition = MaterializedViewDefinition {
        query: query.text,
        partition_by: layout.partition_by,
        sort_by: layout.sort_by,
        trigger,
        strategy,
        rewrite,
        restate_after,
        verify,
    };
    Ok(Body { definition: Definition::MaterializedView(definition), reads: query.reads })
}

fn refuse_column_list(cursor: &Cursor) -> Result<(), CatalogError> {
    match cursor.peek() {
        Token::LParen => Err(cursor.position().unimplemented(
            "a list of column names is not supported: name the columns in the query (SELECT … AS name)",
        )),
        _ => Ok(()),
    }
}
