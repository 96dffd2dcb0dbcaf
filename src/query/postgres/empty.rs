//! What PostgreSQL has and we have none of: tables without rows; and queries that can only be empty for them.
//!
//! Clients ask about indexes, triggers or publications with functions and forms that the engine has not. A query whose rows all
//! come from such a table (not merely joined to it from outside) has none, so it need not be planned.

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, JoinOperator, Query, Select, SelectItem, SetExpr, SetOperator, TableFactor, TableWithJoins,
};

use super::translate::{COLUMNS_MAX, last_part, shown_name};
use crate::base::quoted;

const EMPTY: [(&str, &str); 47] = [
    ("pg_aggregate", "aggfnoid aggkind"),
    ("pg_attrdef", "oid:n adrelid:n adnum:n adbin"),
    ("pg_auth_members", "oid:n roleid:n member:n grantor:n admin_option:f"),
    ("pg_cast", "oid:n castsource:n casttarget:n castfunc:n castcontext castmethod"),
    ("pg_collation", COLLATION),
    ("pg_constraint", CONSTRAINT),
    ("pg_conversion", "oid:n conname connamespace:n"),
    ("pg_depend", "classid:n objid:n objsubid:n refclassid:n refobjid:n refobjsubid:n deptype"),
    ("pg_description", "objoid:n classoid:n objsubid:n description"),
    ("pg_enum", "oid:n enumtypid:n enumsortorder:n enumlabel"),
    ("pg_event_trigger", "oid:n evtname evtevent evtowner:n evtfoid:n evtenabled evttags:a"),
    ("pg_extension", "oid:n extname extowner:n extnamespace:n extrelocatable:f extversion extconfig:a extcondition:a"),
    ("pg_foreign_data_wrapper", "oid:n fdwname fdwowner:n fdwhandler:n fdwvalidator:n fdwacl:a fdwoptions:a"),
    ("pg_foreign_server", "oid:n srvname srvowner:n srvfdw:n srvtype srvversion srvacl:a srvoptions:a"),
    ("pg_foreign_table", "ftrelid:n ftserver:n ftoptions:a"),
    ("pg_index", INDEX),
    ("pg_indexes", "schemaname tablename indexname tablespace indexdef"),
    ("pg_inherits", "inhrelid:n inhparent:n inhseqno:n inhdetachpending:f"),
    (
        "pg_language",
        "oid:n lanname lanowner:n lanispl:f lanpltrusted:f lanplcallfoid:n laninline:n lanvalidator:n lanacl:a",
    ),
    ("pg_locks", "locktype database:n relation:n pid:n mode granted:f"),
    (
        "pg_opclass",
        "oid:n opcmethod:n opcname opcnamespace:n opcowner:n opcfamily:n opcintype:n opcdefault:f opckeytype:n",
    ),
    ("pg_operator", "oid:n oprname oprnamespace:n oprowner:n oprkind oprleft:n oprright:n oprresult:n oprcode"),
    (
        "pg_partitioned_table",
        "partrelid:n partstrat partnatts:n partdefid:n partattrs:a partclass:a partcollation:a partexprs",
    ),
    ("pg_policy", "oid:n polname polrelid:n polcmd polpermissive:f polroles:a polqual polwithcheck"),
    ("pg_proc", PROC),
    (
        "pg_publication",
        "oid:n pubname pubowner:n puballtables:f pubinsert:f pubupdate:f pubdelete:f pubtruncate:f pubviaroot:f",
    ),
    ("pg_publication_namespace", "oid:n pnpubid:n pnnspid:n"),
    ("pg_publication_rel", "oid:n prpubid:n prrelid:n prqual prattrs:a"),
    ("pg_range", "rngtypid:n rngsubtype:n rngmultitypid:n rngcollation:n rngsubopc:n rngcanonical rngsubdiff"),
    ("pg_rewrite", "oid:n rulename ev_class:n ev_type ev_enabled is_instead:f ev_qual ev_action"),
    ("pg_seclabels", "objoid:n classoid:n objsubid:n objtype objnamespace:n objname provider label"),
    ("pg_sequence", "seqrelid:n seqtypid:n seqstart:n seqincrement:n seqmax:n seqmin:n seqcache:n seqcycle:f"),
    (
        "pg_sequences",
        "schemaname sequencename sequenceowner data_type start_value:n min_value:n max_value:n increment_by:n",
    ),
    ("pg_shdescription", "objoid:n classoid:n description"),
    ("pg_stat_activity", "datid:n datname pid:n usesysid:n usename application_name client_addr state query"),
    ("pg_stat_all_tables", STAT_TABLES),
    ("pg_stat_ssl", "pid:n ssl:f version cipher bits:n client_dn client_serial issuer_dn"),
    ("pg_stat_user_tables", STAT_TABLES),
    (
        "pg_statistic_ext",
        "oid:n stxrelid:n stxname stxnamespace:n stxowner:n stxstattarget:n stxkeys:a stxkind:a stxexprs",
    ),
    ("pg_subscription", "oid:n subdbid:n subname subowner:n subenabled:f"),
    ("pg_tablespace", "oid:n spcname spcowner:n spcacl:a spcoptions:a"),
    ("pg_timezone_names", "name abbrev utc_offset is_dst:f"),
    ("pg_trigger", TRIGGER),
    ("pg_ts_config", "oid:n cfgname cfgnamespace:n cfgowner:n cfgparser:n"),
    ("pg_ts_dict", "oid:n dictname dictnamespace:n dictowner:n dicttemplate:n dictinitoption"),
    ("pg_ts_parser", "oid:n prsname prsnamespace:n"),
    ("pg_user_mapping", "oid:n umuser:n umserver:n umoptions:a"),
];

const COLLATION: &str = "oid:n collname collnamespace:n=11 collowner:n=10 collprovider:t=d collisdeterministic:f=true \
    collencoding:n=-1 collcollate colllocale collctype colliculocale collicurules collversion";
const CONSTRAINT: &str = "oid:n conname connamespace:n contype condeferrable:f condeferred:f convalidated:f conrelid:n contypid:n \
    conindid:n conparentid:n confrelid:n confupdtype confdeltype confmatchtype conislocal:f coninhcount:n connoinherit:f \
    conkey:a confkey:a conpfeqop:a conppeqop:a conffeqop:a confdelsetcols:a conexclop:a conbin";
const INDEX: &str = "indexrelid:n indrelid:n indnatts:n indnkeyatts:n indisunique:f indnullsnotdistinct:f indisprimary:f \
    indisexclusion:f indimmediate:f indisclustered:f indisvalid:f indcheckxmin:f indisready:f indislive:f indisreplident:f \
    indkey:a indcollation:a indclass:a indoption:a indexprs indpred";
const PROC: &str = "oid:n proname pronamespace:n proowner:n prolang:n procost:n prorows:n provariadic:n prokind prosecdef:f \
    proleakproof:f proisstrict:f proretset:f provolatile proparallel pronargs:n prorettype:n proargtypes:a proallargtypes:a \
    proargmodes:a proargnames:a prosrc probin proconfig:a proacl:a";
const STAT_TABLES: &str = "relid:n schemaname relname seq_scan:n seq_tup_read:n idx_scan:n idx_tup_fetch:n n_tup_ins:n \
    n_tup_upd:n n_tup_del:n n_live_tup:n n_dead_tup:n last_vacuum last_analyze";
const TRIGGER: &str = "oid:n tgrelid:n tgparentid:n tgname tgfoid:n tgtype:n tgenabled tgisinternal:f tgconstrrelid:n \
    tgconstrindid:n tgconstraint:n tgdeferrable:f tginitdeferred:f tgnargs:n tgattr:a tgargs tgqual tgoldtable tgnewtable";

/// Aggregates give a row over nothing.
const AGGREGATES: [&str; 9] = ["count", "sum", "min", "max", "avg", "array_agg", "string_agg", "bool_or", "bool_and"];

/// Columns of a table that never has rows.
pub(super) fn columns(name: &str) -> Option<&'static str> {
    EMPTY.iter().find(|(known, _)| *known == name).map(|(_, columns)| *columns)
}

/// Whether a query has no rows, whatever there is.
pub(super) fn is_empty(query: &Query) -> bool {
    query.with.is_none() && is_empty_body(&query.body)
}

fn is_empty_body(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => is_empty_select(select),
        SetExpr::Query(query) => is_empty(query),
        SetExpr::SetOperation { op: SetOperator::Union, left, right, .. } => {
            is_empty_body(left) && is_empty_body(right)
        }
        _ => false,
    }
}

fn is_empty_select(select: &Select) -> bool {
    let has_groups = matches!(&select.group_by, GroupByExpr::Expressions(groups, _) if !groups.is_empty());
    let aggregates = select.projection.iter().any(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            let text = expr.to_string().to_ascii_lowercase();
            AGGREGATES.iter().any(|name| text.contains(&format!("{name}(")))
        }
        _ => false,
    });
    (has_groups || !aggregates) && select.from.iter().any(is_empty_join)
}

fn is_empty_join(joined: &TableWithJoins) -> bool {
    let mut empty = is_empty_factor(&joined.relation);
    for join in &joined.joins {
        let other = is_empty_factor(&join.relation);
        empty = match &join.join_operator {
            JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => empty || other,
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => empty,
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => other,
            JoinOperator::FullOuter(_) => empty && other,
            _ => false,
        };
    }
    empty
}

fn is_empty_factor(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Table { name, args: None, .. } => {
            let is_catalog =
                name.0.len() == 1 || name.to_string().to_ascii_lowercase().replace('"', "").contains("pg_catalog.");
            is_catalog && columns(&last_part(name)).is_some()
        }
        TableFactor::Derived { subquery, .. } => is_empty(subquery),
        TableFactor::NestedJoin { table_with_joins, .. } => is_empty_join(table_with_joins),
        _ => false,
    }
}

/// Text of a query with the same columns and no rows; none when its columns cannot be told from its text.
pub(super) fn stand_in(query: &Query) -> Option<String> {
    let select = first_select(&query.body)?;
    if select.projection.len() > COLUMNS_MAX {
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    for item in &select.projection {
        let mut name = match item {
            SelectItem::UnnamedExpr(expr) => shown_name(expr),
            SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
            _ => return None,
        };
        while names.contains(&name) {
            name.push('_');
        }
        names.push(name);
    }
    let columns: Vec<String> = names.iter().map(|name| format!("CAST(NULL AS VARCHAR) AS {}", quoted(name))).collect();
    Some(format!("SELECT {} WHERE false", columns.join(", ")))
}

fn first_select(body: &SetExpr) -> Option<&Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => first_select(&query.body),
        SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}
