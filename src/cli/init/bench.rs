//! `hactl init --from-bench HOST`: reads a server that `bench` built and writes the inventory that takes it over.

use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::answers;
use super::{Args, absent, write, written};
use crate::bench::{self, Draft, Login};
use crate::cli::context::{Context, Ended, keyring};
use crate::cli::hosts;
use crate::engine::link;
use crate::error::{Error, Kind, Result};
use crate::inventory::secrets::{self, Secrets};
use crate::inventory::{self, Inventory, TransportKind, rules};
use crate::quote::sh_words;
use crate::role::templates;
use crate::transport::wire::Limits;

/// A bench of some hundred sites answers in seconds.
const PATIENCE: Limits = Limits {
    silence: Duration::from_secs(60),
    total: Some(Duration::from_secs(300)),
    bytes: 64 << 20,
};

/// Enough of an inventory to reach the host.
const REACH: &str = "\
cluster: init
ssh: { user: {{ user | yaml }}{% if port %}, port: {{ port }}{% endif %}\
{% if identity_file %}, identity_file: {{ identity_file | yaml }}{% endif %} }
hosts: { host: { address: {{ address | yaml }} } }
app: { kind: wsgi, name: none, url: 'https://localhost/none', ref: none, module: 'none:none' }
sites: [ { name: localhost } ]
";

/// The verb.
///
/// # Errors
/// The host cannot be reached, there is not one bench, or it cannot be read; files that are there already.
pub fn run(args: &Args, host: &str, context: &Context) -> Result<Ended> {
    if let Some(path) = &args.bench_path {
        rules::host_path(path).map_err(|why| Error::usage(format!("--bench-path {path} {why}")))?;
    }
    let login = login(args, host)?;
    let secrets_file = args.inventory.with_file_name("secrets.age");
    absent(&secrets_file)?;
    let sections = context.block_on(ask(args, &login, context))?;
    let found = bench::read(&sections);
    let folder = bench::one_bench(&found, host, args.bench_path.as_deref())?;
    let draft = bench::draft(&found, folder, &login)?;
    let loaded = parsed(&draft.text, &args.inventory)?;
    keep(&draft, &loaded, args, context)?;
    for remark in &draft.remarks {
        let mark = if remark.first { "first" } else { "note" };
        context.warn(&format!("{mark}: {}", remark.text));
    }
    if draft.remarks.iter().any(|remark| remark.first) {
        context.hint("deal with what is marked `first`, then delete both files and run init again");
    }
    super::next(args, context);
    Ok(Ended::with(0))
}

fn login(args: &Args, host: &str) -> Result<Login> {
    let (name, address) = match host.split_once('=') {
        Some(_) => {
            let (name, address) =
                answers::host(host).map_err(|why| Error::usage(format!("--from-bench {host}: {why}")))?;
            (Some(name), address)
        }
        None => (None, address(host)?),
    };
    Ok(Login {
        name,
        address,
        user: args.user.clone().unwrap_or_else(|| "root".into()),
        port: args.port,
        identity_file: args.identity_file.clone(),
        cluster: args.cluster.clone(),
    })
}

/// An inventory holds addresses: a name is looked up once, here.
fn address(host: &str) -> Result<String> {
    if host.parse::<IpAddr>().is_ok() {
        return Ok(host.to_owned());
    }
    let shown = crate::quote::terminal(host);
    let found = (host, 0).to_socket_addrs().ok().and_then(|mut all| all.next());
    found.map(|address| address.ip().to_string()).ok_or_else(|| {
        Error::usage(format!(
            "--from-bench {shown}: is no IP address, and no host of that name is known"
        ))
        .hint("give its address, with a name if you like: hactl init --from-bench srv1=203.0.113.10")
    })
}

async fn ask(args: &Args, login: &Login, context: &Context) -> Result<Vec<crate::resource::probe::Section>> {
    let values = json!({
        "user": login.user,
        "port": login.port,
        "identity_file": login.identity_file,
        "address": login.address,
    });
    let text = templates::once("the way to the host", REACH, &values)?;
    let mut inventory = parsed(&text, &args.inventory)?;
    let Some(host) = inventory.hosts.values_mut().next() else {
        return Err(Error::internal("no host to ask"));
    };
    if let Some(transport) = context.global.transport {
        host.ssh.transport = TransportKind::from(transport);
    }
    let host = host.clone();
    let links = context.links(&inventory, None, std::slice::from_ref(&host.name))?;
    let failed = |error: crate::transport::TransportError| {
        let kind = hosts::Took::kind_of(&error);
        let message = format!("{}: {}", login.address, error.message);
        match error.hint {
            Some(hint) => Error::new(kind, message).hint(hint),
            None => Error::new(kind, message),
        }
    };
    let mut session = hosts::open(&links, &host).await.map_err(failed)?;
    let words = sh_words([args.bench_path.as_deref().unwrap_or_default()]);
    let script = format!("set -- {words}\n{}", bench::SCRIPT);
    let sections = link::sections(&mut session, &script, PATIENCE).await.map_err(failed);
    session.close(false).await;
    sections
}

fn parsed(text: &str, path: &Path) -> Result<Inventory> {
    let loaded = inventory::parse(text, path).map_err(|found| {
        let wrong = found.into_error(false);
        Error::new(
            Kind::HostFailed,
            format!("what was found makes no inventory:\n{}", wrong.message),
        )
        .hint("mend it on the server, or write the inventory by hand; nothing was written")
    })?;
    Ok(loaded.inventory)
}

/// Secrets first: an inventory without them would have others made.
fn keep(draft: &Draft, inventory: &Inventory, args: &Args, context: &Context) -> Result<()> {
    let keyring = keyring();
    if let Some(folder) = args.inventory.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::usage(format!("cannot make {}: {error}", folder.display())))?;
    }
    for (name, value) in &draft.secrets {
        secrets::set(inventory, &keyring, name, value.clone())?;
    }
    let resolved = Secrets::resolve(inventory, &keyring)?;
    let what = format!(
        "{} taken over, {} generated, encrypted for you",
        draft.secrets.len(),
        resolved.generated.len()
    );
    written(context, &args.inventory.with_file_name("secrets.age"), &what);
    write(&args.inventory, &draft.text)?;
    written(context, &args.inventory, "the inventory");
    Ok(())
}
