//! Route 53, Cloudflare and commands of the user's own: the requests that are sent, and what is made of the answers. The
//! other side is a server in this test, which plays what the two document; neither was asked itself.

#[path = "dns/cloudflare.rs"]
mod cloudflare;
#[path = "dns/exec.rs"]
mod exec;
#[path = "dns/http.rs"]
mod http;
#[path = "dns/route53.rs"]
mod route53;

use std::path::Path;
use std::sync::Arc;

use hactl::dns::{self, Dns, Switched, Wish};
use hactl::error::Error;
use hactl::inventory::secrets::{Keyring, Secrets};

/// A pair whose names are in the hands of this provider.
fn dns(folder: &Path, provider: &str, names: &str) -> Dns {
    let text = format!(
        "cluster: acme\nhosts:\n  srv1: {{ address: 10.0.0.11, primary: true, public_address: 198.51.100.11 }}\n  \
         srv2: {{ address: 10.0.0.12, standby: true, public_address: 198.51.100.12 }}\n\
         dns:\n  names: [ {names} ]\n  ttl: 60\n  wait: 4\n  provider: {provider}\n\
         app: {{ kind: wsgi, url: 'https://git.example.com/app', ref: v1, module: 'app:app' }}\n\
         sites: [ {{ name: erp.example.com }} ]\n"
    );
    let parsed = hactl::inventory::parse(&text, &folder.join("inventory.yml"));
    let inventory = parsed
        .unwrap_or_else(|errors| panic!("{}", errors.render(false)))
        .inventory;
    let keyring = Keyring::from_env(Arc::new(|_: &str| None));
    let secrets = Secrets::of_dns(&inventory, &keyring).unwrap_or_else(|error| panic!("{error}"));
    Dns::of(&inventory, &secrets)
        .unwrap_or_else(|error| panic!("{error}"))
        .expect("it has names")
}

/// All of a switch to srv2.
fn switch(dns: &Dns) -> Result<Switched, Error> {
    let wish = Wish {
        to: "srv2".into(),
        from: None,
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(dns::switch(dns, &wish, &|_| {}))
}
