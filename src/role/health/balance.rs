//! Load balancers: which app hosts they reach, and who carries the virtual addresses.

use super::{State, alive_path};
use crate::inventory::{HostRole, Vip};
use crate::quote::sh;
use crate::topology::HostView;

/// What is said of the host that carries an address.
pub const HERE: &str = "is here";

/// What a finding about an address is called.
pub fn vip_subject(vip: &Vip) -> String {
    format!("vip {}", vip.name)
}

/// Asks every app host as a request would be sent there, all at once.
pub(super) fn upstreams_test(view: &HostView) -> String {
    let inventory = view.topology.inventory;
    let site = inventory.sites.first().map_or("localhost", |site| site.name.as_str());
    let mut test = String::new();
    for host in view.topology.with_role(HostRole::App) {
        let at = std::net::SocketAddr::new(host.address, inventory.nginx.app_port);
        test.push_str(&format!(
            "(echo {} \"$(curl -s -o /dev/null --max-time 8 -w '%{{http_code}}' -H {} {})\") &\n",
            sh(&host.name),
            sh(&format!("Host: {site}")),
            sh(&format!("http://{at}{}", alive_path(&inventory.app)))
        ));
    }
    test + "wait"
}

/// `app1 200`, `app2 000`, in any order.
pub(super) fn read_upstreams(text: &str) -> (State, String) {
    let mut hosts: Vec<(&str, &str)> = text.lines().filter_map(|line| line.trim().split_once(' ')).collect();
    hosts.sort_unstable();
    let well = |code: &str| matches!(code.parse::<u16>(), Ok(200..=399));
    let good = hosts.iter().filter(|(_, code)| well(code)).count();
    let count = format!("{good} of {} app hosts answer", hosts.len());
    if good == hosts.len() && good > 0 {
        return (State::Ok, count);
    }
    let others = hosts
        .iter()
        .filter(|(_, code)| !well(code))
        .map(|(name, code)| match *code {
            "000" => format!("{name} does not"),
            code => format!("{name} says {}", code.chars().take(3).collect::<String>()),
        });
    let others: Vec<String> = others.take(20).collect();
    let state = if good == 0 { State::Bad } else { State::Warn };
    (state, format!("{count}: {}", others.join(", ")))
}

pub(super) fn read_vip(text: &str) -> (State, String) {
    match text.lines().last() {
        Some("here") => (State::Ok, HERE.to_owned()),
        _ => (State::Ok, "is elsewhere, and answers".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams() {
        assert_eq!(
            read_upstreams("app2 200\napp1 303\n"),
            (State::Ok, "2 of 2 app hosts answer".into())
        );
        assert_eq!(
            read_upstreams("app2 000\napp3 503\napp1 200"),
            (
                State::Warn,
                "1 of 3 app hosts answer: app2 does not, app3 says 503".into()
            )
        );
        assert_eq!(read_upstreams("app1 502").0, State::Bad);
        assert_eq!(read_upstreams("").0, State::Bad);
    }
}
