//! Makes source text safe to quote: hides literal secrets, and what would steer a terminal.
//!
//! Works on the characters, not on the parsed tree, because a line must also be safe to quote when the file does not
//! parse. Every masked byte becomes one `*`, so that spans stay true.

use super::yaml::forbidden;

/// Parts of key names whose values are hidden; half a word, so that a misspelt key hides its value, too.
const SECRET_KEYS: [&str; 6] = ["pass", "pasw", "pwd", "secret", "token", "_key"];

/// The text with the values of password-like keys replaced, and without control characters.
pub fn quotable(text: &str) -> String {
    printable(&secrets(text))
}

/// Control characters and those that reorder text become `?`, one for each byte.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' => out.push(' '),
            c if forbidden(&c.to_string(), true).is_some() => (0..c.len_utf8()).for_each(|_| out.push('?')),
            c => out.push(c),
        }
    }
    out
}

/// The text with the values of password-like keys replaced.
fn secrets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Inside the value of a secret key that continues on deeper lines (`password: |`): the key's column.
    let mut block: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start_matches(' ').len();
        if block.is_some_and(|column| line.trim().is_empty() || indent > column) {
            hide(line, &mut out);
            continue;
        }
        block = mask_line(line, &mut out);
    }
    out
}

/// Masks one line; returns the column of a secret key whose value goes on below.
fn mask_line(line: &str, out: &mut String) -> Option<usize> {
    let mut rest = line;
    while let Some(colon) = rest.find(':') {
        let (before, after) = rest.split_at(colon + 1);
        out.push_str(before);
        rest = after;
        let key_text = before[..colon].trim_end_matches(['"', '\'', ' ']);
        let key = key_text
            .rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
            .next()
            .unwrap_or_default();
        if let Some(authority) = rest.strip_prefix("//") {
            let end = authority.find(['/', ' ', '"', '\'', '\n']).unwrap_or(authority.len());
            if let Some((login, _)) = authority[..end].rsplit_once('@')
                && let Some((user, password)) = login.split_once(':')
            {
                let at = "//".len() + user.len() + 1;
                out.push_str(&rest[..at]);
                hide(password, out);
                rest = &rest[at + password.len()..];
            }
            continue;
        }
        if !is_secret(key) || !rest.starts_with([' ', '\n', '\r', '\t']) {
            continue;
        }
        let value_at = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        out.push_str(&rest[..value_at]);
        rest = &rest[value_at..];
        if rest.starts_with("!secret") || rest.starts_with(['{', '#']) {
            continue;
        }
        let column = line.len() - line.trim_start_matches([' ', '-']).len();
        if rest.trim().is_empty() {
            out.push_str(rest);
            return Some(column);
        }
        let end = value_end(rest);
        hide(&rest[..end], out);
        rest = &rest[end..];
        if rest.trim().is_empty() {
            // A quoted or plain value may go on below, indented deeper.
            out.push_str(rest);
            return Some(column);
        }
    }
    out.push_str(rest);
    None
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    // `secrets` is a section of the inventory and holds none.
    key != "secrets" && SECRET_KEYS.iter().any(|part| key.contains(part))
}

/// Where the value ends that starts a piece of a line: its closing quote, or the end of a flow entry or line.
fn value_end(rest: &str) -> usize {
    if let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let mut escaped = false;
        for (i, c) in rest.char_indices().skip(1) {
            if escaped {
                escaped = false;
            } else if c == '\\' && quote == '"' {
                escaped = true;
            } else if c == quote {
                return i + 1;
            }
        }
        return rest.trim_end().len();
    }
    let end = [rest.find(", "), rest.find('}'), rest.find(" #")]
        .into_iter()
        .flatten()
        .min();
    end.unwrap_or_else(|| rest.trim_end().len())
}

fn hide(text: &str, out: &mut String) {
    for byte in text.bytes() {
        out.push(match byte {
            b'\n' => '\n',
            b'\r' => '\r',
            b' ' => ' ',
            _ => '*',
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{quotable, secrets};

    #[test]
    fn nothing_quoted_steers_a_terminal() {
        let text = "a: \x1b[2J\u{9b}1m\u{202e}x\r\n\tb";
        assert_eq!(quotable(text), "a: ?[2J??1m???x \n\tb");
        assert_eq!(quotable(text).len(), text.len());
    }

    #[test]
    fn values_of_password_keys_are_hidden_and_offsets_stay() {
        let cases = [
            ("admin_password: hunter2\n", "admin_password: *******\n"),
            ("{ password: hunter2, x: 1 }", "{ password: *******, x: 1 }"),
            (
                "\"api_token\": 'a, b' # c",
                "\"api_token\": ******* # c".replace("*******", "*** **").as_str(),
            ),
            ("password: !secret admin\n", "password: !secret admin\n"),
            ("secrets: { file: a.age }\n", "secrets: { file: a.age }\n"),
            (
                "password: |\n  line one\n  two\nnext: 1\n",
                "password: *\n  **** ***\n  ***\nnext: 1\n",
            ),
            ("password:\n  pässe\nnext: 1\n", "password:\n  ******\nnext: 1\n"),
            ("url: https://example.com\n", "url: https://example.com\n"),
            (
                "url: \"https://me:geheim@h:1/x\"\n",
                "url: \"https://me:******@h:1/x\"\n",
            ),
            ("{ admin_pasword: geheim }", "{ admin_pasword: ****** }"),
        ]
        .map(|(a, b)| (a.to_owned(), b.to_owned()));
        for (text, masked) in cases {
            assert_eq!(secrets(&text), masked);
            assert_eq!(secrets(&text).len(), text.len());
        }
    }
}
