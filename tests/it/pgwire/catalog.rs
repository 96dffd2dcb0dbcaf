//! What tools ask about the database when they start and browse: each query must run, and say what is there.

use super::{Server, one, simple};

async fn lake() -> Server {
    let server = Server::with_table().await;
    let client = server.client().await;
    for sql in [
        "CREATE VIEW v AS SELECT id FROM t",
        "CREATE MATERIALIZED VIEW m AS SELECT name, count(*) AS n FROM t GROUP BY name",
        "CREATE TABLE wide (price DECIMAL(12, 2), at TIMESTAMP WITH TIME ZONE NOT NULL, ok BOOLEAN)",
    ] {
        client.batch_execute(sql).await.unwrap();
    }
    server
}

/// `\d wide` of psql 15, but for what is asked with a number.
const DESCRIBE: &str = "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), \
    (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d \
     WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef), a.attnotnull, \
    (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t \
     WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation) AS attcollation, \
    a.attidentity, a.attgenerated FROM pg_catalog.pg_attribute a \
    WHERE a.attrelid = '{oid}' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;";

/// `\d wide`: about the relation itself.
const RELATION: &str = "SELECT c.relchecks, c.relkind, c.relhasindex, c.relhasrules, c.relhastriggers, c.relrowsecurity, \
    c.relforcerowsecurity, false AS relhasoids, c.relispartition, '', c.reltablespace, CASE WHEN c.reloftype = 0 THEN '' ELSE \
    c.reloftype::pg_catalog.regtype::pg_catalog.text END, c.relpersistence, c.relreplident, am.amname \
    FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_class tc ON (c.reltoastrelid = tc.oid) \
    LEFT JOIN pg_catalog.pg_am am ON (c.relam = am.oid) WHERE c.oid = '{oid}';";

/// `\dt`.
const LIST: &str = "SELECT n.nspname as \"Schema\", c.relname as \"Name\", CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' \
    WHEN 'm' THEN 'materialized view' WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence' WHEN 't' THEN 'TOAST table' \
    WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' WHEN 'I' THEN 'partitioned index' END as \"Type\", \
    pg_catalog.pg_get_userbyid(c.relowner) as \"Owner\" FROM pg_catalog.pg_class c \
    LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam \
    WHERE c.relkind IN ('r','p','') AND n.nspname <> 'pg_catalog' AND n.nspname !~ '^pg_toast' \
    AND n.nspname <> 'information_schema' AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2;";

/// `\d wide`: what the number of a name is.
const NUMBER: &str = "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c \
    LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relname OPERATOR(pg_catalog.~) '^(wide)$' COLLATE pg_catalog.default AND pg_catalog.pg_table_is_visible(c.oid) \
    ORDER BY 2, 3;";

fn texts(rows: Vec<Vec<Option<String>>>) -> Vec<String> {
    let text = |cell: Option<String>| cell.unwrap_or_else(|| "NULL".to_owned());
    rows.into_iter().map(|row| row.into_iter().map(text).collect::<Vec<_>>().join("|")).collect()
}

#[tokio::test]
async fn psql_describes_tables() {
    let server = lake().await;
    let client = server.client().await;
    assert_eq!(texts(simple(&client, LIST).await), ["public|t|table|adlake", "public|wide|table|adlake"]);
    let found = simple(&client, NUMBER).await;
    assert_eq!(found.len(), 1);
    let oid = found[0][0].clone().unwrap();
    let about = texts(simple(&client, &RELATION.replace("{oid}", &oid)).await);
    assert_eq!(about, ["0|r|f|f|f|f|f|f|f||0||p|d|heap"]);
    let columns = texts(simple(&client, &DESCRIBE.replace("{oid}", &oid)).await);
    assert_eq!(
        columns,
        ["price|numeric(12,2)|NULL|f|NULL||", "at|timestamp with time zone|NULL|t|NULL||", "ok|boolean|NULL|f|NULL||"]
    );
    server.stop().await;
}

#[tokio::test]
async fn each_row_has_its_own_name_and_text() {
    let server = lake().await;
    let client = server.client().await;
    let names = "SELECT oid::regclass, relnamespace::regnamespace, relname FROM pg_class WHERE relnamespace = 2200 ORDER BY relname";
    assert_eq!(texts(simple(&client, names).await), ["m|public|m", "t|public|t", "v|public|v", "wide|public|wide"]);
    let definitions = "SELECT relname, pg_get_viewdef(oid) FROM pg_class WHERE relnamespace = 2200 ORDER BY relname";
    assert_eq!(
        texts(simple(&client, definitions).await),
        ["m|SELECT name, count(*) AS n FROM t GROUP BY name", "t|NULL", "v|SELECT id FROM t", "wide|NULL"]
    );
    let numbers = "SELECT relname, to_regclass(relname) = oid, to_regclass('public.' || relname) = oid, to_regclass('system.' || relname) \
                   FROM pg_class WHERE relnamespace = 2200 ORDER BY relname";
    let found = texts(simple(&client, numbers).await);
    assert_eq!(found, ["m|t|t|NULL", "t|t|t|NULL", "v|t|t|NULL", "wide|t|t|NULL"]);
    server.stop().await;
}

#[tokio::test]
async fn sizes_are_written_as_postgres_writes_them() {
    let server = Server::start().await;
    let client = server.client().await;
    for (size, text) in [
        ("0", "0 bytes"),
        ("10239", "10239 bytes"),
        ("10240", "10 kB"),
        ("-10240", "-10 kB"),
        ("10485247", "10239 kB"),
        ("123456789", "118 MB"),
        ("9223372036854775807", "8192 PB"),
        ("NULL", "NULL"),
    ] {
        assert_eq!(one(&client, &format!("SELECT pg_size_pretty({size})")).await, text, "{size}");
    }
    server.stop().await;
}

/// Queries that tools send before they show anything; some of them name what we have none of.
const TOOLS: &[&str] = &[
    // psql: \l, \dn, \du, \d (policies, publications, statistics, inheritance)
    "SELECT pol.polname, pol.polpermissive, CASE WHEN pol.polroles = '{0}' THEN NULL ELSE pg_catalog.array_to_string(array(select \
     rolname from pg_catalog.pg_roles where oid = any (pol.polroles) order by 1),',') END, \
     pg_catalog.pg_get_expr(pol.polqual, pol.polrelid) FROM pg_catalog.pg_policy pol WHERE pol.polrelid = '16384' ORDER BY 1;",
    "SELECT oid, stxrelid::pg_catalog.regclass, stxnamespace::pg_catalog.regnamespace::pg_catalog.text AS nsp, stxname, \
     pg_catalog.pg_get_statisticsobjdef_columns(oid) AS columns, 'd' = any(stxkind) AS ndist_enabled, stxstattarget \
     FROM pg_catalog.pg_statistic_ext WHERE stxrelid = '16384' ORDER BY nsp, stxname;",
    "SELECT pubname, NULL, NULL FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_namespace pn ON p.oid = pn.pnpubid \
     JOIN pg_catalog.pg_class pc ON pc.relnamespace = pn.pnnspid WHERE pc.oid ='16384' and \
     pg_catalog.pg_relation_is_publishable('16384') UNION SELECT pubname, pg_get_expr(pr.prqual, c.oid), (CASE WHEN pr.prattrs IS \
     NOT NULL THEN (SELECT string_agg(attname, ', ') FROM pg_catalog.generate_series(0, \
     pg_catalog.array_upper(pr.prattrs::pg_catalog.int2[], 1)) s, pg_catalog.pg_attribute WHERE attrelid = pr.prrelid AND attnum = \
     prattrs[s]) ELSE NULL END) FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_rel pr ON p.oid = pr.prpubid JOIN \
     pg_catalog.pg_class c ON c.oid = pr.prrelid WHERE pr.prrelid = '16384' ORDER BY 1;",
    "SELECT c.oid::pg_catalog.regclass, c.relkind, inhdetachpending, pg_catalog.pg_get_expr(c.relpartbound, c.oid) FROM \
     pg_catalog.pg_class c, pg_catalog.pg_inherits i WHERE c.oid = i.inhrelid AND i.inhparent = '16384' ORDER BY \
     pg_catalog.pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT', c.oid::pg_catalog.regclass::pg_catalog.text;",
    "SELECT d.datname as \"Name\", pg_catalog.pg_get_userbyid(d.datdba) as \"Owner\", pg_catalog.pg_encoding_to_char(d.encoding) as \
     \"Encoding\", pg_catalog.array_to_string(d.datacl, E'\\n') AS \"Access privileges\" FROM pg_catalog.pg_database d ORDER BY 1;",
    "SELECT n.nspname AS \"Name\", pg_catalog.pg_get_userbyid(n.nspowner) AS \"Owner\" FROM pg_catalog.pg_namespace n WHERE \
     n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1;",
    // Metabase
    "SET extra_float_digits = 2",
    "SET application_name = 'Metabase v0.55.1 [f8f63fdf]'",
    "SHOW TRANSACTION ISOLATION LEVEL",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
    "SELECT nspname AS \"TABLE_SCHEM\", current_database() AS \"TABLE_CATALOG\" FROM pg_catalog.pg_namespace WHERE nspname <> \
     'pg_toast' AND (nspname !~ '^pg_temp_' OR nspname = (pg_catalog.current_schemas(true))[1]) AND (nspname !~ '^pg_toast_temp_' OR \
     nspname = replace((pg_catalog.current_schemas(true))[1], 'pg_temp_', 'pg_toast_temp_')) ORDER BY \"TABLE_SCHEM\"",
    "with table_privileges as (select NULL as role, t.schemaname as schema, t.objectname as table, \
     pg_catalog.has_any_column_privilege(current_user, '\"' || replace(t.schemaname, '\"', '\"\"') || '\"' || '.' || '\"' || \
     replace(t.objectname, '\"', '\"\"') || '\"', 'update') as update, pg_catalog.has_table_privilege(current_user, '\"' || \
     replace(t.schemaname, '\"', '\"\"') || '\"' || '.' || '\"' || replace(t.objectname, '\"', '\"\"') || '\"', 'delete') as delete \
     from (select schemaname, tablename as objectname from pg_catalog.pg_tables union select schemaname, viewname as objectname from \
     pg_catalog.pg_views union select schemaname, matviewname as objectname from pg_catalog.pg_matviews) t where t.schemaname !~ \
     '^pg_' and t.schemaname <> 'information_schema' and pg_catalog.has_schema_privilege(current_user, t.schemaname, 'usage')) \
     select t.* from table_privileges t",
    "SELECT \"n\".\"nspname\" AS \"schema\", \"c\".\"relname\" AS \"name\", CASE \"c\".\"relkind\" WHEN 'r' THEN 'TABLE' WHEN 'v' \
     THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE NULL END AS \"type\", \"d\".\"description\" AS \"description\", \
     \"stat\".\"n_live_tup\" AS \"estimated_row_count\" FROM \"pg_catalog\".\"pg_class\" AS \"c\" INNER JOIN \
     \"pg_catalog\".\"pg_namespace\" AS \"n\" ON \"c\".\"relnamespace\" = \"n\".\"oid\" LEFT JOIN \
     \"pg_catalog\".\"pg_description\" AS \"d\" ON (\"c\".\"oid\" = \"d\".\"objoid\") AND (\"d\".\"objsubid\" = '0') AND \
     (\"d\".\"classoid\" = 'pg_class'::regclass) LEFT JOIN \"pg_stat_user_tables\" AS \"stat\" ON (\"n\".\"nspname\" = \
     \"stat\".\"schemaname\") AND (\"c\".\"relname\" = \"stat\".\"relname\") WHERE (\"n\".\"nspname\" !~ '^pg_') AND c.relkind in \
     ('r', 'p', 'v', 'f', 'm') AND (\"n\".\"nspname\" IN ('public')) ORDER BY \"type\" ASC, \"schema\" ASC, \"name\" ASC",
    "show timezone",
    // Grafana
    "SELECT CASE WHEN quote_ident(table_schema) IN (SELECT CASE WHEN trim(s[i]) = '\"$user\"' THEN user ELSE trim(s[i]) END FROM \
     generate_series(array_lower(string_to_array(current_setting('search_path'),','),1), \
     array_upper(string_to_array(current_setting('search_path'),','),1)) as i, string_to_array(current_setting('search_path'),',') s) \
     THEN quote_ident(table_name) ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS \"table\" FROM \
     information_schema.tables WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog') ORDER BY 1",
    "SELECT quote_ident(column_name) AS \"column\", data_type AS \"type\" FROM information_schema.columns WHERE CASE WHEN \
     array_length(parse_ident('public.t'),1) = 2 THEN quote_ident(table_schema) = (parse_ident('public.t'))[1] AND \
     quote_ident(table_name) = (parse_ident('public.t'))[2] ELSE quote_ident(table_name) = 'public.t' END",
    // DBeaver, the JDBC driver
    "SELECT current_schema(),session_user",
    "SELECT n.oid,n.*,d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=n.oid AND \
     d.objsubid=0 AND d.classoid='pg_namespace'::regclass ORDER BY nspname",
    "SELECT * FROM pg_catalog.pg_settings where name='standard_conforming_strings'",
    "SELECT * FROM pg_catalog.pg_enum WHERE 1<>1 LIMIT 1",
    "SELECT t.oid,t.*,c.relkind,format_type(nullif(t.typbasetype, 0), t.typtypmod) as base_type_name, d.description FROM \
     pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_type et ON et.oid=t.typelem LEFT OUTER JOIN pg_catalog.pg_class c ON \
     c.oid=t.typrelid LEFT OUTER JOIN pg_catalog.pg_description d ON t.oid=d.objoid WHERE t.typname IS NOT NULL AND (c.relkind IS NULL \
     OR c.relkind = 'c') AND (et.typcategory IS NULL OR et.typcategory <> 'C')",
    "SELECT c.oid,c.*,d.description,pg_catalog.pg_get_expr(c.relpartbound, c.oid) as partition_expr, \
     pg_catalog.pg_get_partkeydef(c.oid) as partition_key FROM pg_catalog.pg_class c LEFT OUTER JOIN pg_catalog.pg_description d ON \
     d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_class'::regclass WHERE c.relnamespace=2200 AND c.relkind not in ('i','I','c')",
];

#[tokio::test]
async fn tools_start_and_browse() {
    let server = lake().await;
    let client = server.client().await;
    let mut failed = Vec::new();
    for sql in TOOLS {
        if let Err(error) = client.simple_query(sql).await {
            failed.push(format!(
                "{sql}\n    {}",
                error.as_db_error().map_or_else(|| error.to_string(), |e| e.message().to_owned())
            ));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(one(&client, "SELECT version()").await.starts_with("PostgreSQL 15.0"));
    server.stop().await;
}
