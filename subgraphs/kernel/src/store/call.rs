//! One command or script on keys of one hash tag.

use super::{Reply, scripts};
use redis::ToRedisArgs;

/// A Lua script; Redis keeps it under the hash of its text.
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    /// The script.
    pub text: &'static str,
    pub(super) repeats: Option<Repeats>,
    hash: std::sync::OnceLock<String>,
}

/// How a script that does the same to many things takes them: after arguments for all of them, those of
/// one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Repeats {
    /// Arguments for all.
    pub(super) shared: usize,
    /// Arguments of one.
    pub(super) each: usize,
    /// Whether the first two of one are its id and its version, so that of two with an id only the newer counts;
    /// and how many at the end must be the same in both for that.
    pub(super) newest_counts: Option<usize>,
}

impl Script {
    /// A script to be kept in a `static`.
    pub const fn new(text: &'static str) -> Self {
        Self { text, repeats: None, hash: std::sync::OnceLock::new() }
    }

    /// A script that sets many things under the same keys, each by `each` arguments, the first two of which are
    /// its id and its version. Of two with an id, and the same last `alike` arguments, only the newer counts.
    pub(crate) const fn of_versions(text: &'static str, each: usize, alike: usize) -> Self {
        let repeats = Repeats { shared: 0, each, newest_counts: Some(alike) };
        Self { text, repeats: Some(repeats), hash: std::sync::OnceLock::new() }
    }

    /// A script that does many things in their order: `shared` arguments for all, then `each` for one.
    pub(crate) const fn of_many(text: &'static str, shared: usize, each: usize) -> Self {
        let repeats = Repeats { shared, each, newest_counts: None };
        Self { text, repeats: Some(repeats), hash: std::sync::OnceLock::new() }
    }

    fn hash(&self) -> &str {
        self.hash.get_or_init(|| redis::Script::new(self.text).get_hash().to_owned())
    }
}

/// What is sent to Redis: a command by name, or a script. All its keys carry the same hash tag.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    kind: Kind,
    keys: Vec<String>,
    args: Vec<Vec<u8>>,
    versioned_by_source: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Command(&'static str),
    Script(&'static Script),
}

impl Call {
    /// A command such as `GET`, with its first key.
    pub fn command_on(name: &'static str, key: impl Into<String>) -> Self {
        Self { kind: Kind::Command(name), keys: vec![key.into()], args: Vec::new(), versioned_by_source: false }
    }

    /// A script on keys of one hash tag.
    pub fn script<K: Into<String>>(script: &'static Script, keys: impl IntoIterator<Item = K>) -> Self {
        Self {
            kind: Kind::Script(script),
            keys: keys.into_iter().map(Into::into).collect(),
            args: Vec::new(),
            versioned_by_source: false,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.args.extend(arg.to_redis_args());
        self
    }

    /// Marks a call whose last two arguments are the source partition and the position of what
    /// caused it; the projector fills them in, as a fold knows neither.
    #[must_use]
    pub(crate) fn versioned_by_source(mut self) -> Self {
        self.versioned_by_source = true;
        self
    }

    /// Fills in where the call comes from, if it asks for that.
    pub(crate) fn set_source(&mut self, source: &str, version: u64) {
        if self.versioned_by_source {
            self.args.push(source.as_bytes().to_vec());
            self.args.push(version.to_string().into_bytes());
            self.versioned_by_source = false;
        }
    }

    /// The command's name or the script's text, the keys and the arguments: for tests of what a fold does.
    pub fn parts(&self) -> (&'static str, &[String], &[Vec<u8>]) {
        let name = match self.kind {
            Kind::Command(name) => name,
            Kind::Script(script) => script.text,
        };
        (name, &self.keys, &self.args)
    }

    /// Whether its reply says that it put right a view which should have been so already.
    pub(crate) fn mended(&self, reply: &Reply) -> bool {
        let puts = [&scripts::PUT_DOCUMENT, &scripts::PUT_FIELD, &scripts::PUT_ENTRY];
        let is_put = matches!(self.kind, Kind::Script(script) if puts.iter().any(|put| std::ptr::eq(*put, script)));
        is_put && *reply == Reply::Int(1)
    }

    /// How it takes more than one thing, if it does.
    pub(super) fn repeats(&self) -> Option<Repeats> {
        match self.kind {
            Kind::Script(script) => script.repeats,
            Kind::Command(_) => None,
        }
    }

    /// Whether it and a later call can be one: the same script on the same keys, with the same shared arguments.
    pub(super) fn takes(&self, later: &Self) -> bool {
        let Some(repeats) = self.repeats() else { return false };
        let shared = |call: &Self| call.args.get(..repeats.shared).map(<[_]>::to_vec);
        self.kind == later.kind && self.keys == later.keys && shared(self) == shared(later)
    }

    /// Does what a later call does as well, which it [takes](Self::takes).
    pub(super) fn absorb(&mut self, later: Self) {
        let Some(repeats) = self.repeats() else { return };
        let mut rest = later.args.into_iter().skip(repeats.shared);
        loop {
            let one: Vec<Vec<u8>> = rest.by_ref().take(repeats.each).collect();
            if one.len() < repeats.each {
                return;
            }
            if !self.outdates(repeats, &one) {
                self.args.extend(one);
            }
        }
    }

    /// Whether only the newer of `one` and the last with its id counts; it stays, then.
    fn outdates(&mut self, repeats: Repeats, one: &[Vec<u8>]) -> bool {
        let Some(alike) = repeats.newest_counts else { return false };
        let version = |one: &[Vec<u8>]| std::str::from_utf8(&one[1]).ok().and_then(|text| text.parse::<u64>().ok());
        let here = self.args[repeats.shared..].chunks_exact_mut(repeats.each);
        let Some(last) = here.rev().find(|old| old[0] == one[0]) else { return false };
        if last[repeats.each - alike..] != one[repeats.each - alike..] {
            return false;
        }
        if version(one) > version(last) {
            last.clone_from_slice(one);
        }
        true
    }

    /// How many things it does.
    pub(super) fn size(&self) -> usize {
        self.repeats().map_or(1, |repeats| self.args.len().saturating_sub(repeats.shared) / repeats.each)
    }

    /// The slot of its keys.
    pub(super) fn slot(&self) -> u16 {
        self.keys.first().map_or(0, |key| super::slot::slot_of(key))
    }

    /// The command as it goes over the wire; a script by its hash or in full.
    pub(super) fn command(&self, by_hash: bool) -> redis::Cmd {
        let mut command = match self.kind {
            Kind::Command(name) => redis::cmd(name),
            Kind::Script(script) if by_hash => script_command("EVALSHA", script.hash(), self.keys.len()),
            Kind::Script(script) => script_command("EVAL", script.text, self.keys.len()),
        };
        for key in &self.keys {
            command.arg(key);
        }
        for arg in &self.args {
            command.arg(arg.as_slice());
        }
        command
    }
}

fn script_command(name: &str, body: &str, keys: usize) -> redis::Cmd {
    let mut command = redis::cmd(name);
    command.arg(body).arg(keys);
    command
}
