//! The gate that closes an application's sites while its release changes, as the roles see it; see `resource/release.sh`.

use std::time::Duration;

use super::{Scope, app, nginx, peers};
use crate::error::Result;
use crate::inventory::{App, HostRole, Process, Site};
use crate::quote::{sh, sh_words};
use crate::resource::{Command, Peer, Release, ReleaseDatabase, Together, gate};
use crate::secret::{Secret, Text};
use crate::topology::HostView;

/// curl's words for one look at a path of a site through this host's nginx, as seen from `address`.
pub(super) fn look(view: &HostView, site: &Site, address: &str, path: &str) -> String {
    let (scheme, port) = nginx::own_door(view, site);
    let address = match address.contains(':') {
        true => format!("[{address}]"),
        false => address.to_owned(),
    };
    format!(
        "--resolve {} {}",
        sh(&format!("{}:{port}:{address}", site.name)),
        sh(&format!("{scheme}://{}:{port}{path}", site.name))
    )
}

/// A release with what is the same for every kind of application: how nginx is looked at, how MariaDB is reached.
/// `path` is its folder, `id` the wanted build of `refs`, `health` the URL path that answers 2xx or 3xx.
///
/// # Errors
/// A secret that is missing.
pub fn release(scope: &Scope, path: &str, id: String, refs: String, health: &str) -> Result<Release> {
    let view = &scope.view;
    let process = scope.inventory().app.process();
    // Where nothing runs nobody is to be looked after.
    let serves = view.serves_web() && !view.waits();
    let site = scope.inventory().sites.first().filter(|_| serves);
    let accounts = match app::leads(view) {
        true => app::databases(&scope.inventory().app, &scope.inventory().sites),
        false => Vec::new(),
    };
    let databases = accounts.into_iter().map(|account| {
        Ok(ReleaseDatabase {
            client: match view.has(HostRole::Db) {
                true => None,
                false => Some(options(scope, &account)?),
            },
            name: account.name,
        })
    });
    let databases = databases.collect::<Result<_>>()?;
    Ok(Release {
        name: scope.inventory().app.name().to_owned(),
        path: path.to_owned(),
        id,
        refs,
        user: process.user.clone(),
        programs: Vec::new(),
        port: process.web_port,
        databases,
        migrations: Vec::new(),
        before_migrating: None,
        before_opening: None,
        visitor: site.map(|site| {
            let address = view.host.address.to_string();
            let words = look(view, site, &address, health);
            format!("curl -ks -o /dev/null --max-time 10 -w '%{{http_code}}' {words}")
        }),
        through_nginx: site.map(|site| {
            let words = look(view, site, "127.0.0.1", health);
            // One that does not run is not the application's fault.
            format!(
                "[ \"$(systemctl is-active nginx.service)\" = active ] || exit 0\n\
                 curl -kfsS -o /dev/null --max-time 8 {words} || {{ echo 'through nginx it does not answer'; exit 1; }}"
            )
        }),
        patience: Duration::from_secs(60),
        together: together(view),
    })
}

/// The hosts that change their release with this one, and how they are asked.
fn together(view: &HostView) -> Together {
    // Of a pair only one runs it. The other follows when that one serves, see `pair::declare_release`.
    if view.topology.is_pair() {
        return Together::default();
    }
    // Whose key it is; ssh takes none that others than its own user may read.
    let user = sh(&view.topology.inventory.app.process().user);
    let mut peers: Vec<_> = peers::other_apps(view)
        .into_iter()
        .map(|host| Peer {
            name: host.name.clone(),
            ask: format!(
                "exec runuser -u {user} -- {} release",
                sh_words(peers::reach(peers::Circle::Apps, host))
            ),
        })
        .collect();
    if app::leads(view) {
        return Together {
            leader: None,
            followers: peers,
        };
    }
    // The first that runs the application is the first of the others, too.
    let leader = (!peers.is_empty()).then(|| peers.swap_remove(0));
    Together {
        leader,
        followers: Vec::new(),
    }
}

/// Options file of MariaDB's clients for the application's account.
fn options(scope: &Scope, account: &app::DatabaseAccount) -> Result<Text> {
    let password = scope.secret(&account.password)?;
    Ok(account_options(&scope.view, account, &password))
}

/// The same for whoever has the password.
pub fn account_options(view: &HostView, account: &app::DatabaseAccount, password: &Secret) -> Text {
    let endpoint = app::database(view);
    let quoted = password.reveal().replace('\\', "\\\\").replace('"', "\\\"");
    Text::Secret(Secret::new(format!(
        "[client]\nhost={}\nport={}\nprotocol=tcp\nuser=\"{}\"\npassword=\"{quoted}\"\n",
        endpoint.host, endpoint.port, account.name
    )))
}

/// A command of a release, run as the application's user when it is its turn, whatever there is already.
pub fn command(process: &Process, name: String, dir: &str, run: String, deadline: u64) -> Command {
    Command {
        name,
        guards: Vec::new(),
        run,
        user: Some(process.user.clone()),
        dir: Some(dir.to_owned()),
        env: app::environment(process),
        input: None,
        deadline: Duration::from_secs(deadline),
        creates: Vec::new(),
    }
}

/// The file that closes the sites of this application.
pub fn path(app: &App) -> String {
    gate(app.path())
}

/// The link that leads to the release in service.
pub fn current(app: &App) -> String {
    format!("{}/current", app.path())
}
