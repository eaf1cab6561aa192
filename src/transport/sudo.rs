//! How commands become root, and what sudo's refusals mean.

use super::TransportError;
use crate::inventory::{Become, Host};
use crate::quote::sh;
use crate::secret::Secret;

/// What sudo asks with. Ours, so that a second question, which means that the password was wrong, is known in any language.
const PROMPT: &str = "[hactl asks for sudo's password]";

/// How commands on a host become root.
#[derive(Debug, Clone)]
pub struct Elevation {
    how: Become,
    user: String,
    password: Option<Secret>,
}

impl Elevation {
    /// For a host; `password` is needed only when its inventory says that sudo asks for one.
    pub fn of(host: &Host, password: Option<Secret>) -> Self {
        Elevation {
            how: host.ssh.become_root,
            user: host.ssh.user.clone(),
            password: password.filter(|_| host.ssh.become_root == Become::SudoPassword),
        }
    }

    /// The line for the login shell, whatever shell that is, that runs `script` as root.
    pub(super) fn wrap(&self, script: &str) -> String {
        // sudo's own words are read, so they must not come in the operator's language.
        let sudo = match self.how {
            Become::None => String::new(),
            Become::Sudo => "env LC_ALL=C sudo -n ".to_owned(),
            // -k: never rely on cached credentials, so that it is known who reads the first line.
            Become::SudoPassword => format!("env LC_ALL=C sudo -k -S -p {} ", sh(PROMPT)),
        };
        format!("exec {sudo}sh -c {}", sh(script))
    }

    /// What goes to standard input before anything else.
    pub(super) fn first_line(&self) -> Option<zeroize::Zeroizing<String>> {
        let password = self.password.as_ref()?;
        Some(zeroize::Zeroizing::new(format!("{}\n", password.reveal())))
    }

    /// Whether sudo has judged the password wrong. It would take what comes next for another one, and every attempt counts
    /// against the account.
    pub(super) fn was_refused(&self, said: &[u8]) -> bool {
        let prompts = said.windows(PROMPT.len()).filter(|part| *part == PROMPT.as_bytes());
        prompts.count() > 1 || String::from_utf8_lossy(said).contains("Sorry, try again")
    }

    /// Why there is no root shell on host `name`, from what came instead of it.
    pub(super) fn explain(&self, name: &str, said: &str) -> TransportError {
        let said = said.replace(PROMPT, "");
        let said = said.trim();
        let error = |why: &str| TransportError::connect(format!("{name}: {why}"));
        let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let user = &self.user;
        if self.how == Become::None {
            return error(&format!("cannot start a root shell: {said}"))
                .hint("the login shell must be able to run `sh`");
        }
        if has(&[
            "Sorry, try again",
            "incorrect password attempt",
            "Authentication failure",
        ]) || self.was_refused(said.as_bytes())
        {
            return error(&format!("sudo does not take the password of {user}")).hint(format!(
                "correct what `ssh: {{ become: {{ password: ... }} }}` of the inventory names, and try it by hand: hactl ssh {name}, then sudo -k -v"
            ));
        }
        if has(&[
            "a password is required",
            "no password was provided",
            "a terminal is required",
        ]) {
            return error(&format!("sudo asks {user} for a password")).hint(
                "write `become: password` under `ssh:` of the inventory, or allow it without one on the host: a line `USER ALL=(ALL:ALL) NOPASSWD: ALL` in /etc/sudoers.d",
            );
        }
        if has(&["not in the sudoers", "is not allowed to", "may not run sudo"]) {
            return error(&format!("{user} may not use sudo: {said}"))
                .hint(format!("as root on the host: usermod -aG sudo {}", sh(user)));
        }
        if has(&["you must have a tty"]) {
            return error("sudo wants a terminal").hint(format!(
                "a line `Defaults:{user} !requiretty` in /etc/sudoers.d on the host"
            ));
        }
        if said.contains("sudo") && has(&["not found", "No such file"]) {
            return error("sudo is not installed")
                .hint("as root on the host: apt-get install sudo; or log in as root: `ssh: { user: root }`");
        }
        error(&format!("cannot become root with sudo: {said}")).hint(format!(
            "sudo must let {user} run any command: hactl ssh {name}, then sudo -l"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elevation(how: Become) -> Elevation {
        Elevation {
            how,
            user: "ops".into(),
            password: Some(Secret::new("hunter2".to_owned())),
        }
    }

    #[test]
    fn refusals_are_told_apart() {
        // As sudo 1.9 of Debian and the shells of a login say it.
        let cases = [
            ("sudo: a password is required", "sudo asks ops for a password"),
            (
                "sudo: a terminal is required to read the password; either use the -S option to read from standard input",
                "sudo asks ops for a password",
            ),
            (
                "Sorry, try again.\nsudo: no password was provided\nsudo: 1 incorrect password attempt",
                "sudo does not take the password of ops",
            ),
            (
                "ops is not in the sudoers file.",
                "ops may not use sudo: ops is not in the sudoers file.",
            ),
            (
                "Sorry, user ops is not allowed to execute '/bin/sh -c x' as root on srv1.",
                "ops may not use sudo: Sorry, user ops is not allowed to execute '/bin/sh -c x' as root on srv1.",
            ),
            ("sudo: sorry, you must have a tty to run sudo", "sudo wants a terminal"),
            ("env: ‘sudo’: No such file or directory", "sudo is not installed"),
            ("env: 'sudo': No such file or directory", "sudo is not installed"),
            (
                "sudo: /etc/sudoers is world writable",
                "cannot become root with sudo: sudo: /etc/sudoers is world writable",
            ),
        ];
        for (said, expected) in cases {
            let error = elevation(Become::SudoPassword).explain("srv1", &format!("{PROMPT}{said}"));
            assert_eq!(error.message, format!("srv1: {expected}"), "{said}");
            assert!(error.hint.is_some(), "{said}");
        }
    }

    #[test]
    fn the_second_question_is_a_refusal_in_any_language() {
        let elevation = elevation(Become::SudoPassword);
        let once = format!("lecture\n{PROMPT}");
        assert!(!elevation.was_refused(once.as_bytes()));
        assert!(elevation.was_refused(format!("{once}Leider falsch.\n{PROMPT}").as_bytes()));
    }

    #[test]
    fn the_password_is_in_no_command_line() {
        for how in [Become::None, Become::Sudo, Become::SudoPassword] {
            assert!(!elevation(how).wrap("id").contains("hunter2"));
        }
    }
}
