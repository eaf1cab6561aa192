//! Reading an answer: bytes between marks, in whatever pieces they come, from a host that may lie.

use super::TransportError;
use crate::quote::terminal;

/// Longest line of a mark, and of the greeting.
const LINE_LIMIT: usize = 4096;
/// What a mark counts for beside its bytes: whoever reads an answer keeps something for each.
const MARK_COST: usize = 1024;
/// Most bytes that a login shell may print before ours speaks.
const CHATTER_LIMIT: usize = 256 << 10;
/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A mark's words.
    Mark(Vec<String>),
    /// Bytes after the last mark.
    Data(Vec<u8>),
}

/// The reading side of one request.
pub(super) struct Answer<'a> {
    /// What a mark begins with.
    pub prefix: Vec<u8>,
    /// Whether hactl's shell spoke, on this session.
    pub greeted: &'a mut bool,
    /// Hears what comes.
    pub sink: &'a mut (dyn FnMut(Piece) + Send),
    /// Bytes that may still come.
    pub left: usize,
}

impl Answer<'_> {
    /// Takes what is complete out of `buffer`; the status when the answer is done.
    pub fn take(&mut self, buffer: &mut Vec<u8>) -> Result<Option<i32>, TransportError> {
        if !*self.greeted {
            *self.greeted = greeting(buffer)?;
            if !*self.greeted {
                return Ok(None);
            }
        }
        loop {
            let Some(start) = find(buffer, &self.prefix) else {
                // Everything but a possible beginning of a mark can go on its way.
                let ready = buffer.len() - begins(buffer, &self.prefix);
                self.data(buffer.drain(..ready).collect())?;
                return Ok(None);
            };
            self.data(buffer.drain(..start).collect())?;
            let body = self.prefix.len();
            let Some(length) = line(&buffer[body..])? else {
                return Ok(None);
            };
            let words = String::from_utf8_lossy(&buffer[body..body + length]);
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            buffer.drain(..body + length + 1);
            if words.first().is_some_and(|word| word == "done") {
                let status = words.get(1).and_then(|word| word.parse().ok());
                return status.map(Some).ok_or_else(|| strange("an end without a status"));
            }
            self.count(length + MARK_COST)?;
            (self.sink)(Piece::Mark(words));
        }
    }

    fn data(&mut self, data: Vec<u8>) -> Result<(), TransportError> {
        self.count(data.len())?;
        if !data.is_empty() {
            (self.sink)(Piece::Data(data));
        }
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), TransportError> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            TransportError::protocol("the host answers more than any honest answer could be")
                .hint("look at what runs on the host before trusting it")
        })?;
        Ok(())
    }
}

/// A far side that does not keep to the protocol.
fn strange(what: &str) -> TransportError {
    TransportError::protocol(format!("the host's answer makes no sense: {what}"))
        .hint("look at the host before trusting it again, and at what changes its output on the way")
}

/// Length of the first line, without its end; `None` when that has not come yet.
fn line(bytes: &[u8]) -> Result<Option<usize>, TransportError> {
    let end = bytes.iter().take(LINE_LIMIT).position(|byte| *byte == b'\n');
    if end.is_none() && bytes.len() >= LINE_LIMIT {
        return Err(strange("a line without an end"));
    }
    Ok(end)
}

/// How many bytes at the end of `buffer` may be the beginning of `word`.
fn begins(buffer: &[u8], word: &[u8]) -> usize {
    (1..word.len())
        .rev()
        .find(|n| buffer.ends_with(&word[..*n]))
        .unwrap_or(0)
}

/// Skips what a login shell printed before hactl's shell spoke; false when it has not yet.
pub(super) fn greeting(buffer: &mut Vec<u8>) -> Result<bool, TransportError> {
    const HELLO: &[u8] = b"\x1ehactl ";
    let Some(start) = find(buffer, HELLO) else {
        if buffer.len() > CHATTER_LIMIT {
            return Err(TransportError::protocol("the login shell prints without end")
                .hint("look at what the user's shell start-up files print"));
        }
        return Ok(false);
    };
    let body = start + HELLO.len();
    let Some(length) = line(&buffer[body..])? else {
        return Ok(false);
    };
    let uid = String::from_utf8_lossy(&buffer[body..body + length]).trim().to_owned();
    buffer.drain(..=body + length);
    if uid != "0" {
        let uid: String = terminal(&uid).chars().take(20).collect();
        return Err(
            TransportError::connect(format!("the session is not root's (uid {uid})"))
                .hint("set `ssh: { become: sudo }` in the inventory, or log in as root"),
        );
    }
    Ok(true)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(chunks: &[&[u8]]) -> (Vec<Piece>, Option<i32>) {
        let (mut pieces, mut greeted, mut buffer, mut status) = (Vec::new(), false, Vec::new(), None);
        let mut sink = |piece| pieces.push(piece);
        let mut answer = Answer {
            prefix: b"\n\x1et0 ".to_vec(),
            greeted: &mut greeted,
            sink: &mut sink,
            left: 1 << 20,
        };
        for chunk in chunks {
            buffer.extend_from_slice(chunk);
            status = status.or(answer.take(&mut buffer).unwrap());
        }
        (pieces, status)
    }

    fn joined(pieces: &[Piece]) -> Vec<(String, String)> {
        let mut out: Vec<(String, String)> = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Mark(words) => out.push((words.join(" "), String::new())),
                Piece::Data(data) => {
                    if out.is_empty() {
                        out.push((String::new(), String::new()));
                    }
                    out.last_mut().unwrap().1 += &String::from_utf8_lossy(data);
                }
            }
        }
        out
    }

    #[test]
    fn any_chunking_gives_the_same_answer() {
        let text: &[u8] =
            b"motd\n\x1ehactl 0\n\n\x1et0 a 1\nbody\n\x1enot ours\n\n\x1et0 b\nlast without newline\n\x1et0 done 7\n";
        let whole = feed(&[text]);
        assert_eq!(whole.1, Some(7));
        assert_eq!(
            joined(&whole.0),
            [
                ("a 1".into(), "body\n\x1enot ours\n".into()),
                ("b".into(), "last without newline".into())
            ]
        );
        for size in 1..text.len() {
            let chunks: Vec<&[u8]> = text.chunks(size).collect();
            let (pieces, status) = feed(&chunks);
            assert_eq!(
                (joined(&pieces), status),
                (joined(&whole.0), whole.1),
                "chunks of {size}"
            );
        }
    }
}
