//! Variables of MariaDB that it takes up while it runs: they stand in a file of their own, for which nothing restarts.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::inventory::MariaDb;

/// Those that `mariadb.settings` may name, besides [`defaults`]. Dynamic and numeric or boolean in every version of the
/// supported systems, and in force at once, or for every new connection.
const DYNAMIC: &[&str] = &[
    "connect_timeout",
    "deadlock_timeout_long",
    "deadlock_timeout_short",
    "general_log",
    "group_concat_max_len",
    "innodb_adaptive_flushing",
    "innodb_deadlock_detect",
    "innodb_flush_neighbors",
    "innodb_io_capacity",
    "innodb_io_capacity_max",
    "innodb_lock_wait_timeout",
    "innodb_lru_scan_depth",
    "innodb_max_dirty_pages_pct",
    "innodb_stats_on_metadata",
    "interactive_timeout",
    "join_buffer_size",
    "lock_wait_timeout",
    "log_queries_not_using_indexes",
    "max_connect_errors",
    "max_statement_time",
    "min_examined_row_limit",
    "net_read_timeout",
    "net_write_timeout",
    "read_buffer_size",
    "read_rnd_buffer_size",
    "sort_buffer_size",
    "table_open_cache",
    "thread_cache_size",
    "wait_timeout",
];

/// What hactl sets itself.
fn defaults(knobs: &MariaDb, replicates: Option<u32>) -> BTreeMap<String, String> {
    let mut variables: Vec<(&str, String)> = vec![
        // The binary log serves point-in-time restores on a single server, and replicas.
        ("binlog_expire_logs_seconds", "604800".into()),
        ("innodb_flush_log_at_trx_commit", "1".into()),
        ("innodb_print_all_deadlocks", "ON".into()),
        ("local_infile", "OFF".into()),
        ("long_query_time", "2".into()),
        ("max_allowed_packet", "256M".into()),
        ("max_connections", knobs.max_connections.to_string()),
        ("max_heap_table_size", "32M".into()),
        ("slow_query_log", "ON".into()),
        ("sync_binlog", "1".into()),
        ("table_definition_cache", "4096".into()),
        ("tmp_table_size", "32M".into()),
    ];
    if let Some(semi_sync_timeout_ms) = replicates {
        variables.push(("rpl_semi_sync_master_timeout", semi_sync_timeout_ms.to_string()));
        // What a replica acknowledges is on its disk.
        variables.push(("sync_relay_log", "1".into()));
    }
    variables
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The variables that are set while the server runs, and which of `mariadb.settings` are among them. `replicates`: the
/// time that a commit waits for a replica, where there are any.
pub fn split(knobs: &MariaDb, replicates: Option<u32>) -> (BTreeMap<String, String>, Vec<&str>) {
    let mut live = defaults(knobs, replicates);
    let mut taken = Vec::new();
    for (name, value) in &knobs.settings {
        let variable = name.replace('-', "_");
        if !live.contains_key(&variable) && !DYNAMIC.contains(&variable.as_str()) {
            continue;
        }
        match plain(value) {
            Some(value) => {
                live.insert(variable, value);
                taken.push(name.as_str());
            }
            // Whatever it is, it must not be overridden by ours.
            None => drop(live.remove(&variable)),
        }
    }
    (live, taken)
}

/// A number, a size or a switch, as both an option file and SQL take it.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Bool(on) => Some(if *on { "ON" } else { "OFF" }.to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => {
            let digits = text.strip_suffix(['K', 'k', 'M', 'm', 'G', 'g']).unwrap_or(text);
            let size = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            (size || matches!(text.as_str(), "ON" | "OFF")).then(|| text.clone())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_go_where_they_take_effect() {
        let mut knobs = MariaDb {
            max_connections: 300,
            ..MariaDb::default()
        };
        for (name, value) in [
            ("wait-timeout", json!(600)),
            ("long_query_time", json!(0.5)),
            ("sort_buffer_size", json!("4M")),
            ("max_allowed_packet", json!("odd")),
            ("innodb_log_buffer_size", json!("64M")),
        ] {
            knobs.settings.insert(name.into(), value);
        }
        let (live, taken) = split(&knobs, None);
        assert_eq!(taken, ["long_query_time", "sort_buffer_size", "wait-timeout"]);
        let of = |name: &str| live.get(name).map(String::as_str);
        assert_eq!(
            [
                of("wait_timeout"),
                of("long_query_time"),
                of("sort_buffer_size"),
                of("max_connections")
            ],
            [Some("600"), Some("0.5"), Some("4M"), Some("300")]
        );
        // The server will say what it thinks of it.
        assert_eq!((of("max_allowed_packet"), of("innodb_log_buffer_size")), (None, None));
        assert!(of("sync_relay_log").is_none() && split(&knobs, Some(60_000)).0.contains_key("sync_relay_log"));
    }
}
