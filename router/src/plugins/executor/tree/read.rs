//! JSON into a tree (RFC 8259).
//!
//! What is taken here is taken by every reader of JSON and means the same to each: no key twice, no escape in a key, no
//! number that a double cannot hold.

use super::{Id, Kind, Node, Odd, Span, Tree};

/// Deeper answers are left to Apollo Router, which ends at 128.
const READ_DEPTH_MAX: u32 = 100;

/// Offsets are 32 bits wide.
const BYTES_MAX: usize = u32::MAX as usize;

/// Digits of a number that every reader takes as it is.
const PLAIN_NUMBER_LEN: usize = 17;

const NOT_JSON: Odd = Odd("not JSON");

impl Tree {
    /// Takes a document in. What was read before stays where it is.
    pub(in super::super) fn read(&mut self, document: &[u8]) -> Result<Id, Odd> {
        if self.bytes.len() + document.len() > BYTES_MAX {
            return Err(Odd("too large"));
        }
        if std::str::from_utf8(document).is_err() {
            return Err(NOT_JSON);
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(document);
        // About one value for each sixteen bytes.
        self.nodes.reserve(document.len() / 16);
        let mut reader = Reader { bytes: &self.bytes, nodes: &mut self.nodes, at: start };
        let root = reader.value(Span::default(), READ_DEPTH_MAX)?;
        reader.space();
        if reader.at != reader.bytes.len() {
            return Err(NOT_JSON);
        }
        Ok(root)
    }
}

struct Reader<'t> {
    bytes: &'t [u8],
    nodes: &'t mut Vec<Node>,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or_default()
    }

    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Odd> {
        if self.peek() != byte {
            return Err(NOT_JSON);
        }
        self.at += 1;
        Ok(())
    }

    #[expect(clippy::cast_possible_truncation, reason = "the length was looked at")]
    fn span(&self, start: usize) -> Span {
        Span { start: start as u32, end: self.at as u32 }
    }

    #[expect(clippy::cast_possible_truncation, reason = "there are fewer values than bytes")]
    fn push(&mut self, kind: Kind, key: Span, text: Span) -> Id {
        let id = Id(self.nodes.len() as u32);
        self.nodes.push(Node { kind, key, text, first: Id::NONE, next: Id::NONE });
        id
    }

    fn value(&mut self, key: Span, depth: u32) -> Result<Id, Odd> {
        self.space();
        match self.peek() {
            b'{' => self.object(key, depth),
            b'[' => self.list(key, depth),
            b'"' => {
                let (text, escaped) = self.string()?;
                if escaped {
                    self.check_escapes(text)?;
                }
                Ok(self.push(Kind::String, key, text))
            }
            b't' => self.word(b"true", Kind::True, key),
            b'f' => self.word(b"false", Kind::False, key),
            b'n' => self.word(b"null", Kind::Null, key),
            _ => {
                let text = self.number()?;
                Ok(self.push(Kind::Number, key, text))
            }
        }
    }

    fn word(&mut self, word: &[u8], kind: Kind, key: Span) -> Result<Id, Odd> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(NOT_JSON);
        }
        self.at += word.len();
        Ok(self.push(kind, key, Span::default()))
    }

    fn list(&mut self, key: Span, depth: u32) -> Result<Id, Odd> {
        self.all(Kind::Array, key, depth, b']', |reader, _, depth| reader.value(Span::default(), depth))
    }

    fn object(&mut self, key: Span, depth: u32) -> Result<Id, Odd> {
        let mut seen = 0;
        self.all(Kind::Object, key, depth, b'}', |reader, first, depth| reader.member(first, &mut seen, depth))
    }

    /// What stands between two brackets: each one is read with the first before it.
    fn all(
        &mut self,
        kind: Kind,
        key: Span,
        depth: u32,
        end: u8,
        mut one: impl FnMut(&mut Self, Id, u32) -> Result<Id, Odd>,
    ) -> Result<Id, Odd> {
        let depth = depth.checked_sub(1).ok_or(Odd("too deep"))?;
        self.at += 1;
        let id = self.push(kind, key, Span::default());
        self.space();
        if self.peek() == end {
            self.at += 1;
            return Ok(id);
        }
        let (mut first, mut last) = (Id::NONE, Id::NONE);
        loop {
            let next = one(self, first, depth)?;
            if first == Id::NONE {
                first = next;
            } else {
                self.nodes[last.0 as usize].next = next;
            }
            last = next;
            self.space();
            if self.peek() != b',' {
                break;
            }
            self.at += 1;
        }
        self.expect(end)?;
        self.nodes[id.0 as usize].first = first;
        Ok(id)
    }

    fn member(&mut self, first: Id, seen: &mut u64, depth: u32) -> Result<Id, Odd> {
        self.space();
        if self.peek() != b'"' {
            return Err(NOT_JSON);
        }
        let (name, escaped) = self.string()?;
        if escaped {
            return Err(Odd("an escape in a key"));
        }
        self.check_unique(name, first, seen)?;
        self.space();
        self.expect(b':')?;
        self.value(name, depth)
    }

    /// Members are compared only with those of the same sum.
    fn check_unique(&self, name: Span, first: Id, seen: &mut u64) -> Result<(), Odd> {
        let text = &self.bytes[name.start as usize..name.end as usize];
        let ends = u32::from(*text.first().unwrap_or(&0)) * 31 + u32::from(*text.last().unwrap_or(&0)) * 7;
        let bit = 1_u64 << ((ends + (name.end - name.start)) % 64);
        if *seen & bit != 0 {
            let mut other = first;
            while let Some(id) = other.some() {
                let node = &self.nodes[id.0 as usize];
                if &self.bytes[node.key.start as usize..node.key.end as usize] == text {
                    return Err(Odd("a key twice"));
                }
                other = node.next;
            }
        }
        *seen |= bit;
        Ok(())
    }

    /// The text between the quotes, and whether there are escapes in it.
    fn string(&mut self) -> Result<(Span, bool), Odd> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = &self.bytes[self.at..];
            let length = memchr::memchr2(b'"', b'\\', rest).ok_or(NOT_JSON)?;
            if rest[..length].iter().any(|byte| *byte < 0x20) {
                return Err(NOT_JSON);
            }
            self.at += length;
            if self.bytes[self.at] == b'"' {
                let text = self.span(start);
                self.at += 1;
                return Ok((text, escaped));
            }
            escaped = true;
            // The sign, and what it escapes.
            self.at += 2;
            if self.at > self.bytes.len() {
                return Err(NOT_JSON);
            }
        }
    }

    fn check_escapes(&self, text: Span) -> Result<(), Odd> {
        let quoted = &self.bytes[text.start as usize - 1..=text.end as usize];
        serde_json::from_slice::<String>(quoted).map(drop).map_err(|_| NOT_JSON)
    }

    fn digits(&mut self) -> Result<(), Odd> {
        if !self.peek().is_ascii_digit() {
            return Err(NOT_JSON);
        }
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Span, Odd> {
        let start = self.at;
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        let mut plain = true;
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            plain = false;
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = &self.bytes[start..self.at];
        if !plain || text.len() > PLAIN_NUMBER_LEN {
            serde_json::from_slice::<serde_json::Number>(text).map_err(|_| NOT_JSON)?;
        }
        Ok(self.span(start))
    }
}
