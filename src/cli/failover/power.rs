//! Taking the power of an old primary away, by the commands of the inventory, and looking whether it is off.

use std::time::{Duration, Instant};

use tokio::process::Command;

use super::super::run::Run;
use super::Asked;
use crate::failover::Sight;
use crate::inventory::{Host, Power};
use crate::local;
use crate::quote::terminal;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// What a power switch calls one that is off.
const OFF: [&str; 4] = ["off", "stopped", "terminated", "down"];

/// Switches it off, and waits until it is.
///
/// # Errors
/// Why it cannot be said that it is off.
pub(super) async fn off(run: &Run, power: &Power, host: &Host) -> Result<(), String> {
    ask(run, power, &power.off, host)
        .await
        .map_err(|why| format!("power_off: {why}"))?;
    let end = Instant::now() + power.timeout;
    loop {
        let looked = match power.status.is_empty() {
            true => silent(run, host).await,
            false => match ask(run, power, &power.status, host).await {
                Ok(said) if is_off(&said) => Ok(()),
                Ok(said) => {
                    let first = said.trim().lines().next().unwrap_or_default();
                    Err(format!("power_status says `{}`", terminal(first)))
                }
                Err(why) => Err(format!("power_status: {why}")),
            },
        };
        match looked {
            Ok(()) => return Ok(()),
            Err(why) if Instant::now() >= end => {
                let seconds = power.timeout.as_secs();
                return Err(format!("power_off ended well, but {seconds} s later {why}"));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Whether that is what a switch says of a host without power: its first line ends so.
fn is_off(said: &str) -> bool {
    let first = said.trim().lines().next().unwrap_or_default();
    let last = first.split_whitespace().last().unwrap_or_default();
    let word: String = last.chars().filter(|letter| letter.is_ascii_alphabetic()).collect();
    OFF.iter().any(|off| word.eq_ignore_ascii_case(off))
}

/// Runs one of the commands in the inventory's folder.
async fn ask(run: &Run, power: &Power, words: &[String], host: &Host) -> Result<String, String> {
    let filled = filled(words, host);
    let Some((program, arguments)) = filled.split_first() else {
        return Err("there is no command".into());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("HACTL_HOST", &host.name)
        .env("HACTL_ADDRESS", host.address.to_string());
    if let Some(folder) = run.engine.inventory.path.parent() {
        command.current_dir(folder);
    }
    let said = local::ask(command, b"", power.timeout, &[]).await;
    said.map_err(|failed| terminal(&failed.words()))
}

/// Words with the host in them.
pub(super) fn filled(words: &[String], host: &Host) -> Vec<String> {
    let address = host.address.to_string();
    let fill = |word: &String| word.replace("{host}", &host.name).replace("{address}", &address);
    words.iter().map(fill).collect()
}

/// That nobody hears anything of it any more.
async fn silent(run: &Run, host: &Host) -> Result<(), String> {
    let asked = Asked::all(run).await;
    let mut looked = 0;
    let mut seen = None;
    for (name, said) in &asked.said {
        if *name == host.name {
            seen = Some(format!("{name} answers hactl"));
        }
        match said.sees.get(&host.name) {
            Some(Sight::Silent) => looked += 1,
            Some(sight) => seen = Some(format!("{name} sees it: {}", sight.word())),
            None => {}
        }
    }
    asked.close().await;
    match seen {
        Some(seen) => Err(seen),
        None if looked == 0 => Err("nobody answers who could look".into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_power_switch_says() {
        for (said, wanted) in [
            ("Chassis Power is off\n", true),
            ("Status: OFF", true),
            ("\nshut off\n", true),
            ("\"stopped\"\n", true),
            ("TERMINATED", true),
            ("Chassis Power is on", false),
            ("off is what it should be, it runs", false),
            ("stopping", false),
            ("unknown\noff", false),
            ("", false),
        ] {
            assert_eq!(is_off(said), wanted, "{said}");
        }
    }
}
