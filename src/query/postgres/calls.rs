//! Functions of `pg_catalog`, each as SQL of ours: `{0}`, `{1}` … are its arguments.
//!
//! Nothing is computed that is not there: what would describe an index, a comment or a size is NULL.

use super::names::FIRST_PUBLIC;
use super::translate::Setting;
use super::types;

const NULL_TEXT: &str = "CAST(NULL AS VARCHAR)";
const NULL_NUMBER: &str = "CAST(NULL AS BIGINT)";

/// Always the same, whatever the arguments.
const CONSTANT: [(&str, &str); 42] = [
    ("col_description", NULL_TEXT),
    ("current_catalog", "'adlake'"),
    ("current_database", "'adlake'"),
    ("current_schema", "'public'"),
    ("has_database_privilege", "true"),
    ("has_schema_privilege", "true"),
    ("inet_client_addr", NULL_TEXT),
    ("inet_server_addr", NULL_TEXT),
    ("inet_server_port", NULL_NUMBER),
    ("obj_description", NULL_TEXT),
    ("pg_collation_is_visible", "true"),
    ("pg_encoding_to_char", "'UTF8'"),
    ("pg_function_is_visible", "true"),
    ("pg_get_constraintdef", NULL_TEXT),
    ("pg_get_expr", NULL_TEXT),
    ("pg_get_function_arguments", NULL_TEXT),
    ("pg_get_function_identity_arguments", NULL_TEXT),
    ("pg_get_function_result", NULL_TEXT),
    ("pg_get_functiondef", NULL_TEXT),
    ("pg_get_indexdef", NULL_TEXT),
    ("pg_get_partkeydef", NULL_TEXT),
    ("pg_get_ruledef", NULL_TEXT),
    ("pg_get_serial_sequence", NULL_TEXT),
    ("pg_get_statisticsobjdef_columns", NULL_TEXT),
    ("pg_get_triggerdef", NULL_TEXT),
    ("pg_get_userbyid", "'adlake'"),
    ("pg_indexes_size", NULL_NUMBER),
    ("pg_is_in_recovery", "false"),
    ("pg_is_other_temp_schema", "false"),
    ("pg_my_temp_schema", "0"),
    ("pg_opclass_is_visible", "true"),
    ("pg_operator_is_visible", "true"),
    ("pg_relation_is_publishable", "false"),
    ("pg_relation_size", NULL_NUMBER),
    ("pg_stat_get_numscans", NULL_NUMBER),
    ("pg_table_size", NULL_NUMBER),
    ("pg_tablespace_location", NULL_TEXT),
    ("pg_total_relation_size", NULL_NUMBER),
    ("pg_ts_config_is_visible", "true"),
    ("pg_type_is_visible", "true"),
    ("shobj_description", NULL_TEXT),
    ("txid_current", NULL_NUMBER),
];

/// Privileges that whoever sees a relation is told to have; others only their statements can tell.
const READING: [&str; 2] = ["select", "usage"];

/// What a call asks with: the connection's user and settings.
pub(super) struct Asked<'a> {
    pub(super) user: &'a str,
    pub(super) setting: Setting<'a>,
}

/// The call of `name` as SQL of ours; `None`: the engine's.
pub(super) fn call(name: &str, arguments: &[String], asked: &Asked<'_>) -> Option<String> {
    if let Some((_, constant)) = CONSTANT.iter().find(|(known, _)| *known == name) {
        return Some((*constant).to_owned());
    }
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    Some(match (name, arguments) {
        ("user" | "current_user" | "session_user" | "current_role" | "system_user", []) => quoted(asked.user),
        ("version", []) => quoted(&format!("PostgreSQL 15.0 (adlake {})", env!("CARGO_PKG_VERSION"))),
        ("current_schemas", [_]) => "make_array('pg_catalog', 'public')".to_owned(),
        ("format_type", [oid, modifier]) => types::name_of(oid, modifier),
        ("pg_table_is_visible", [oid]) => format!("({oid} >= {FIRST_PUBLIC})"),
        // Columns with names that nobody writes: those in the argument are of the query around it.
        ("pg_get_viewdef", [oid, ..]) => format!(
            "(SELECT max(adlake_c.adlake_text) FROM (SELECT oid AS adlake_oid, definition AS adlake_text FROM pg_catalog.pg_views \
             UNION ALL SELECT oid AS adlake_oid, definition AS adlake_text FROM pg_catalog.pg_matviews) AS adlake_c \
             WHERE adlake_c.adlake_oid = ({oid}))"
        ),
        ("pg_size_pretty", [size]) => size_pretty(size),
        ("quote_ident", [text]) => format!(
            "CASE WHEN regexp_like({text}, '^[a-z_][a-z0-9_$]*$') THEN {text} ELSE concat('\"', replace({text}, '\"', '\"\"'), '\"') END"
        ),
        ("quote_literal", [text]) => format!("concat('''', replace({text}, '''', ''''''), '''')"),
        ("parse_ident", [text, ..]) => format!("string_to_array(replace({text}, '\"', ''), '.')"),
        ("array_lower", [list, _]) => format!("CASE WHEN array_length({list}) > 0 THEN 1 END"),
        ("array_upper", [list, _]) => format!("array_length({list})"),
        ("to_regclass", [text]) => super::translate::class_oid(text),
        ("has_table_privilege" | "has_any_column_privilege" | "has_column_privilege", [.., privilege]) => {
            let known = READING.map(quoted).join(", ");
            format!("(lower({privilege}) IN ({known}))")
        }
        ("current_setting", [name, ..]) => quoted(&(asked.setting)(literal(name)?)?),
        // Nothing is set by a query; what is so already may be said again.
        ("set_config", [name, value, ..]) => {
            let now = (asked.setting)(literal(name)?)?;
            if !now.eq_ignore_ascii_case(literal(value)?) {
                return None;
            }
            quoted(&now)
        }
        _ => return None,
    })
}

/// `10239 bytes`, `12 kB` …: halves of a unit, cut and then rounded, as PostgreSQL does it (`pg_size_pretty` in its `dbsize.c`).
fn size_pretty(size: &str) -> String {
    let size = format!("CAST({size} AS BIGINT)");
    let halves = |shift: u32| format!("{size} / {}", 512_i64 << shift);
    let shown = |shift: u32, unit: &str| {
        let rounded = format!("({} + CASE WHEN {size} < 0 THEN -1 ELSE 1 END) / 2", halves(shift));
        format!("concat(CAST({rounded} AS VARCHAR), ' {unit}')")
    };
    let units = [(0, "kB"), (10, "MB"), (20, "GB"), (30, "TB")];
    let cases: String = units
        .iter()
        .map(|(shift, unit)| format!(" WHEN abs({}) < 20479 THEN {}", halves(*shift), shown(*shift, unit)))
        .collect();
    format!(
        "CASE WHEN {size} IS NULL THEN {NULL_TEXT} WHEN abs({size}) < 10240 THEN concat(CAST({size} AS VARCHAR), ' bytes'){cases} \
         ELSE {} END",
        shown(40, "PB")
    )
}

/// The text of `'text'`.
fn literal(argument: &str) -> Option<&str> {
    argument.strip_prefix('\'')?.strip_suffix('\'')
}
