use super::*;

/// Sources in a folder with these files.
fn sources(folder: &Path, user: Option<&str>, system: Option<&str>) -> Sources {
    fs::create_dir_all(folder.join(".ssh")).unwrap();
    let write = |path: PathBuf, text: Option<&str>| {
        if let Some(text) = text {
            let text = text.replace("DIR", &folder.to_string_lossy());
            fs::write(&path, text).unwrap();
        }
        path
    };
    write(folder.join(".ssh/config"), user);
    Sources {
        home: folder.to_owned(),
        config: None,
        system_config: write(folder.join("ssh_config"), system),
    }
}

#[test]
fn ssh_is_asked_only_when_there_is_something_to_read() {
    let debian = "# Debian\nInclude DIR/ssh_config.d/*.conf\n\nHost *\n    SendEnv LANG LC_*\n    \
                  HashKnownHosts yes\n    GSSAPIAuthentication yes\n";
    let cases = [
        (None, None, Some(false)),
        (Some(""), Some(""), Some(false)),
        (Some("# nothing\n\n"), Some(debian), Some(true)),
        (None, Some("Host *\nHashKnownHosts=no\n"), Some(false)),
        (Some("Host db1\n"), None, None),
        (Some("  User bob\n"), Some(debian), None),
        (None, Some("Host db*\nHashKnownHosts yes\n"), None),
        (None, Some("Host *\nPort 2222\n"), None),
        (None, Some("Include /etc/ssh/*\n"), None),
    ];
    for (user, system, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            sources(folder.path(), user, system).stock(),
            expected,
            "{user:?} {system:?}"
        );
    }
    // The folder that Debian includes counts as soon as there is a file in it.
    let folder = tempfile::tempdir().unwrap();
    let sources = sources(folder.path(), None, Some(debian));
    fs::create_dir(folder.path().join("ssh_config.d")).unwrap();
    assert_eq!(sources.stock(), Some(true));
    fs::write(folder.path().join("ssh_config.d/site.conf"), "").unwrap();
    assert_eq!(sources.stock(), None);
}

#[test]
fn the_output_of_ssh_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources(folder.path(), None, None);
    let text = "host 10.0.0.1\nhostname db1.internal\nport 2200\nuser bob\nidentityfile ~/.ssh/work\n\
                identityfile /keys/two words\nidentitiesonly yes\nidentityagent none\nhashknownhosts yes\n\
                userknownhostsfile /home/bob/kh /tmp/with space/kh2\nglobalknownhostsfile none\n\
                hostkeyalias db1\nproxyjump ops@bastion:2222\nproxycommand none\n";
    let found = sources.parse(text, "root", "10.0.0.1", 22);
    let expected = Effective {
        hostname: "db1.internal".into(),
        port: 2200,
        user: "bob".into(),
        identity_files: vec![folder.path().join(".ssh/work"), "/keys/two words".into()],
        identities_named: true,
        identities_only: true,
        agent: AgentChoice::None,
        user_known_hosts: vec!["/home/bob/kh".into(), "/tmp/with space/kh2".into()],
        global_known_hosts: vec![],
        hash_known_hosts: true,
        host_key_alias: Some("db1".into()),
        jump: Some("ops@bastion:2222".into()),
        beyond_native: None,
    };
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_defaults_are_those_of_ssh() {
    let folder = tempfile::tempdir().unwrap();
    let mut sources = sources(folder.path(), None, None);
    let unasked = sources.effective("root", "10.0.0.1", Some(2200)).await.unwrap();
    // An empty configuration makes ssh say its defaults itself.
    sources.config = Some("/dev/null".into());
    let mut asked = sources.effective("root", "10.0.0.1", Some(2200)).await.unwrap();
    // ssh takes the home from the password database, the test has its own.
    asked.user_known_hosts.clone_from(&unasked.user_known_hosts);
    assert_eq!(asked, unasked);
}
