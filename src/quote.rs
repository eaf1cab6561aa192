//! Quoting for the languages hactl writes. Nothing from an inventory or a host goes into a script without one of these.

/// One shell word, quoted for any POSIX `sh`. NUL cannot be expressed in shell; it is refused at inventory parse, and
/// dropped here so that this function is total.
pub fn sh(word: &str) -> String {
    let clean: String;
    let word = if word.contains('\0') {
        clean = word.replace('\0', "");
        &clean
    } else {
        word
    };
    shlex::try_quote(word).map(|q| q.into_owned()).unwrap_or_default()
}

/// Several shell words, each quoted, separated by blanks.
pub fn sh_words<I, S>(words: I) -> String
where
    I: IntoIterator<Item = S>,
    S: AsRef<str>,
{
    words.into_iter().map(|w| sh(w.as_ref())).collect::<Vec<_>>().join(" ")
}

/// A string literal for MariaDB. Backslash escapes are escaped too, so it holds with and without NO_BACKSLASH_ESCAPES
/// off (MariaDB's default); hactl sets no such mode.
pub fn sql(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('\'');
    for c in value.chars() {
        match c {
            '\'' => out.push_str("''"),
            '\\' => out.push_str("\\\\"),
            '\0' => out.push_str("\\0"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{1a}' => out.push_str("\\Z"),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

/// An identifier (database, table) for MariaDB.
pub fn sql_name(name: &str) -> String {
    format!("`{}`", name.replace('\0', "").replace('`', "``"))
}

/// Text that came from a host or an inventory, made safe for a terminal: control characters (escape sequences, bells,
/// carriage returns) become visible.
pub fn terminal(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c.to_string(),
            c if c.is_control() => format!("\\x{:02x}", c as u32),
            c if deceives(c) => format!("\\u{{{:x}}}", c as u32),
            c => c.to_string(),
        })
        .collect()
}

/// Characters that make a line read as something it is not: those that reorder text, break lines, or hide (marks without
/// width, tags).
pub fn deceives(c: char) -> bool {
    matches!(
        c,
        '\u{61c}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// JSON on one line. Of the characters that a terminal acts on JSON itself escapes only ASCII's; the others can be escaped
/// as well, since they stand only in strings.
pub fn json(value: &serde_json::Value) -> String {
    let json = value.to_string();
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() || deceives(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn sh_delivers_the_value_literally(value in "[^\0]*") {
            let script = format!("printf %s {}", super::sh(&value));
            let out = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
            prop_assert_eq!(out.stdout, value.into_bytes());
        }

        #[test]
        fn terminal_text_holds_no_control_characters(value in any::<String>()) {
            let clean = super::terminal(&value);
            let quiet = clean.chars().all(|c| c == '\n' || c == '\t' || !c.is_control());
            prop_assert!(quiet);
        }
    }

    #[test]
    fn sql_literals_escape_quotes_and_backslashes() {
        assert_eq!(super::sql(r"a'b\c"), r"'a''b\\c'");
        assert_eq!(super::sql_name("a`b"), "`a``b`");
    }
}
