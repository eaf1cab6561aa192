//! What verbs of their own subject refuse: names, backups, benches that are moved.

use super::*;

/// Names that are not switched, by a provider on this machine.
pub fn dns(book: &mut Book) {
    book.chapter("names");
    let place = Place::new();
    let inventory = |provider: &str| {
        format!(
            "cluster: acme\nhosts:\n  srv1: {{ address: 10.77.9.11, primary: true, public_address: 198.51.100.11 }}\n  \
             srv2: {{ address: 10.77.9.12, standby: true, public_address: 198.51.100.12 }}\n\
             app: {{ kind: wsgi, url: 'https://git.example.com/shop.git', ref: v1, module: 'shop:app' }}\n\
             sites:\n  - {{ name: shop.example.com }}\ndns:\n  names: [ shop.example.com ]\n  wait: 1\n  provider: {provider}\n"
        )
    };
    place.write(
        "inventory.yml",
        inventory("{ kind: exec, run: 'sh script', timeout: 2 }"),
    );
    let is = |address: &str| format!("[ $HACTL_DNS_ACTION = swap ] || echo '{{\"values\":[{address}],\"ttl\":60}}'\n");
    let old = is("\"198.51.100.11\"");
    for (what, script) in [
        ("nothing that makes sense", "echo hello".to_owned()),
        (
            "a command that fails",
            "echo 'no route to the office' >&2; exit 1".to_owned(),
        ),
        ("another address", is("\"203.0.113.9\"")),
        ("two addresses", is("\"198.51.100.11\",\"198.51.100.12\"")),
        ("no record", is("")),
        (
            "a change that is refused",
            format!("{old}[ $HACTL_DNS_ACTION = read ] || {{ echo denied >&2; exit 1; }}"),
        ),
        (
            "a change that came too late",
            format!("{old}[ $HACTL_DNS_ACTION = read ] || exit 3"),
        ),
        ("a change that does nothing", old),
    ] {
        place.write("script", script);
        book.entry(what, &place.fails(&["dns", "switch", "--yes", "--to", "srv2"]));
    }
    for args in [
        &["dns", "switch", "--to", "srv2"][..],
        &["dns", "switch", "--to", "srv22"],
        &["dns", "switch", "--yes", "--to", "srv2", "--from", "db"],
    ] {
        book.entry(&args.join(" "), &place.fails(args));
    }
    for (what, provider) in [
        (
            "a key that is no base64",
            "{ kind: rfc2136, server: 127.0.0.1:1, zone: example.com, key: k, secret: !secret file:script }",
        ),
        (
            "a secret that is not set",
            "{ kind: cloudflare, zone_id: 023e105f4ecef8ad9ca31a8372d0c353, token: !secret env:NOT_SET }",
        ),
        (
            "a name server that is down",
            "{ kind: rfc2136, server: 127.0.0.1:1, zone: example.com, key: k, secret: !secret file:key }",
        ),
    ] {
        place.write("script", "not/base64!");
        place.write("key", "c2VjcmV0");
        place.write("inventory.yml", inventory(provider));
        book.entry(what, &place.fails(&["dns", "switch", "--yes", "--to", "srv2"]));
    }
}

/// Backups that lead nowhere, and moments that nobody can go back to.
pub fn backup(book: &mut Book) {
    book.chapter("backups");
    let place = Place::new();
    let inventory = |backup: &str| {
        format!(
            "cluster: acme\nhosts:\n  srv1: {{ address: 10.77.9.11 }}\n\
             app: {{ kind: wsgi, url: 'https://git.example.com/shop.git', ref: v1, module: 'shop:app' }}\n\
             sites:\n  - {{ name: shop.example.com }}\n{backup}"
        )
    };
    place.write("inventory.yml", inventory(""));
    for args in [&["backup"][..], &["backup", "list"], &["restore", "--drill"]] {
        book.entry(&args.join(" "), &place.fails(args));
    }
    for (what, backup) in [
        ("no target", "backup: { targets: {} }\n"),
        (
            "a target without a kind",
            "backup: { targets: { vault: { path: /srv/vault } } }\n",
        ),
        (
            "a target of another kind",
            "backup: { targets: { vault: { kind: ftp, path: /srv/vault } } }\n",
        ),
        (
            "a machine without its key",
            "backup: { targets: { vault: { kind: ssh, host: vault.example.com, user: backup, path: vault, host_key: abc } } }\n",
        ),
        (
            "a bucket that is none",
            "backup: { targets: { off: { kind: s3, endpoint: s3.example.com, bucket: My_Bucket, access_key_id: AK, secret_access_key: !secret env:NOT_SET } } }\n",
        ),
        (
            "times that are none",
            "backup: { at: '25:00', full_days: 0, keep: { daily: 0, weeks: 3 }, targets: { disk: { kind: directory, path: /srv/backup } } }\n",
        ),
    ] {
        place.write("inventory.yml", inventory(backup));
        book.entry(what, &place.fails(&["check"]));
    }
    place.write(
        "inventory.yml",
        inventory("backup: { targets: { off: { kind: s3, bucket: acme, access_key_id: AK, secret_access_key: !secret file:key } } }\n"),
    );
    place.write("key", "hunter2");
    for args in [
        &["backup", "--target", "of"][..],
        &["restore"],
        &["restore", "--to", "yesterday"],
        &["restore", "--to", "2026-11-22T10:00:05"],
        &["restore", "--to", "2026-11-22T10:00:05Z"],
        &["restore", "--site", "shop", "--newest", "--yes"],
    ] {
        book.entry(&args.join(" "), &place.fails(args));
    }
}

/// What a server says about its bench, and what `init --from-bench` says then.
pub fn benches(book: &mut Book) {
    book.chapter("taking a bench over");
    let place = Place::new();
    let from = ["init", "new.yml", "--from-bench"];
    for args in [
        &[&from[..], &["nowhere.invalid"]].concat()[..],
        &[&from[..], &["srv1=nowhere"]].concat(),
        &[&from[..], &["203.0.113.10", "--bench-path", "frappe-bench"]].concat(),
        &[&from[..], &["203.0.113.10", "--site", "erp.example.com"]].concat(),
        &["init", "--bench-path", "/home/frappe/frappe-bench"],
        &["init", "--from-bench", "203.0.113.10"],
    ] {
        book.entry(&args.join(" "), &place.fails(args));
    }
    let bench = "/home/frappe/frappe-bench\n";
    for (what, asked, answers) in [
        ("no bench", None, &[][..]),
        ("none there", Some("/opt/bench"), &[]),
        (
            "hactl's own",
            Some("/srv/frappe/bench"),
            &[("own", "/srv/frappe/bench\n")],
        ),
        ("only hactl's own", None, &[("own", "/srv/frappe/bench\n")]),
        ("an odd name", None, &[("odd", "/home/frappe/my \u{1b}[2Jbench\n")]),
        (
            "several",
            None,
            &[("bench", bench), ("bench", "/home/frappe/test-bench\n")],
        ),
        (
            "nothing that makes sense",
            None,
            &[("bench", bench), ("file common", "\u{1b}]0;x\u{7}")],
        ),
        ("no apps", None, &[("bench", bench), ("file common", "{}")]),
        (
            "a bench elsewhere than a host says",
            None,
            &[("bench", "/../etc\n"), ("file common", "{}")],
        ),
        (
            "no site that can be taken over",
            None,
            &[
                ("bench", bench),
                ("file common", "{}"),
                (
                    "app frappe",
                    "url=https://github.com/frappe/frappe\ncommit=0123456789012345678901234567890123456789\ntag=v15.51.2\n",
                ),
                ("site erp.example.com", "{\"db_type\": \"postgres\"}"),
                ("site a_b", "{}"),
            ],
        ),
    ] {
        let section = |(mark, body): &(&str, &str)| hactl::resource::probe::Section {
            words: mark.split(' ').map(str::to_owned).collect(),
            body: body.as_bytes().to_vec(),
        };
        let found = hactl::bench::read(&answers.iter().map(section).collect::<Vec<_>>());
        let login = hactl::bench::Login {
            name: None,
            address: "203.0.113.10".into(),
            user: "root".into(),
            port: None,
            identity_file: None,
            cluster: None,
        };
        let drafted = hactl::bench::one_bench(&found, "203.0.113.10", asked)
            .and_then(|folder| hactl::bench::draft(&found, folder, &login));
        let Err(error) = drafted else {
            panic!("{what}: it was taken")
        };
        let hints: String = error.hints.iter().map(|hint| format!("\n  next: {hint}")).collect();
        book.entry(
            what,
            &format!("{}{hints}\n[exit {}]", error.message, error.kind.exit_code()),
        );
    }
    let adopted = |keys: &str, rest: &str| {
        format!(
            "cluster: acme\nhosts:\n  srv1: {{ address: 10.77.9.11 }}\n{rest}app:\n  kind: frappe\n  \
             apps: [ {{ name: frappe, url: 'https://github.com/frappe/frappe', ref: v15.51.2 }} ]\n  \
             adopted: {{ {keys} }}\nsites:\n  - {{ name: erp.example.com }}\n"
        )
    };
    for (what, text) in [
        ("an empty `adopted`", adopted("", "")),
        ("the same folder", adopted("from: /srv/frappe/bench", "")),
        ("hactl's own file", adopted("from: /home/frappe/frappe", "")),
        (
            "several hosts",
            adopted(
                "from: /home/frappe/frappe-bench",
                "  srv2: { address: 10.77.9.12, roles: [worker] }\n",
            ),
        ),
    ] {
        place.write("inventory.yml", text);
        book.entry(what, &place.fails(&["check"]));
    }
}
