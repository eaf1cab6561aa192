//! What a bench's nginx configuration says: servers with their names, ports and certificates, and what bench would not
//! have written.

use std::collections::BTreeSet;

/// Places that bench's own template has.
const LOCATIONS: [&str; 8] = [
    "/assets",
    "~ ^/protected/(.*)",
    "/socket.io",
    "/",
    "~* ^/files/.*.(htm|html|svg|xml)",
    "@webserver",
    "/502.html",
    "~ ^/files/.*.(htm|html|svg|xml)",
];

/// A `server { }`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// `server_name`.
    pub names: Vec<String>,
    /// Ports and whether they speak TLS.
    pub listens: Vec<(u16, bool)>,
    /// `ssl_certificate`.
    pub certificate: Option<String>,
    /// `ssl_certificate_key`.
    pub key: Option<String>,
}

/// A whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nginx {
    /// Its servers.
    pub servers: Vec<Server>,
    /// MiB of `client_max_body_size`, the largest.
    pub max_body_mb: Option<u32>,
    /// `include`s and `location`s that are not bench's.
    pub custom: BTreeSet<String>,
}

/// Reads a configuration; what it does not know it passes over.
pub fn read(text: &str) -> Nginx {
    let mut nginx = Nginx::default();
    let mut blocks: Vec<String> = Vec::new();
    let mut words: Vec<String> = Vec::new();
    for token in tokens(text) {
        match token {
            Token::Word(word) => words.push(word),
            Token::Open => {
                let line = std::mem::take(&mut words);
                let name = line.first().cloned().unwrap_or_default();
                if name == "server" {
                    nginx.servers.push(Server::default());
                }
                let place = line.get(1..).unwrap_or_default().join(" ").replace('\\', "");
                if name == "location" && !LOCATIONS.contains(&place.as_str()) {
                    nginx.custom.insert(format!("location {place}"));
                }
                blocks.push(name);
            }
            Token::Close => {
                blocks.pop();
                words.clear();
            }
            Token::End => directive(&mut nginx, &blocks, &std::mem::take(&mut words)),
        }
    }
    nginx
}

fn directive(nginx: &mut Nginx, blocks: &[String], words: &[String]) {
    let Some((name, values)) = words.split_first() else {
        return;
    };
    let first = values.first().cloned().unwrap_or_default();
    if name == "include" {
        nginx.custom.insert(format!("include {}", values.join(" ")));
    }
    if name == "client_max_body_size" {
        nginx.max_body_mb = nginx.max_body_mb.max(megabytes(&first));
    }
    if blocks.last().is_none_or(|block| block != "server") {
        return;
    }
    let Some(server) = nginx.servers.last_mut() else { return };
    match name.as_str() {
        "server_name" => server.names.extend(values.iter().cloned()),
        "listen" => {
            let port = first.rsplit(':').next().and_then(|port| port.parse().ok());
            let listen = (port.unwrap_or(80), values.iter().any(|word| word == "ssl"));
            if !server.listens.contains(&listen) {
                server.listens.push(listen);
            }
        }
        "ssl_certificate" => server.certificate = Some(first),
        "ssl_certificate_key" => server.key = Some(first),
        _ => {}
    }
}

fn megabytes(text: &str) -> Option<u32> {
    let text = text.to_ascii_lowercase();
    let number = |end: char, times: u32| text.strip_suffix(end)?.parse::<u32>().ok()?.checked_mul(times);
    number('m', 1).or_else(|| number('g', 1024))
}

enum Token {
    Word(String),
    Open,
    Close,
    End,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {}
            '#' => while chars.next_if(|c| *c != '\n').is_some() {},
            '{' => tokens.push(Token::Open),
            '}' => tokens.push(Token::Close),
            ';' => tokens.push(Token::End),
            quote @ ('"' | '\'') => {
                let mut word = String::new();
                while let Some(c) = chars.next().filter(|c| *c != quote) {
                    word.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
                }
                tokens.push(Token::Word(word));
            }
            c => {
                let mut word = String::from(c);
                // `${name}` is a word.
                while let Some(c) = chars.next_if(|c| !c.is_whitespace() && !matches!(c, ';' | '{' | '}')) {
                    word.push(c);
                    if c == '$' && chars.next_if_eq(&'{').is_some() {
                        word.push('{');
                        while let Some(c) = chars.next_if(|c| *c != '}') {
                            word.push(c);
                        }
                        word.extend(chars.next());
                    }
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    tokens
}
