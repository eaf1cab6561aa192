//! A client that writes at a steady rate, whatever becomes of the answers, and remembers each request. One connection for
//! each, as new visitors have; nothing that was sent is repeated.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A host that does not take a connection within this is tried again: nothing was sent.
const CONNECT: Duration = Duration::from_millis(300);

/// Time between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(50);

/// How long somebody waits for a connection, and for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// No more than this are under way at once, so that a machine with other work is not buried: of those that are not
/// overdue, and of all.
const AT_ONCE: usize = 16;
const USUAL: Duration = Duration::from_secs(2);
const ALL_AT_ONCE: usize = 64;

/// What the client writes, and where.
#[derive(Debug, Clone)]
pub struct Target {
    /// Asked in turn; the next one when one does not take the connection, as a load balancer would.
    pub addresses: Vec<SocketAddr>,
    /// The site's name.
    pub site: &'static str,
    /// Path that takes an entry in the field `text`.
    pub path: &'static str,
    /// Fields of the form before `text`.
    pub form: &'static str,
    /// One request in so many asks this path instead, where an entry makes a job.
    pub job: Option<(usize, &'static str)>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The application said that it has it.
    Taken,
    /// The application said that it has not: 503.
    Unavailable,
    /// Another status, or no answer at all.
    Failed(String),
}

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// What was written; unique.
    pub text: String,
    /// Whether it made a job.
    pub job: bool,
    /// When the first attempt to connect began.
    pub began: Instant,
    /// When it was sent; `None` when nobody took the connection.
    pub sent: Option<Instant>,
    /// When it was over.
    pub ended: Instant,
    /// What became of it.
    pub outcome: Outcome,
    /// Attempts to connect that came to nothing.
    pub refused: usize,
}

/// Somebody who writes all the time.
pub struct Client {
    stop: Arc<AtomicBool>,
    ended: Arc<Mutex<Vec<Request>>>,
    /// When each began that is not over.
    under_way: Arc<Mutex<BTreeMap<usize, Instant>>>,
    ticker: Option<JoinHandle<()>>,
    /// When somebody asked last what it saw.
    asked: Mutex<Instant>,
}

impl Client {
    /// Begins at once, with so many requests a second, less when they are not answered as fast.
    pub fn comes(target: Target, rate: u32) -> Client {
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::new(Mutex::new(Vec::new()));
        let under_way = Arc::new(Mutex::new(BTreeMap::new()));
        let ticker = {
            let (stop, ended, under_way) = (Arc::clone(&stop), Arc::clone(&ended), Arc::clone(&under_way));
            let target = Arc::new(target);
            std::thread::spawn(move || {
                let every = Duration::from_secs(1) / rate;
                let mut next = Instant::now();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let (target, ended, mine) = (Arc::clone(&target), Arc::clone(&ended), Arc::clone(&under_way));
                    mine.lock().unwrap().insert(number, Instant::now());
                    std::thread::spawn(move || {
                        let request = request(&target, number);
                        ended.lock().unwrap().push(request);
                        mine.lock().unwrap().remove(&number);
                    });
                    next = Instant::now().max(next + every);
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                    while !stop.load(Ordering::Relaxed) && busy(&under_way.lock().unwrap()) {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                }
            })
        };
        Client {
            stop,
            ended,
            under_way,
            ticker: Some(ticker),
            asked: Mutex::new(Instant::now()),
        }
    }

    /// What it saw since somebody asked last.
    pub fn saw(&self) -> Window {
        let until = Instant::now();
        let from = std::mem::replace(&mut *self.asked.lock().unwrap(), until);
        let requests = self.all();
        Window { from, until, requests }
    }

    /// Everything that is over.
    pub fn all(&self) -> Vec<Request> {
        self.ended.lock().unwrap().clone()
    }

    /// How many were taken.
    pub fn taken(&self) -> usize {
        let all = self.ended.lock().unwrap();
        all.iter().filter(|request| request.outcome == Outcome::Taken).count()
    }

    /// Waits until so many more were taken.
    #[track_caller]
    pub fn served(&self, more: usize) {
        let (end, before) = (Instant::now() + Duration::from_secs(120), self.taken());
        while self.taken() < before + more {
            assert!(
                Instant::now() < end,
                "nobody is served any more: {:?}",
                self.all().last()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What happened to requests while something was done, and until what began meanwhile was over. Goes on.
    #[track_caller]
    pub fn during<T>(&self, act: impl FnOnce() -> T) -> (Window, T) {
        self.served(3);
        let from = Instant::now();
        let done = act();
        let until = Instant::now();
        // What comes after must be well, and what began before must have ended.
        self.served(20);
        let end = Instant::now() + 3 * PATIENCE;
        while self.under_way.lock().unwrap().values().any(|began| *began <= until) {
            assert!(Instant::now() < end, "a request does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        let requests = self.all();
        (Window { from, until, requests }, done)
    }

    /// Ends, when what is under way has ended; everything that was asked.
    pub fn leaves(mut self) -> Vec<Request> {
        self.end();
        self.all()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(ticker) = self.ticker.take() {
            let _ = ticker.join();
        }
        let end = Instant::now() + 3 * PATIENCE;
        while !self.under_way.lock().unwrap().is_empty() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.end();
    }
}

/// A stretch of time, and what was asked in it or was under way when it began.
pub struct Window {
    /// When it began.
    pub from: Instant,
    /// When what was done had been done.
    pub until: Instant,
    requests: Vec<Request>,
}

impl Window {
    /// Requests that were under way when it began, or came later.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(|request| request.ended >= self.from)
    }

    /// The same in two parts: what was over before a moment, and the rest.
    pub fn split(self, at: Instant) -> (Window, Window) {
        let (before, after) = self.requests.into_iter().partition(|request| request.ended < at);
        let part = |from, until, requests| Window { from, until, requests };
        (part(self.from, at, before), part(at, self.until, after))
    }

    /// How many were answered well.
    pub fn taken(&self) -> usize {
        self.requests()
            .filter(|request| request.outcome == Outcome::Taken)
            .count()
    }

    /// Those that were not taken.
    pub fn failed(&self) -> Vec<&Request> {
        self.requests()
            .filter(|request| request.outcome != Outcome::Taken)
            .collect()
    }

    /// Those of which not even the application says what became of them.
    pub fn broken(&self) -> Vec<&Request> {
        let failed = self
            .requests()
            .filter(|request| matches!(request.outcome, Outcome::Failed(_)));
        failed.collect()
    }

    /// Attempts to connect that came to nothing; what was to be sent was sent later.
    pub fn refused(&self) -> usize {
        self.requests().map(|request| request.refused).sum()
    }

    /// Longest time in which nobody was answered well.
    pub fn gap(&self) -> Duration {
        let taken = self.requests.iter().filter(|request| request.outcome == Outcome::Taken);
        let mut ends: Vec<_> = taken.map(|request| request.ended).collect();
        ends.sort();
        let pairs = ends.windows(2).filter(|pair| pair[1] >= self.from);
        pairs.map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// Longest time that somebody waited who was answered well.
    pub fn wait(&self) -> Duration {
        let taken = self.requests().filter(|request| request.outcome == Outcome::Taken);
        taken
            .map(|request| request.ended - request.began)
            .max()
            .unwrap_or_default()
    }

    /// What failed, in words, by what was said and how long after the beginning it was asked.
    pub fn complaints(&self) -> Vec<String> {
        let line = |request: &&Request| {
            let after = request.began.saturating_duration_since(self.from).as_secs_f32();
            let took = (request.ended - request.began).as_secs_f32();
            format!(
                "{} asked after {after:.2} s, ended after {took:.2} s: {:?}",
                request.text, request.outcome
            )
        };
        self.failed().iter().map(line).collect()
    }
}

fn busy(under_way: &BTreeMap<usize, Instant>) -> bool {
    let young = under_way.values().filter(|began| began.elapsed() < USUAL).count();
    young >= AT_ONCE || under_way.len() >= ALL_AT_ONCE
}

fn request(target: &Target, number: usize) -> Request {
    let began = Instant::now();
    let text = format!("entry-{number}-");
    let job = target
        .job
        .filter(|(each, _)| number.is_multiple_of(*each))
        .map(|(_, path)| path);
    let mut refused = 0;
    let connection = loop {
        let address = target.addresses[(number + refused) % target.addresses.len()];
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(connection) => break Some(connection),
            Err(_) if began.elapsed() > PATIENCE => break None,
            Err(_) => {
                refused += 1;
                if refused.is_multiple_of(target.addresses.len()) {
                    std::thread::sleep(AGAIN);
                }
            }
        }
    };
    let sent = connection.as_ref().map(|_| Instant::now());
    let outcome = match connection {
        None => Outcome::Failed("nobody took the connection".into()),
        Some(connection) => match ask(connection, target, job.unwrap_or(target.path), &text) {
            Ok(200 | 303) => Outcome::Taken,
            Ok(503) => Outcome::Unavailable,
            Ok(status) => Outcome::Failed(format!("status {status}")),
            Err(error) => Outcome::Failed(error),
        },
    };
    Request {
        text,
        job: job.is_some(),
        began,
        sent,
        ended: Instant::now(),
        outcome,
        refused,
    }
}

/// The status of a whole answer.
fn ask(mut connection: TcpStream, target: &Target, path: &str, text: &str) -> Result<u16, String> {
    let said = |error: std::io::Error| format!("no answer: {error}");
    let end = Instant::now() + PATIENCE;
    let body = format!("{}text={text}", target.form);
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{body}",
        target.site,
        body.len()
    );
    connection.set_nodelay(true).map_err(said)?;
    connection.write_all(request.as_bytes()).map_err(said)?;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("no answer in time".into());
        }
        connection.set_read_timeout(Some(left)).map_err(said)?;
        match connection.read(&mut part).map_err(said)? {
            0 => break,
            count => answer.extend_from_slice(&part[..count]),
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let status = text.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    status.ok_or_else(|| "the connection ended without an answer".to_owned())
}
