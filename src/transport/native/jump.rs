//! Jump hosts: one connection to each for the whole run, a forwarded stream in it for each host behind.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use russh::client::Handle;
use russh::{ChannelOpenFailure, ChannelStream};
use tokio::sync::OnceCell;

use super::handshake::{Client, Deadline, Target};
use crate::inventory::Host;
use crate::transport::TransportError;
use crate::transport::sshconfig::Effective;

/// A jump host as the inventory or ssh's configuration names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Spec {
    /// Login user, if named.
    pub user: Option<String>,
    /// Name or address.
    pub host: String,
    /// Port, if named.
    pub port: Option<u16>,
}

impl Spec {
    /// The login user, empty when none was named.
    pub fn user(&self) -> &str {
        self.user.as_deref().unwrap_or_default()
    }

    /// Reads `[ssh://][user@]host[:port]`; an IPv6 address stands in brackets where a port follows.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("jump host `{}`: {why}", crate::quote::terminal(text));
        if text.contains(',') {
            return Err(wrong("more than one jump needs `ssh: { transport: openssh }`"));
        }
        let rest = text.strip_prefix("ssh://").unwrap_or(text).trim_end_matches('/');
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, rest),
        };
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (
                host,
                Some(port.strip_prefix(':').ok_or_else(|| wrong("expected `]:port`"))?),
            ),
            None if rest.matches(':').count() > 1 => (rest, None),
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        if host.is_empty()
            || host.starts_with('-')
            || user.as_deref().is_some_and(|u| u.is_empty() || u.starts_with('-'))
        {
            return Err(wrong("expected `[user@]host[:port]`"));
        }
        let port = port
            .map(|port| port.parse().map_err(|_| wrong("the port is no number")))
            .transpose()?;
        Ok(Spec {
            user,
            host: host.to_owned(),
            port,
        })
    }
}

/// The jump host of a host: the inventory's, where the login user is the host's unless named, or that of ssh's
/// configuration, where ssh's own rules hold.
///
/// # Errors
/// It is malformed.
pub fn of(host: &Host, settings: &Effective) -> Result<Option<Spec>, String> {
    match (&host.ssh.jump, &settings.jump) {
        (Some(jump), _) => {
            let spec = Spec::parse(jump)?;
            let user = spec.user.or_else(|| Some(host.ssh.user.clone()));
            Ok(Some(Spec { user, ..spec }))
        }
        (None, Some(jump)) => Spec::parse(jump).map(Some),
        (None, None) => Ok(None),
    }
}

/// What the way to a jump host needs and native lacks.
pub fn lacking(settings: &Effective) -> Option<String> {
    match (&settings.beyond_native, &settings.jump) {
        (Some(reason), _) => Some(format!("jump host: {reason}")),
        (None, Some(jump)) => Some(format!(
            "the jump host is reached by way of {jump}, and native knows one jump only"
        )),
        (None, None) => None,
    }
}

type Shared = Arc<OnceCell<Result<Arc<Handle<Client>>, TransportError>>>;

/// The jump hosts of a run.
#[derive(Default)]
pub struct Jumps {
    shared: Mutex<HashMap<Spec, Shared>>,
}

impl Jumps {
    /// The connection to a jump host, made by whoever asks first. All who wait for it share its failure; the next who
    /// asks after a failure, or after the connection died, connects anew.
    ///
    /// # Errors
    /// That of `connect`.
    pub async fn get<F>(&self, jump: &Spec, connect: impl FnOnce() -> F) -> Result<Arc<Handle<Client>>, TransportError>
    where
        F: Future<Output = Result<Handle<Client>, TransportError>>,
    {
        let cell = {
            let mut shared = self.lock();
            let cell = shared.entry(jump.clone()).or_default();
            if matches!(cell.get(), Some(Ok(handle)) if handle.is_closed()) {
                *cell = Shared::default();
            }
            cell.clone()
        };
        let result = cell
            .get_or_init(|| async { connect().await.map(Arc::new) })
            .await
            .clone();
        if result.is_err() {
            let mut shared = self.lock();
            if shared.get(jump).is_some_and(|current| Arc::ptr_eq(current, &cell)) {
                shared.remove(jump);
            }
        }
        result
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Spec, Shared>> {
        self.shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A stream through a jump host to the target.
pub async fn tunnel(
    bastion: &Handle<Client>,
    target: &Target,
    deadline: &Deadline,
) -> Result<ChannelStream<russh::client::Msg>, TransportError> {
    let open = bastion.channel_open_direct_tcpip(&target.address, u32::from(target.port), "127.0.0.1", 0);
    match deadline
        .within(target, "connecting through the jump host", open)
        .await?
    {
        Ok(channel) => Ok(channel.into_stream()),
        Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited)) => Err(target
            .error("the jump host does not forward connections")
            .hint("AllowTcpForwarding and PermitOpen in the jump host's sshd_config")),
        Err(russh::Error::ChannelOpenFailure(_)) => Err(target
            .error("the jump host cannot reach it: connection refused, no route, or unknown name")
            .hint("is sshd running there, and are its address and port right as seen from the jump host?")),
        Err(error) => Err(target.error(format!("the connection to the jump host was lost: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::Spec;

    #[test]
    fn a_jump_host_is_user_host_and_port() {
        let cases = [
            ("bastion", (None, "bastion", None)),
            ("ops@bastion:2222", (Some("ops"), "bastion", Some(2222))),
            ("ssh://ops@bastion:2222/", (Some("ops"), "bastion", Some(2222))),
            ("a@b@bastion", (Some("a@b"), "bastion", None)),
            ("10.0.0.1:22", (None, "10.0.0.1", Some(22))),
            ("fe80::1", (None, "fe80::1", None)),
            ("[fe80::1]", (None, "fe80::1", None)),
            ("ops@[fe80::1]:2200", (Some("ops"), "fe80::1", Some(2200))),
        ];
        for (text, (user, host, port)) in cases {
            let expected = Spec {
                user: user.map(str::to_owned),
                host: host.to_owned(),
                port,
            };
            assert_eq!(Spec::parse(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "ops@",
            "bastion:ssh",
            "bastion:70000",
            "[::1]2200",
            "-oProxyCommand=x",
            "@bastion",
            "a,b",
        ] {
            assert!(Spec::parse(text).is_err(), "{text}");
        }
    }
}
