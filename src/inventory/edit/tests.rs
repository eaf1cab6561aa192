use std::path::Path;

use super::*;

fn source(text: &str) -> Source {
    Source::new("inventory.yml", text)
}

fn site(name: &str) -> NewSite {
    NewSite {
        name: name.into(),
        ..NewSite::default()
    }
}

/// Layouts of `sites`, each with what it is when `b` and `z` are added and when the sites are taken out, one by one.
const LAYOUTS: &[&str] = &[
    "cluster: x # c\nsites: # these\n  # the main one\n  - { name: a.example.com } # ours\n  # and\n  - { name: b.example.com }\n# end\nhosts: {}\n",
    "sites:\n- name: a.example.com\n  aliases: [ www.example.com ]  # www\n\n  # b is for tests\n- name: b.example.com\n  tls:\n\n# what follows\nmariadb: { port: 3306 }\n",
    "sites: [ { name: a.example.com }, { name: b.example.com } ] # two\ncluster: x\n",
    "sites: [\n  { name: a.example.com },  # main\n  { name: b.example.com }   # other\n]\ncluster: x\n",
    "sites: [\n  { name: a.example.com },\n  # tests\n  { name: b.example.com, config: { x: 1 } },\n]\n",
    "sites:\n  -\n    # first\n    name: a.example.com\n  - name: b.example.com\n    config:\n      text: |\n        many\n        lines\n\ncluster: x\n",
    "cluster: x\r\nsites:\r\n  - name: a.example.com\r\n  - { name: b.example.com }\r\n",
    "sites:\n  - { name: a.example.com }\n  - { name: b.example.com }",
    "{\"cluster\": \"x\", \"sites\": [{\"name\": \"a.example.com\"}, {\"name\": \"b.example.com\"}]}",
];

#[test]
fn only_that_place_changes() {
    let mut shown = String::new();
    for text in LAYOUTS {
        let with = add(&source(text), &site("c.example.com")).unwrap();
        let without_first = remove(&source(text), "a.example.com").unwrap();
        let without_last = remove(&source(text), "b.example.com").unwrap();
        for (what, text) in [
            ("", *text),
            ("with c", &with),
            ("without a", &without_first),
            ("without b", &without_last),
        ] {
            let text = text.replace('\r', "␍");
            shown.push_str(&format!("===== {what}\n{text}\n"));
        }
    }
    insta::assert_snapshot!(shown);
}

/// What is added can be taken out again, and every comment is still there.
#[test]
fn a_site_that_came_and_went_leaves_nothing() {
    for text in LAYOUTS {
        let with = add(&source(text), &site("c.example.com")).unwrap();
        let back = remove(&source(&with), "c.example.com").unwrap();
        let lines = |text: &str| text.split_whitespace().collect::<String>().replace(",]", "]");
        // A comma may stay behind what is the last again.
        assert_eq!(
            lines(&back).replace("},#", "}#"),
            lines(text).replace("},#", "}#"),
            "{text}"
        );
        for comment in text.lines().filter_map(|line| line.split_once('#')) {
            assert!(with.contains(comment.1.trim_end()), "{comment:?} in {with}");
        }
    }
}

#[test]
fn a_name_is_text_whatever_it_looks_like() {
    for name in ["1.5", "1", "null", "true", "1e5", "localhost", "no", "0x1", "a-b.c"] {
        let text = "cluster: a\nhosts: { srv1: { address: 10.0.0.1 } }\n\
                    app: { kind: wsgi, url: 'https://example.com/a.git', ref: main, module: 'a:b' }\n\
                    sites:\n  - { name: a.example.com }\n";
        let site = NewSite {
            name: name.into(),
            admin_password: Some("env:A, B} # ".into()),
            apps: None,
        };
        let new = add(&source(text), &site).unwrap();
        let loaded = crate::inventory::parse(&new, Path::new("/inventory.yml"));
        // Only what stands behind `env:` is refused, and that in one piece.
        let error = loaded.unwrap_err().into_error(false).message;
        assert!(error.contains("`env:A, B} #`"), "{error}");
        let new = add(
            &source(text),
            &NewSite {
                admin_password: None,
                ..site
            },
        )
        .unwrap();
        let loaded = crate::inventory::parse(&new, Path::new("/inventory.yml")).unwrap();
        assert_eq!(loaded.inventory.sites[1].name, name);
    }
}

#[test]
fn what_is_not_understood_is_left_alone() {
    for text in [
        "x: &s [ { name: a.example.com }, { name: b.example.com } ]\nsites: *s\n",
        "sites: { a: b }\n",
        "sites:\n  - &x { name: a.example.com }\n  - *x\n",
        "sites: []\n",
        "nothing: 1\n",
    ] {
        assert!(remove(&source(text), "a.example.com").is_err(), "{text}");
    }
    let error = add(
        &source("x: &s [ { name: a.example.com } ]\nsites: *s\n"),
        &site("c.example.com"),
    );
    // The list is elsewhere, and something else may use it.
    assert_eq!(
        error.unwrap_err().hints,
        ["add the site there by hand, then run hactl apply: - { name: c.example.com }"]
    );
}

#[test]
fn a_name_that_is_taken_is_shown_where_it_stands() {
    let text = "sites:\n  - { name: a.example.com, aliases: [ www.example.com ] }\n";
    for (name, place) in [("a.example.com", "2:13"), ("www.example.com", "2:39")] {
        let message = add(&source(text), &site(name)).unwrap_err().message;
        assert!(message.contains(place), "{message}");
    }
}
