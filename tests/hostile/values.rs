//! Hostile values: what breaks out of the languages that hactl writes, alone and put together at random.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// Each breaks something when it is not quoted. `CANARY` is the file that must not appear.
const FRAGMENTS: &[&str] = &[
    "'",
    "\"",
    "\\",
    "\\\\",
    "\\'",
    "\\\"",
    "`",
    "$",
    "%",
    "#",
    " #x",
    " ;x",
    ";",
    "&",
    "|",
    "<",
    ">",
    "(",
    ")",
    "{",
    "}",
    "*",
    "?",
    "[",
    "]",
    "~",
    "!",
    "=",
    "-",
    "--",
    "-o",
    "..",
    "../..",
    "/",
    ":",
    ",",
    "@",
    " ",
    "  ",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\0",
    "\u{1b}",
    "\u{7f}",
    "\u{9b}2J",
    "\u{1b}[2J\u{1b}[H",
    "\u{1b}]0;owned\u{7}",
    "\u{8}\u{8}",
    "\u{202e}fdp.exe",
    "\u{2066}x\u{2069}",
    "\u{200e}",
    "\u{200b}",
    "\u{2028}",
    "\u{feff}",
    "\u{e000}plain:redis/cache\u{e001}",
    "\u{e002}1\u{e002}",
    "ü",
    "日本語",
    "😀",
    "a\u{301}",
    "$(touch CANARY)",
    "`touch CANARY`",
    "; touch CANARY",
    "\ntouch CANARY\n",
    "| touch CANARY",
    "&& touch CANARY",
    "' ; touch CANARY; '",
    "\"; touch CANARY; \"",
    "$HOME",
    "${HOME}",
    "$'\\n'",
    "{{ secret(name=\"redis/cache\") }}",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "{% include \"x\" %}",
    "{# x #}",
    "}}",
    "%}",
    "%(ENV_HOME)s",
    "%(here)s",
    "%s%n",
    "%%",
    "$remote_addr",
    "; return 301 /;",
    "} location / { deny all; }",
    "\nrequirepass \"\"\n",
    "\nskip-grant-tables\n",
    "[mysqld]",
    "!includedir /tmp",
    "'; DROP DATABASE mysql; -- ",
    "' OR '1'='1",
    "\\'; SELECT 1; #",
    "/* x */",
    "\\! touch CANARY",
    "delimiter //",
    "\\g",
    "null",
    "true",
    "1e3",
    "0755",
    "~",
    "!secret x",
    "*alias",
    "&anchor",
    "<<",
    "- a",
    "a: b",
    "a # b",
    "|",
    ">",
    "%YAML",
    "---",
    "...",
    "harm",
    "EOF",
    "env:HOME",
    "ext::sh -c touch% CANARY",
    "file:///x",
    "http://a/b",
    "git@h:x",
    "a'b",
    "a b",
    "a\"b",
    "a$b",
    "a;b",
    "a%b",
    "/srv/a b",
    "/srv/$(id)",
];

/// Source of values; the same ones in every run.
pub struct Values {
    runner: TestRunner,
    next: usize,
}

impl Values {
    pub fn new() -> Self {
        Values {
            runner: TestRunner::deterministic(),
            next: 0,
        }
    }

    /// So many values: a third of them from the list, in turn, a third composed, and a third made of what is taken here.
    pub fn some(&mut self, count: usize, taken: &str) -> Vec<String> {
        let composed = prop::collection::vec(
            prop_oneof![
                4 => prop::sample::select(FRAGMENTS).prop_map(str::to_owned),
                2 => "[a-z0-9./_-]{1,8}",
                1 => any::<char>().prop_map(String::from),
                1 => (1_usize..4).prop_map(|n| "x".repeat(10_usize.pow(n as u32))),
            ],
            1..6,
        );
        let make = |n: usize| match n % 3 {
            0 => {
                self.next += 1;
                FRAGMENTS[self.next % FRAGMENTS.len()].to_owned()
            }
            1 => {
                self.next += 1;
                format!("{taken}{}", FRAGMENTS[self.next % FRAGMENTS.len()])
            }
            _ => composed.new_tree(&mut self.runner).expect("a value").current().concat(),
        };
        let mut values: Vec<String> = (0..count).map(make).collect();
        values.push("x".repeat(60_000));
        values.push("x".repeat(200_000));
        values.push(format!("{}\nskip-grant-tables", "y".repeat(4090)));
        values.push(format!("{}skip-grant-tables", "y".repeat(4085)));
        values
    }
}
