//! Following an inbox: what came since the cursor, then what comes, once each and in order.
//!
//! The channel is followed before the inbox is read, so nothing falls between the two; entries that
//! both have are told apart by their ids.

use super::{
    cursor::{CursorKey, EntryId, Place},
    inbox::{self, BLOCK_MARK},
};
use crate::{
    fault::Fault,
    graph::Cursor,
    id::UserId,
    planted::{Bug, planted},
    store::{CANARIES, Call, Epoch, Listener, Reply, Script, Signal, Store, epoch_of},
};
use futures::{Stream, stream};
use redis::FromRedisValue as _;
use serde::de::DeserializeOwned;
use std::{
    collections::{HashSet, VecDeque},
    marker::PhantomData,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

/// Entries that are read from an inbox at once.
const READ_SIZE: usize = 100;
/// While Redis is being rebuilt or away, ask this often whether it is back.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// Streams that read from Redis at once, of one domain: when all come back together, they must not time each other out.
const READING_MAX: usize = 64;
/// A stream that cannot be opened within this time is refused; its client comes back when there is room.
const OPENING_PATIENCE: Duration = Duration::from_secs(30);

/// KEYS: inbox. Returns: the last entry there ever was, and the oldest one left if any was dropped
/// for room; without an inbox, nothing of either, and the time. (Redis notes the newest entry that
/// was deleted by name, not the newest that was trimmed.)
static BOUNDS: Script = Script::new(
    r"
if redis.call('EXISTS', KEYS[1]) == 0 then
  local now = redis.call('TIME')
  return {'', '', now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000)) .. '-0'}
end
local info, stream = redis.call('XINFO', 'STREAM', KEYS[1]), {}
for i = 1, #info, 2 do stream[info[i]] = info[i + 1] end
local oldest = ''
if stream['entries-added'] > stream['length'] then oldest = stream['recorded-first-entry-id'] end
return {stream['last-generated-id'], oldest, ''}
",
);

/// One step of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Item<T> {
    /// Something happened.
    Event {
        /// Where the stream stands after it.
        cursor: Cursor,
        /// What happened.
        event: T,
    },
    /// The stream starts anew: what it covers must be fetched again.
    Reset {
        /// Where the stream goes on from.
        cursor: Cursor,
        /// Why.
        reason: &'static str,
    },
}

impl<T> Item<T> {
    /// Where the stream stands after this step.
    pub fn cursor(&self) -> &Cursor {
        match self {
            Self::Event { cursor, .. } | Self::Reset { cursor, .. } => cursor,
        }
    }
}

/// Opens streams.
#[derive(Debug, Clone)]
pub struct Live {
    store: Store,
    key: CursorKey,
    reading: Arc<Semaphore>,
}

impl std::fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorKey")
    }
}

impl Live {
    /// Streams over this store, with cursors signed by this key.
    pub fn new(store: Store, key: CursorKey) -> Self {
        Self { store, key, reading: Arc::new(Semaphore::new(READING_MAX)) }
    }

    /// Follows a user's inbox of a domain, after a cursor or from now on. Returns where it starts
    /// and what comes.
    pub async fn follow<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        domain: &'static str,
        user: UserId,
        after: Option<&Cursor>,
    ) -> Result<(Cursor, impl Stream<Item = Item<T>> + Send + use<T>), Fault> {
        let resume = match after {
            None => None,
            Some(cursor) => Some(
                self.key
                    .open(domain, user, cursor)
                    .map_err(|_| Fault::invalid("this cursor was not made for this stream"))?,
            ),
        };
        // What opening needs goes back once the stream is open; else each would carry room for it.
        let opening = Box::pin(self.open::<T>(domain, user, resume));
        let follower = timeout(OPENING_PATIENCE, opening).await.map_err(|_| Fault::unavailable())??;
        let start = after.cloned().unwrap_or_else(|| follower.cursor());
        Ok((
            start,
            stream::unfold(follower, |mut follower| async move {
                let item = follower.next().await;
                Some((item, follower))
            }),
        ))
    }

    async fn open<T: DeserializeOwned>(
        &self,
        domain: &'static str,
        user: UserId,
        resume: Option<Place>,
    ) -> Result<Follower<T>, Fault> {
        let _turn = self.turn().await?;
        let listener = self.store.hub().listen(&inbox::channel(domain, user)).await?;
        let mut read = self.read(domain, user, resume.map(|place| place.entry)).await?;
        let mut follower = Follower::<T> {
            live: self.clone(),
            domain,
            user,
            listener,
            place: Place { epoch: read.epoch, entry: resume.map_or(read.end, |place| place.entry) },
            blocked: std::mem::take(&mut read.blocked),
            ready: VecDeque::new(),
            event: PhantomData,
        };
        if let Some(place) = resume {
            follower.catch_up(place.epoch, read).await?;
        }
        Ok(follower)
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, Fault> {
        self.reading.acquire().await.map_err(|_| Fault::unavailable())
    }

    /// Reads all that a stream begins or goes on with, in one round trip.
    async fn read(&self, domain: &'static str, user: UserId, after: Option<EntryId>) -> Result<Read, Fault> {
        let blocks = Call::command_on("SMEMBERS", inbox::blocks_key(domain, user));
        let bounds = Call::script(&BOUNDS, [inbox::inbox_key(domain, user)]);
        let own = [blocks, bounds].into_iter().chain(after.map(|after| entries_after(domain, user, after)));
        let calls: Vec<Call> = Store::canary_calls().chain(own).collect();
        let mut replies = self.store.run(&calls).await?;
        let mut own = replies.split_off(CANARIES.len()).into_iter();
        let mut next = || own.next().unwrap_or(Reply::Nil);
        let epoch = epoch_of(&replies).ok_or_else(Fault::unavailable)?;
        let blocked = parsed(next())?;
        let (last, oldest, now): (String, String, String) = parsed(next())?;
        let end = if last.is_empty() { &now } else { &last };
        let [end, oldest] = [end, &oldest].map(|entry| EntryId::parse(entry).unwrap_or(EntryId::ZERO));
        let entries = if after.is_some() { parsed(next())? } else { Vec::new() };
        Ok(Read { epoch, blocked, end, oldest, entries })
    }
}

fn entries_after(domain: &str, user: UserId, place: EntryId) -> Call {
    Call::command_on("XRANGE", inbox::inbox_key(domain, user))
        .arg(format!("({place}"))
        .arg("+")
        .arg("COUNT")
        .arg(READ_SIZE)
}

fn parsed<T: redis::FromRedisValue>(reply: Reply) -> Result<T, crate::store::Error> {
    Ok(T::from_redis_value(reply)?)
}

/// What a stream begins or goes on with.
struct Read {
    epoch: Epoch,
    /// Whom the viewer must not see.
    blocked: HashSet<String>,
    /// The last entry there ever was.
    end: EntryId,
    /// The oldest entry that is left, if any was dropped for room: what is before it cannot be told.
    oldest: EntryId,
    /// The first entries after where it goes on.
    entries: Vec<Reply>,
}

/// One viewer's way through an inbox.
struct Follower<T> {
    live: Live,
    domain: &'static str,
    user: UserId,
    listener: Listener,
    place: Place,
    blocked: HashSet<String>,
    ready: VecDeque<Item<T>>,
    event: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Follower<T> {
    async fn next(&mut self) -> Item<T> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return item;
            }
            match self.listener.next().await {
                Signal::Message(message) => self.hear(&message),
                // On the heap, and only then: what it needs would lie idle in each open stream.
                Signal::Gap => Box::pin(self.recover()).await,
            }
        }
    }

    fn cursor(&self) -> Cursor {
        let mut place = self.place;
        if planted(Bug::CursorOffByOne) {
            place.entry.ms = place.entry.ms.saturating_sub(1);
        }
        self.live.key.seal(self.domain, self.user, place)
    }

    /// Takes an announcement: `entry from event`, or a block.
    fn hear(&mut self, message: &[u8]) {
        let Ok(text) = std::str::from_utf8(message) else { return };
        if let Some(user) = text.strip_prefix(BLOCK_MARK) {
            self.blocked.insert(user.to_owned());
            return;
        }
        let mut parts = text.splitn(3, ' ');
        if let (Some(entry), Some(from), Some(event)) = (parts.next(), parts.next(), parts.next())
            && let Some(entry) = EntryId::parse(entry)
        {
            self.take(entry, from, event.as_bytes());
        }
    }

    fn take(&mut self, entry: EntryId, from: &str, event: &[u8]) {
        if entry <= self.place.entry {
            return;
        }
        self.place.entry = entry;
        if self.blocked.contains(from) {
            return;
        }
        match serde_json::from_slice(event) {
            Ok(event) => {
                let cursor = self.cursor();
                self.ready.push_back(Item::Event { cursor, event });
            }
            // Written by a version that this one does not know: the client must not miss it silently.
            Err(_) => self.reset("an event of another version arrived"),
        }
    }

    fn reset(&mut self, reason: &'static str) {
        let cursor = self.cursor();
        self.ready.push_back(Item::Reset { cursor, reason });
    }

    /// After a gap: reads on where the stream stood, as soon as Redis answers and is whole.
    async fn recover(&mut self) {
        let before = self.place.epoch;
        loop {
            match self.try_recover(before).await {
                Ok(()) => return,
                Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
            }
        }
    }

    async fn try_recover(&mut self, before: Epoch) -> Result<(), Fault> {
        let live = self.live.clone();
        let _turn = live.turn().await?;
        let mut read = live.read(self.domain, self.user, Some(self.place.entry)).await?;
        self.place.epoch = read.epoch;
        self.blocked = std::mem::take(&mut read.blocked);
        self.catch_up(before, read).await
    }

    /// Takes what came after the current place, or starts anew when that cannot be told.
    async fn catch_up(&mut self, epoch: Epoch, read: Read) -> Result<(), Fault> {
        if epoch != self.place.epoch {
            self.place.entry = read.end;
            self.reset("live events from before were lost; fetch again what the stream covers");
            return Ok(());
        }
        if self.place.entry < read.oldest {
            self.place.entry = read.end;
            self.reset("the cursor is too old; fetch again what the stream covers");
            return Ok(());
        }
        let mut entries = read.entries;
        loop {
            for entry in &entries {
                let (id, fields) = <(String, Vec<(String, String)>)>::from_redis_value_ref(entry)
                    .or_else(|_| read_flat(entry))
                    .map_err(crate::store::Error::from)?;
                let field =
                    |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
                if let (Some(id), Some(event)) = (EntryId::parse(&id), field("e")) {
                    self.take(id, field("f").unwrap_or_default(), event.as_bytes());
                }
            }
            if entries.len() < READ_SIZE {
                return Ok(());
            }
            entries = self.live.store.ask(entries_after(self.domain, self.user, self.place.entry)).await?;
        }
    }
}

/// An entry whose fields came as one flat list.
fn read_flat(entry: &Reply) -> Result<(String, Vec<(String, String)>), redis::ParsingError> {
    let (id, flat) = <(String, Vec<String>)>::from_redis_value_ref(entry)?;
    let fields = flat.as_chunks::<2>().0.iter().map(|[name, value]| (name.clone(), value.clone())).collect();
    Ok((id, fields))
}
