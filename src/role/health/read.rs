//! What `status` makes of a host's answers.

use std::cell::Cell;

use super::{Check, Health, Kind, State, balance, certificate, redis_set};
use crate::resource::Observed;
use crate::resource::replication::Replication;
use crate::role::replication;

/// What the answers say.
pub fn read(checks: &[Check], seen: &Observed) -> Vec<Health> {
    let health = |check: &Check| {
        let certificate = Cell::new(None);
        let (state, detail) = match &check.kind {
            Kind::Unit(unit) => read_unit(seen, unit),
            Kind::Waits(unit, serves) => read_waits(seen, unit, serves),
            Kind::Programs(group) => read_programs(seen, group),
            Kind::Site(_) => output(seen, check, read_site),
            Kind::Answers(_) => output(seen, check, |text| {
                let last = text.lines().last().unwrap_or_default();
                match last.strip_prefix("look: ") {
                    Some(found) => (State::Warn, found.to_owned()),
                    None => (State::Ok, last.to_owned()),
                }
            }),
            Kind::Jobs(_) => output(seen, check, read_jobs),
            Kind::Certificate(source, _) => output(seen, check, |text| {
                let (state, detail, read) = certificate::read(*source, text, seen.facts.clock);
                certificate.set(read);
                (state, detail)
            }),
            Kind::Renewals(_) => output(seen, check, certificate::read_renewals),
            Kind::Upstreams(_) => output(seen, check, balance::read_upstreams),
            Kind::Vip(_) => output(seen, check, balance::read_vip),
            Kind::MariaDb => read_mariadb(seen, &check.name),
            Kind::Replication { semi_sync } => replication::health(Replication::seen(seen).as_ref(), *semi_sync),
            Kind::Redis(_) => output(seen, check, read_redis),
            Kind::RedisSet(instance, others) => redis_set::part(instance.seen(seen).as_ref(), *others),
            Kind::Sentinel(instance, hosts) => redis_set::watch(instance.seen(seen).as_ref(), hosts),
            Kind::Open(current, gate) => match seen.lines.get(gate) {
                None if !seen.paths.contains_key(current) => (State::Bad, "is not installed".into()),
                None => (State::Ok, "open".into()),
                Some(line) => {
                    let line: String = line.chars().take(60).collect();
                    (
                        State::Bad,
                        format!("closed: an update runs or was cut off ({line}); hactl apply ends it"),
                    )
                }
            },
            Kind::Disk(_) => match seen.tests.get(&check.name) {
                Some(test) => read_disk(&test.output),
                None => (State::Bad, "no answer".into()),
            },
        };
        Health {
            name: check.name.clone(),
            state,
            detail,
            certificate: certificate.into_inner(),
        }
    };
    checks.iter().map(health).collect()
}

/// The output of a test that passed; the last line of one that did not is the reason.
fn output(seen: &Observed, check: &Check, read: impl Fn(&str) -> (State, String)) -> (State, String) {
    match seen.tests.get(&check.name) {
        Some(test) if test.code == 0 => read(&test.output),
        Some(test) => {
            let last = test.output.lines().map(str::trim).rfind(|line| !line.is_empty());
            (State::Bad, last.unwrap_or("failed").chars().take(200).collect())
        }
        None => (State::Bad, "no answer".into()),
    }
}

fn read_waits(seen: &Observed, unit: &str, serves: &str) -> (State, String) {
    match seen.units.get(unit) {
        None => (State::Bad, "is not there".into()),
        Some(unit) if !matches!(unit.active.as_str(), "inactive" | "failed") => {
            let text = format!("is {}, though {serves} serves: hactl apply stops it", unit.active);
            (State::Bad, text)
        }
        Some(unit) if matches!(unit.enabled.as_str(), "enabled" | "enabled-runtime") => {
            let text = format!("is stopped, but a boot would start it, though {serves} serves");
            (State::Bad, text)
        }
        Some(_) => (State::Ok, format!("is stopped: {serves} serves")),
    }
}

fn read_unit(seen: &Observed, unit: &str) -> (State, String) {
    match seen.units.get(unit) {
        None => (State::Bad, "is not there".into()),
        Some(unit) if unit.active != "active" => (State::Bad, format!("is {}", unit.active)),
        Some(unit) => {
            let up = format!("up {}", span(seen.facts.clock.saturating_sub(unit.since)));
            match unit.enabled.as_str() {
                "disabled" | "masked" => (
                    State::Warn,
                    format!("{up}, but {}: a boot will not start it", unit.enabled),
                ),
                _ => (State::Ok, up),
            }
        }
    }
}

fn read_programs(seen: &Observed, group: &str) -> (State, String) {
    let Some(programs) = &seen.programs else {
        return (State::Bad, "supervisord does not answer".into());
    };
    let prefix = format!("{group}:");
    let mine: Vec<_> = programs
        .iter()
        .filter_map(|(key, program)| Some((key.strip_prefix(&prefix)?, program)))
        .collect();
    if mine.is_empty() {
        return (State::Bad, "supervisord has no programs of it".into());
    }
    let mut worst = State::Ok;
    let mut others = Vec::new();
    for (name, program) in &mine {
        let state = match program.state.as_str() {
            "RUNNING" => continue,
            // A scheduler that found another one ends in good order.
            "STARTING" | "STOPPING" | "EXITED" => State::Warn,
            _ => State::Bad,
        };
        worst = worst.max(state);
        others.push(format!("{name} is {}", program.state));
    }
    match worst {
        State::Ok => (State::Ok, format!("{} running", mine.len())),
        _ => (worst, others.join(", ")),
    }
}

fn read_site(text: &str) -> (State, String) {
    let (code, seconds) = text
        .lines()
        .last()
        .unwrap_or_default()
        .split_once(' ')
        .unwrap_or_default();
    let seconds: f64 = seconds.trim().parse().unwrap_or(0.0);
    let detail = format!("{code} in {:.0} ms", seconds * 1000.0);
    match code.parse::<u16>() {
        Ok(200..=399) if seconds < 2.0 => (State::Ok, detail),
        Ok(200..=399) => (State::Warn, detail),
        Ok(_) => (State::Bad, detail),
        Err(_) => (State::Bad, "no answer".into()),
    }
}

fn read_mariadb(seen: &Observed, key: &str) -> (State, String) {
    match &seen.sql {
        Err(why) => (State::Bad, why.clone()),
        Ok(answers) => {
            let row = answers.get(key).and_then(|rows| rows.lines().next()?.split_once('\t'));
            match row.and_then(|(_, uptime)| uptime.trim().parse().ok()) {
                Some(uptime) => (State::Ok, format!("up {}", span(uptime))),
                None => (State::Bad, "does not answer".into()),
            }
        }
    }
}

/// `12 waiting, 2 running`; with `look: ` before it when there are more that nobody runs.
fn read_jobs(text: &str) -> (State, String) {
    let last = text.lines().last().unwrap_or_default();
    match last.strip_prefix("look: ") {
        Some(found) => (State::Warn, format!("{found}: hactl app jobs")),
        None => (State::Ok, last.to_owned()),
    }
}

fn read_redis(text: &str) -> (State, String) {
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(str::trim)
    };
    let number = |key: &str| value(key).and_then(|text| text.parse::<u64>().ok());
    for key in ["aof_last_write_status", "rdb_last_bgsave_status"] {
        if let Some(status) = value(key).filter(|status| *status != "ok") {
            return (State::Bad, format!("{key} is {status}: it cannot write to its disk"));
        }
    }
    let mib = |bytes: u64| bytes / 1_048_576;
    let used = mib(number("used_memory").unwrap_or(0));
    let memory = match number("maxmemory").unwrap_or(0) {
        0 => format!("{used} MiB"),
        limit => format!("{used} of {} MiB", mib(limit)),
    };
    match number("uptime_in_seconds") {
        Some(uptime) => (State::Ok, format!("up {}, {memory}", span(uptime))),
        None => (State::Warn, "answers, but says nothing about itself".into()),
    }
}

/// Rows of `df -P`: the fullest file system counts.
fn read_disk(text: &str) -> (State, String) {
    let mut fullest: Option<(u64, String)> = None;
    for line in text.lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, _, _, free, used, mount, ..] = fields[..] else {
            continue;
        };
        let (Some(used), Ok(free)) = (
            used.strip_suffix('%').and_then(|used| used.parse().ok()),
            free.parse::<u64>(),
        ) else {
            continue;
        };
        if fullest.as_ref().is_none_or(|(most, _)| used > *most) {
            fullest = Some((
                used,
                format!("{mount} {used} % full, {:.1} GiB free", free as f64 / 1_048_576.0),
            ));
        }
    }
    match fullest {
        None => (State::Bad, "no answer".into()),
        Some((used, detail)) => {
            let state = match used {
                0..85 => State::Ok,
                85..95 => State::Warn,
                _ => State::Bad,
            };
            (state, detail)
        }
    }
}

/// A length of time in its two largest units.
fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, m) => format!("{m} min"),
        (0, h, m) => format!("{h} h {m} min"),
        (d, h, _) => format!("{d} d {h} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites() {
        assert_eq!(read_site("200 0.031"), (State::Ok, "200 in 31 ms".into()));
        assert_eq!(read_site("301 2.5").0, State::Warn);
        assert_eq!(read_site("502 0.001").0, State::Bad);
        assert_eq!(read_site("").0, State::Bad);
    }

    #[test]
    fn jobs_that_nobody_runs_want_a_look() {
        assert_eq!(
            read_jobs("3 waiting, 1 running"),
            (State::Ok, "3 waiting, 1 running".into())
        );
        let (state, detail) = read_jobs("look: 3 waiting, 1 running, 2 cut off");
        assert_eq!(
            (state, detail.as_str()),
            (State::Warn, "3 waiting, 1 running, 2 cut off: hactl app jobs")
        );
    }

    #[test]
    fn redis_that_cannot_write_is_bad() {
        let text = "uptime_in_seconds=90\nused_memory=1048576\nmaxmemory=0\naof_last_write_status=ok\r";
        assert_eq!(read_redis(text), (State::Ok, "up 1 min, 1 MiB".into()));
        assert_eq!(read_redis(&text.replace("=ok", "=err")).0, State::Bad);
    }

    #[test]
    fn the_fullest_file_system_counts() {
        let text = "Filesystem 1024-blocks Used Available Capacity Mounted on\n\
                    /dev/a 100 10 1048576 10% /\n\
                    Filesystem 1024-blocks Used Available Capacity Mounted on\n\
                    /dev/b 100 90 2097152 90% /var/lib/mysql\n";
        assert_eq!(
            read_disk(text),
            (State::Warn, "/var/lib/mysql 90 % full, 2.0 GiB free".into())
        );
    }

    #[test]
    fn spans() {
        assert_eq!(
            [span(5), span(61), span(3700), span(90_000)],
            ["5 s", "1 min", "1 h 1 min", "1 d 1 h"]
        );
    }
}
