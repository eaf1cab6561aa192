//! Realtime through a load balancer: WebSockets, long polling that stays with one server, and events for everybody. Real hosts;
//! the socket.io server is that of tests/fixtures/minifrappe.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::stack::{Options, Serves, Stack};

const HOSTS: &str = "  lb1: { address: NET.11, roles: [ lb, db, redis ] }
  app1: { address: NET.21, roles: [ app, worker ] }
  app2: { address: NET.22, roles: [ app ] }
";

/// A WebSocket to socket.io, in the namespace of the site.
struct Socket {
    stream: TcpStream,
    /// The app host that serves it.
    host: String,
}

impl Socket {
    /// `None` when nobody takes it, which is what happens while hosts die.
    fn open(address: &str) -> Option<Socket> {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        // The key is an example of RFC 6455; what the server makes of it is its client's affair.
        let request = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: erp.example.com\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).ok()?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push(char::from(one(&mut stream)?));
        }
        let head = head.to_lowercase();
        if !head.starts_with("http/1.1 101 ") {
            println!("no WebSocket: {}", head.lines().next().unwrap_or_default());
            return None;
        }
        let from = head.lines().find_map(|line| line.strip_prefix("x-served-from: "));
        let host = from.expect("who serves it").to_owned();
        let mut socket = Socket { stream, host };
        assert!(socket.hears("")?.starts_with("0{"), "engine.io greets");
        socket.says("40/erp.example.com,");
        assert!(socket.hears("welcome")?.contains("erp.example.com"));
        Some(socket)
    }

    /// The next message with these words in it; `None` when the connection ends or says nothing any more.
    fn hears(&mut self, words: &str) -> Option<String> {
        loop {
            let [kind, length] = [one(&mut self.stream)?, one(&mut self.stream)?];
            let length = match length {
                126 => usize::from(u16::from_be_bytes([one(&mut self.stream)?, one(&mut self.stream)?])),
                short => usize::from(short),
            };
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).ok()?;
            let text = String::from_utf8_lossy(&payload).into_owned();
            if kind == 0x88 {
                return None;
            }
            if kind == 0x81 && text == "2" {
                self.says("3");
            } else if kind == 0x81 && text.contains(words) {
                return Some(text);
            }
        }
    }

    /// A client masks what it sends; with zeros it stays readable.
    fn says(&mut self, text: &str) {
        let length = u8::try_from(text.len()).expect("a short one");
        let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
        frame.extend(text.as_bytes());
        let _ = self.stream.write_all(&frame);
    }
}

fn one(stream: &mut TcpStream) -> Option<u8> {
    let mut byte = [0];
    stream.read_exact(&mut byte).ok()?;
    Some(byte[0])
}

/// Long polling as a browser does it, from a host of the lab: the session is known to one server only.
fn polls(stack: &Stack, from: &str) -> String {
    let script = "ask() { curl -sS --max-time 20 -D /tmp/head -H 'Host: erp.example.com' \"$@\"; }
        url='http://10.77.123.11/socket.io/?EIO=4&transport=polling'
        sid=$(ask \"$url\" | sed -n 's/.*\"sid\":\"\\([^\"]*\\)\".*/\\1/p')
        [ -n \"$sid\" ] || { echo no session; exit 1; }
        for text in 40/erp.example.com, 3 3 3; do
            said=$(ask \"$url&sid=$sid\" -H 'Content-Type: text/plain' --data-binary \"$text\")
            [ \"$said\" = ok ] || { echo \"not known: $said\"; exit 1; }
        done
        for turn in 1 2 3; do ask \"$url&sid=$sid\" >>/tmp/said; ! grep -q welcome /tmp/said || break; done
        grep -q welcome /tmp/said || { cat /tmp/said; exit 1; }
        sed -n 's/\\r//; s/^x-served-from: //Ip' /tmp/head";
    stack.on(from, script)
}

fn note(stack: &Stack) -> String {
    let add = "curl -sS --max-time 20 -H 'Host: erp.example.com' -d text=hello http://10.77.123.11/api/method/frappe.notes.add";
    let body = stack.on("11", add);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
    body["message"]["name"].as_str().expect("its name").to_owned()
}

#[test]
fn realtime_goes_through_the_load_balancer() {
    let stack = Stack::with(Options {
        serves: Serves::MiniFrappe,
        hosts: HOSTS,
        ..Options::warm(123)
    });
    stack.edit_inventory("{ name: erp.example.com }", "{ name: erp.example.com, tls: none }");
    let _ = stack.apply(&[]).exits(0);
    stack.settled();

    let address = "10.77.123.11:80";
    let mut socket = Socket::open(address).expect("a WebSocket");
    assert_eq!(
        Socket::open(address).expect("another").host,
        socket.host,
        "one visitor, one server"
    );
    // An event reaches whoever listens, whichever host it comes from.
    for _ in 0..4 {
        let name = note(&stack);
        let event = socket.hears(&name).expect("the event");
        assert!(event.starts_with("42/erp.example.com,[\"note\","), "{event}");
    }
    // It lives on while nginx takes up another configuration.
    stack.edit_inventory("cluster:", "nginx: { client_max_body_mb: 60 }\ncluster:");
    let _ = stack.apply(&[]).exits(0);
    let name = note(&stack);
    assert!(socket.hears(&name).is_some());
    // Each visitor has a server of its own, and stays with it.
    for from in ["11", "21", "22"] {
        let host = polls(&stack, from);
        assert!(["app1", "app2"].contains(&host.as_str()), "{host}");
        println!("visitor {from} is with {host}");
    }

    // The host dies: whoever comes again is served by the other one.
    let died = socket.host.clone();
    let _ = stack.hactl(&["lab", "kill", &died]).exits(0);
    let mut again = None;
    stack.wait_until("the other host serves", || {
        again = Socket::open(address);
        again.is_some()
    });
    let mut again = again.expect("a WebSocket");
    assert_ne!(again.host, died);
    let name = note(&stack);
    assert!(again.hears(&name).is_some());
}
