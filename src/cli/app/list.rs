//! `hactl app list`

use std::time::{Duration, Instant};

use futures::future::join_all;

use super::super::args::{InventoryArg, LimitArg};
use super::super::context::{Context, Ended};
use super::super::hosts::{self, Took};
use crate::engine::link::{ShellLinks, sections};
use crate::error::Result;
use crate::inventory::{App, Host};
use crate::quote::{sh, terminal};
use crate::report::Note;
use crate::transport::TransportError;

/// A build on a host.
struct Build {
    release: String,
    current: bool,
    /// When it was built, RFC 3339.
    built: String,
    refs: String,
}

/// What a host said.
#[derive(Default)]
struct Found {
    builds: Vec<Build>,
    /// The first line of the gate, when the site is closed.
    closed: Option<String>,
}

pub fn run(inventory: &InventoryArg, limit: &LimitArg, context: &Context) -> Result<Ended> {
    let loaded = context.inventory(inventory)?;
    let names = limit.hosts(&loaded.inventory)?;
    let links = context.links(&loaded.inventory, None, &names)?;
    let folder = match &loaded.inventory.app {
        App::Frappe(frappe) => frappe.path.clone(),
        App::Wsgi(wsgi) => wsgi.path.clone(),
    };
    let script = script(&folder);
    let started = Instant::now();
    context.block_on(async {
        let chosen = names.iter().filter_map(|name| loaded.inventory.hosts.get(name));
        let each = chosen.map(async |host| {
            let began = Instant::now();
            (host, ask(&links, host, &script).await, hosts::millis(began))
        });
        let mut took = Vec::new();
        let width = names.iter().map(String::len).max().unwrap_or_default();
        for (host, answer, ms) in join_all(each).await {
            let kind = match answer {
                Ok(found) => {
                    show(context, host, found, width);
                    None
                }
                Err(error) => {
                    let kind = Took::kind_of(&error);
                    context.host_failed(&host.name, kind, &error.message, error.hint.as_deref());
                    Some(kind)
                }
            };
            took.push(Took {
                host: host.name.clone(),
                kind,
                ms,
            });
        }
        Ok(hosts::summary(took, started).into())
    })
}

fn show(context: &Context, host: &Host, found: Found, width: usize) {
    if let Some(line) = &found.closed {
        context.trouble(
            &format!(
                "{}: the site is closed, an update was cut off or runs ({line})",
                host.name
            ),
            Some("hactl apply ends it and opens the site"),
        );
    }
    for build in found.builds {
        let state = if build.current { "serves" } else { "" };
        let line = format!(
            "{:width$}  {}  {}  {state:6}  {}",
            host.name, build.release, build.built, build.refs
        );
        context.console.result(&format!("{}\n", terminal(line.trim_end())));
        context.console.line(&Note::Release {
            host: host.name.clone(),
            release: build.release,
            serves: build.current,
            built: build.built,
            refs: build.refs,
        });
    }
}

/// Builds, newest first: a line `build ID CURRENT TIME`, then lines `ref NAME REF COMMIT`.
fn script(folder: &str) -> String {
    format!(
        "P={}\n\
         mark releases\n\
         if [ -e \"$P/maintenance\" ]; then printf 'closed %s\\n' \"$(head -n 1 -- \"$P/maintenance\")\"; fi\n\
         now=$(readlink -- \"$P/current\")\n\
         ls -1t -- \"$P/releases\" 2>/dev/null | head -n 50 | while read -r id; do\n\
         \x20   [ -d \"$P/releases/$id/.hactl\" ] || continue\n\
         \x20   current=0\n\
         \x20   [ \"${{now##*/}}\" != \"$id\" ] || current=1\n\
         \x20   printf 'build %s %s %s\\n' \"$id\" \"$current\" \"$(date -u -r \"$P/releases/$id/.hactl\" +%Y-%m-%dT%H:%M:%SZ)\"\n\
         \x20   for file in \"$P/releases/$id/.hactl/code\"*; do\n\
         \x20       [ ! -s \"$file\" ] || printf 'ref %s\\n' \"$(head -c 400 -- \"$file\" | head -n 1)\"\n\
         \x20   done\n\
         done\n",
        sh(folder)
    )
}

async fn ask(links: &ShellLinks, host: &Host, script: &str) -> Result<Found, TransportError> {
    let mut session = hosts::open(links, host).await?;
    let sections = sections(&mut session, script, Duration::from_secs(60)).await?;
    session.close(false).await;
    let text: Vec<u8> = sections.into_iter().flat_map(|section| section.body).collect();
    Ok(read(&String::from_utf8_lossy(&text)))
}

fn read(text: &str) -> Found {
    let mut found = Found::default();
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').collect();
        match (words.as_slice(), found.builds.last_mut()) {
            (["closed", rest @ ..], _) => found.closed = Some(rest.join(" ")),
            (["build", release, current, built], _) => found.builds.push(Build {
                release: (*release).to_owned(),
                current: *current == "1",
                built: (*built).to_owned(),
                refs: String::new(),
            }),
            (["ref", name, git_ref, commit], Some(build)) => {
                if !build.refs.is_empty() {
                    build.refs.push_str(", ");
                }
                let commit: String = commit.chars().take(10).collect();
                build.refs.push_str(&format!("{name} {git_ref} ({commit})"));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn a_host_that_says_nonsense_has_no_releases() {
        let found = read(
            "build a 1 2024\nref x v1 0123456789abcdef\nref y v2 aa\nbuild b 0 2023\nclosed migrating a b\nref\nbuild\n\n",
        );
        assert_eq!(found.closed.as_deref(), Some("migrating a b"));
        assert_eq!(found.builds.len(), 2);
        assert_eq!(found.builds[0].refs, "x v1 (0123456789), y v2 (aa)");
        assert!(found.builds[0].current && !found.builds[1].current);
        assert!(read("ref x v1 aa\n\u{0}\nbuild 1").builds.is_empty());
    }
}
