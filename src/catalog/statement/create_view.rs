//! `CREATE VIEW name AS query` and `CREATE MATERIALIZED VIEW name WITH (refresh='manual', …) AS query`.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::create::Body;
use super::cursor::Cursor;
use super::options::Options;
use super::{partitioning, query};
use crate::catalog::{CatalogError, Definition, MaterializedViewDefinition, ViewDefinition};

const MATERIALIZED_OPTIONS: [&str; 4] = ["refresh", "partition_by", "sort_by", "rewrite"];

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
    let position = cursor.position();
    let mut options = Options::read(cursor)?;
    match options.take("refresh") {
        Some(option) if option.text.eq_ignore_ascii_case("manual") => {}
        Some(option) => {
            return Err(option.position.unimplemented(format!(
                "refresh='{}' is not supported yet: only refresh='manual', with REFRESH MATERIALIZED VIEW",
                option.text
            )));
        }
        None => return Err(position.bad("say how the view is refreshed: WITH (refresh='manual')")),
    }
    options.refuse("rewrite", "queries on base tables are not answered from materialized views")?;
    let layout = partitioning::take_layout(&mut options, None)?;
    options.finish("CREATE MATERIALIZED VIEW", &MATERIALIZED_OPTIONS)?;
    cursor.expect_word("AS")?;
    let query = query::stored(cursor)?;
    query.refuse_parameters("a materialized view")?;
    query.refuse_filters()?;
    let definition =
        MaterializedViewDefinition { query: query.text, partition_by: layout.partition_by, sort_by: layout.sort_by };
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
