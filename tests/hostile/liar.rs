//! A far side that answers as it is told to, and remembers what it was sent.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hactl::inventory::Host;
use hactl::transport::{Connect, Connection, Exit, Pipe, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Something to say.
#[derive(Debug, Clone)]
pub enum Line {
    /// A mark of the running request.
    Mark(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Bytes, and then nothing for most of a probe's patience.
    Drip(Vec<u8>),
    /// Nothing for longer than anybody waits.
    Silence,
    /// What came with the request beside its script.
    Payload,
}

impl Line {
    pub fn text(text: &str) -> Line {
        Line::Bytes(text.as_bytes().to_vec())
    }
}

/// What it does with a request.
#[derive(Debug, Clone)]
pub enum Act {
    /// Says this, and that the request is done with this status.
    Answer(Vec<Line>, String),
    /// Says this again and again.
    Endless(Line),
    /// Says this, then does that.
    Then(Vec<Line>, Box<Act>),
    /// Says this, and waits for nothing.
    Say(Vec<Line>),
    /// Closes.
    Close,
}

#[derive(Default)]
struct State {
    heard: Vec<u8>,
    told: usize,
}

/// The far side.
#[derive(Clone)]
pub struct Liar {
    /// Whether it greets like hactl's own shell before it acts.
    greets: bool,
    acts: Vec<Act>,
    /// Request and byte of its answer after which it closes.
    closes: Option<(usize, usize)>,
    state: Arc<Mutex<State>>,
}

impl Liar {
    /// One that greets and then does this with each request; with further ones nothing.
    pub fn answering(acts: Vec<Act>) -> Self {
        Liar {
            greets: true,
            acts,
            closes: None,
            state: Arc::default(),
        }
    }

    /// One that does this instead of greeting.
    pub fn speaking(acts: Vec<Act>) -> Self {
        Liar {
            greets: false,
            ..Self::answering(acts)
        }
    }

    /// It closes after this byte of its answer to this request.
    pub fn closes_at(&mut self, request: usize, byte: usize) {
        self.closes = Some((request, byte));
    }

    /// Everything that it was sent.
    pub fn heard(&self) -> String {
        String::from_utf8_lossy(&self.state.lock().unwrap().heard).into_owned()
    }

    /// Bytes that were taken from it.
    pub fn told(&self) -> usize {
        self.state.lock().unwrap().told
    }
}

/// One conversation.
struct Talk {
    liar: Liar,
    requests: DuplexStream,
    answers: DuplexStream,
    request: usize,
    token: String,
    payload: Vec<u8>,
    said: usize,
}

/// Nobody listens any more.
struct Gone;

impl Talk {
    async fn hold(mut self) {
        if self.liar.greets && self.answers.write_all(b"\x1ehactl 0\n").await.is_err() {
            return;
        }
        for act in self.liar.acts.clone() {
            if self.liar.greets && self.hear().await.is_err() {
                return;
            }
            self.said = 0;
            if self.act(&act).await.is_err() {
                return;
            }
            self.request += 1;
        }
        // Waits to be left.
        let mut rest = Vec::new();
        let _ = self.requests.read_to_end(&mut rest).await;
    }

    /// A request: its header, its script, and what followed at once.
    async fn hear(&mut self) -> Result<(), Gone> {
        let mut header = Vec::new();
        // Empty lines only say that somebody is there.
        while header.last() != Some(&b'\n') {
            header.push(self.requests.read_u8().await.map_err(|_| Gone)?);
            if header == b"\n" {
                header.clear();
            }
        }
        let header = String::from_utf8_lossy(&header).into_owned();
        let mut words = header.split_whitespace().skip(1).map(str::to_owned);
        self.token = words.next().unwrap_or_default();
        let length = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let mut script = vec![0; length];
        self.requests.read_exact(&mut script).await.map_err(|_| Gone)?;
        // The lengths of the payload's parts stand in the script.
        let text = String::from_utf8_lossy(&script).into_owned();
        let parts = text.lines().filter_map(|line| {
            line.trim()
                .strip_prefix("recv ")?
                .split(' ')
                .nth(1)?
                .parse::<usize>()
                .ok()
        });
        self.payload = vec![0; parts.sum()];
        self.requests.read_exact(&mut self.payload).await.map_err(|_| Gone)?;
        let mut state = self.liar.state.lock().unwrap();
        state.heard.extend_from_slice(header.as_bytes());
        state.heard.extend_from_slice(&script);
        state.heard.extend_from_slice(&self.payload);
        Ok(())
    }

    async fn act(&mut self, act: &Act) -> Result<(), Gone> {
        match act {
            Act::Answer(lines, status) => {
                for line in lines {
                    self.say(line).await?;
                }
                self.say(&Line::Mark(format!("done {status}"))).await
            }
            Act::Say(lines) => {
                for line in lines {
                    self.say(line).await?;
                }
                Ok(())
            }
            Act::Then(lines, next) => {
                for line in lines {
                    self.say(line).await?;
                }
                Box::pin(self.act(next)).await
            }
            Act::Endless(line) => loop {
                self.say(line).await?;
            },
            Act::Close => Err(Gone),
        }
    }

    async fn say(&mut self, line: &Line) -> Result<(), Gone> {
        let bytes = match line {
            Line::Mark(words) => format!("\n\u{1e}{} {words}\n", self.token).into_bytes(),
            Line::Bytes(bytes) | Line::Drip(bytes) => bytes.clone(),
            Line::Payload => self.payload.clone(),
            Line::Silence => Vec::new(),
        };
        let room = match self.liar.closes {
            Some((request, at)) if request == self.request => at.saturating_sub(self.said),
            _ => usize::MAX,
        };
        let bytes = &bytes[..bytes.len().min(room)];
        self.answers.write_all(bytes).await.map_err(|_| Gone)?;
        self.said += bytes.len();
        self.liar.state.lock().unwrap().told += bytes.len();
        if room != usize::MAX && bytes.len() == room {
            return Err(Gone);
        }
        match line {
            Line::Drip(_) => tokio::time::sleep(Duration::from_secs(50)).await,
            Line::Silence => tokio::time::sleep(Duration::from_secs(7200)).await,
            _ => {}
        }
        Ok(())
    }
}

#[async_trait]
impl Connection for Liar {
    async fn open(&self, _: &str) -> Result<Pipe, TransportError> {
        let (stdin, requests) = tokio::io::duplex(64 * 1024);
        let (answers, stdout) = tokio::io::duplex(64 * 1024);
        let talk = Talk {
            liar: self.clone(),
            requests,
            answers,
            request: 0,
            token: String::new(),
            payload: Vec::new(),
            said: 0,
        };
        let over = tokio::spawn(talk.hold());
        Ok(Pipe {
            stdin: Box::pin(stdin),
            stdout: Box::pin(stdout),
            stderr: Box::pin(tokio::io::empty()),
            exit: Box::pin(async move {
                let _ = over.await;
                Exit::Lost
            }),
        })
    }

    fn backend(&self) -> &'static str {
        "fake"
    }

    async fn close(&self) {}
}

#[async_trait]
impl Connect for Liar {
    async fn connect(&self, _: &Host) -> Result<Box<dyn Connection>, TransportError> {
        Ok(Box::new(self.clone()))
    }
}
