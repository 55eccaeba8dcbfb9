//! Ids, values and their bounds.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation as _;
use uuid::Uuid;
use velvet_kernel::{id::UserId, time::derived_id, typed_id};

typed_id!(
    /// A conversation; it follows from the match.
    ConversationId
);
typed_id!(
    /// A match of two users; it follows from the pair.
    MatchId
);

/// The longest message, in characters.
pub const BODY_LENGTH_MAX: usize = 2_000;
/// The longest client id, in characters.
pub const CLIENT_ID_LENGTH_MAX: usize = 128;
/// The longest emoji, in bytes: a family of four with skin tones has 41, nearly all others fit.
pub const EMOJI_LENGTH_MAX_BYTES: usize = 32;
/// Different emoji on one message at most, so that a message stays small.
pub const EMOJI_PER_MESSAGE_MAX: usize = 20;

impl MatchId {
    /// The match of two users.
    pub fn of_pair(one: UserId, other: UserId) -> Self {
        let (a, b) = ordered(one, other);
        Self(derived_id(&["match", &a.to_string(), &b.to_string()]))
    }
}

impl ConversationId {
    /// The conversation of a match.
    pub fn of_match(id: MatchId) -> Self {
        Self(derived_id(&["conversation", &id.to_string()]))
    }
}

/// Two users in the order in which a pair names them.
pub fn ordered(one: UserId, other: UserId) -> (UserId, UserId) {
    if one <= other { (one, other) } else { (other, one) }
}

/// A message's id: its conversation and its position, so that it names both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId {
    /// The conversation.
    pub conversation: ConversationId,
    /// The position, from 1.
    pub position: i64,
}

impl MessageId {
    /// Reads what [`Display`](std::fmt::Display) writes; nothing when it is none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 24] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (conversation, position) = bytes.split_at(16);
        let conversation = ConversationId(Uuid::from_slice(conversation).ok()?);
        let position = i64::from_be_bytes(position.try_into().ok()?);
        (position >= 1).then_some(Self { conversation, position })
    }
}

impl std::fmt::Display for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(self.conversation.0.as_bytes());
        bytes[16..].copy_from_slice(&self.position.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// Why a value was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused(&'static str);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// A message's text, trimmed.
pub fn parse_body(text: &str) -> Result<String, Refused> {
    let text = text.trim();
    if text.is_empty() || text.chars().nth(BODY_LENGTH_MAX).is_some() {
        return Err(Refused("must have 1 to 2000 characters"));
    }
    if text.chars().any(|char| char.is_control() && char != '\n' && char != '\t') {
        return Err(Refused("must not contain control characters other than newline and tab"));
    }
    Ok(text.to_owned())
}

/// The id that a client gives a message.
pub fn parse_client_id(text: &str) -> Result<String, Refused> {
    if text.is_empty() || text.chars().nth(CLIENT_ID_LENGTH_MAX).is_some() {
        return Err(Refused("must have 1 to 128 characters"));
    }
    if text.chars().any(char::is_control) {
        return Err(Refused("must not contain control characters"));
    }
    Ok(text.to_owned())
}

/// One emoji: a single symbol as people see it, however many code points it takes.
pub fn parse_emoji(text: &str) -> Result<String, Refused> {
    let single = text.len() <= EMOJI_LENGTH_MAX_BYTES && text.graphemes(true).take(2).count() == 1;
    if single && text.chars().next().is_some_and(|first| is_symbol(first) || is_keycap(text)) {
        Ok(text.to_owned())
    } else {
        Err(Refused("must be one emoji"))
    }
}

/// Symbols, among them those blocks of Unicode whose enclosed letters count as letters.
fn is_symbol(char: char) -> bool {
    let enclosed = matches!(u32::from(char), 0x2100..=0x27ff | 0x3200..=0x32ff | 0x1f100..=0x1f2ff);
    let mark = matches!(u32::from(char), 0x0300..=0x036f | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfe00..=0xfe0f | 0xfeff);
    !char.is_ascii() && !char.is_control() && !char.is_whitespace() && !mark && (enclosed || !char.is_alphanumeric())
}

/// A digit, `#` or `*` on a key, such as 1️⃣.
fn is_keycap(text: &str) -> bool {
    text.ends_with('\u{20e3}') && text.starts_with(|first: char| first.is_ascii_digit() || first == '#' || first == '*')
}

/// A message with everything that is shown of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its position in the conversation, from 1.
    pub position: i64,
    /// The fact that sent it.
    pub event_id: Uuid,
    /// The id that its client gave it.
    pub client_id: String,
    /// Who sent it.
    pub sender_id: UserId,
    /// Its text; empty once deleted.
    pub body: String,
    /// When it was sent.
    pub sent_at: DateTime<Utc>,
    /// When it was last edited; nothing once deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<DateTime<Utc>>,
    /// Whether it was deleted; that is final.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// Who reacted with what, the earliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<Reaction>,
}

/// One user's emoji on a message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reaction {
    /// When.
    pub reacted_at: DateTime<Utc>,
    /// The emoji.
    pub emoji: String,
    /// Whose it is.
    pub user_id: UserId,
}

impl Message {
    /// A message as it is when it is sent.
    pub fn new(
        position: i64,
        event_id: Uuid,
        client_id: String,
        sender_id: UserId,
        body: String,
        sent_at: DateTime<Utc>,
    ) -> Self {
        let (edited_at, deleted, reactions) = (None, false, Vec::new());
        Self { position, event_id, client_id, sender_id, body, sent_at, edited_at, deleted, reactions }
    }

    /// The message with another text.
    #[must_use]
    pub fn edited(mut self, body: String, at: DateTime<Utc>) -> Self {
        self.body = body;
        self.edited_at = Some(at);
        self
    }

    /// What is left of the message once it is deleted.
    #[must_use]
    pub fn deleted(mut self) -> Self {
        self.body = String::new();
        self.edited_at = None;
        self.deleted = true;
        self.reactions.clear();
        self
    }

    /// The message after a user has put an emoji on it or taken it away.
    #[must_use]
    pub fn reacted(mut self, user_id: UserId, emoji: &str, remove: bool, at: DateTime<Utc>) -> Self {
        self.reactions.retain(|reaction| !(reaction.user_id == user_id && reaction.emoji == emoji));
        if !remove {
            self.reactions.push(Reaction { reacted_at: at, emoji: emoji.to_owned(), user_id });
            self.reactions.sort();
        }
        self
    }

    /// Whether a user's emoji is on the message.
    pub fn has_reaction(&self, user_id: UserId, emoji: &str) -> bool {
        self.reactions.iter().any(|reaction| reaction.user_id == user_id && reaction.emoji == emoji)
    }

    /// Whether an emoji would be one more than a message may have.
    pub fn is_full_for(&self, emoji: &str) -> bool {
        let mut different: Vec<&str> = self.reactions.iter().map(|reaction| reaction.emoji.as_str()).collect();
        different.sort_unstable();
        different.dedup();
        different.len() >= EMOJI_PER_MESSAGE_MAX && !different.contains(&emoji)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> MessageId {
        MessageId { conversation: ConversationId(Uuid::from_u128(7)), position: 42 }
    }

    #[test]
    fn a_message_id_names_its_conversation_and_position() {
        assert_eq!(MessageId::parse(&id().to_string()), Some(id()));
        assert_eq!(id().to_string().len(), 32);
    }

    #[test]
    fn a_forged_message_id_is_none() {
        let at = |position| MessageId { position, ..id() }.to_string();
        let bad = [
            String::new(),
            "?".repeat(32),
            at(0),
            at(-1),
            id().to_string()[..31].to_owned(),
            id().to_string() + "AAAA",
        ];
        for text in bad {
            assert_eq!(MessageId::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn a_body_has_1_to_2000_characters_after_trimming() {
        assert_eq!(parse_body("  hi\n\tthere ").as_deref(), Ok("hi\n\tthere"));
        assert_eq!(parse_body(&"ü".repeat(2_000)).map(|body| body.chars().count()), Ok(2_000));
        for bad in ["", " \n ", "a\u{0}b", "a\rb", "\u{7f}x", &"x".repeat(2_001)] {
            assert!(parse_body(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_client_id_has_1_to_128_characters() {
        assert!(parse_client_id(&"é".repeat(128)).is_ok());
        for bad in ["", "a\nb", &"x".repeat(129)] {
            assert!(parse_client_id(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_emoji_is_one_symbol() {
        for good in ["👍", "❤️", "👩‍❤️‍💋‍👨", "🇩🇪", "1️⃣", "#️⃣", "👍🏽", "ℹ️", "🅰️", "㊗️", "™️"]
        {
            assert!(parse_emoji(good).is_ok(), "{good}");
        }
        for bad in
            ["", "a", ":)", "👍👍", "1", "é", "я", "漢", " ", "\u{200d}", "\u{fe0f}", "👍a", &"\u{200d}👍".repeat(9)]
        {
            assert!(parse_emoji(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ids_follow_from_the_pair() {
        let (one, other) = (UserId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
        assert_eq!(MatchId::of_pair(one, other), MatchId::of_pair(other, one));
    }
}
