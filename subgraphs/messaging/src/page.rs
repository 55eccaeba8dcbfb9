//! Pages: which positions a page of messages has, where a page of conversations goes on. Pure.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use velvet_kernel::{
    fault::Fault,
    graph::{PageInfo, page_size},
};

/// Messages or conversations on a page when the caller does not say.
pub const PAGE_SIZE: usize = 20;

/// The arguments of a page of messages.
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    /// This many from the start, or after a cursor.
    pub first: Option<i32>,
    /// The cursor that `first` goes on after.
    pub after: Option<String>,
    /// This many up to the end, or before a cursor.
    pub last: Option<i32>,
    /// The cursor that `last` ends before.
    pub before: Option<String>,
}

/// The positions of a page, both included; empty when `from` is beyond `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first position.
    pub from: i64,
    /// The last position.
    pub to: i64,
    /// The last position that there is.
    end: i64,
}

impl Span {
    /// The span that the arguments name in a conversation whose last position is `end`.
    pub fn of(arguments: &Arguments, end: i64) -> Result<Self, Fault> {
        let forward = arguments.first.is_some() || arguments.after.is_some();
        let backward = arguments.last.is_some() || arguments.before.is_some();
        if forward && backward {
            return Err(Fault::invalid("a page is read with first and after, or with last and before"));
        }
        let size = i64::try_from(page_size(arguments.first.or(arguments.last), PAGE_SIZE)?).unwrap_or(i64::MAX);
        let (from, to) = if forward {
            let after = arguments.after.as_deref().map_or(Ok(0), open_position)?.min(end);
            (after + 1, after.saturating_add(size).min(end))
        } else {
            let before = arguments.before.as_deref().map_or(Ok(end + 1), open_position)?.clamp(1, end + 1);
            ((before - size).max(1), before - 1)
        };
        Ok(Self { from, to, end })
    }

    /// The positions, in order.
    pub fn positions(&self) -> impl Iterator<Item = i64> + use<> {
        self.from..=self.to
    }

    /// Where the span lies. Positions are dense, so both sides are known.
    pub fn page_info(&self) -> PageInfo {
        let empty = self.from > self.to;
        PageInfo {
            has_next_page: self.to < self.end,
            has_previous_page: self.from > 1 && self.end > 0,
            start_cursor: (!empty).then(|| seal_position(self.from)),
            end_cursor: (!empty).then(|| seal_position(self.to)),
        }
    }
}

fn bad_cursor() -> Fault {
    Fault::invalid("this cursor is none of this list's")
}

/// The cursor of a message in its conversation.
pub fn seal_position(position: i64) -> String {
    URL_SAFE_NO_PAD.encode(format!("position:{position}"))
}

fn open_position(cursor: &str) -> Result<i64, Fault> {
    open(cursor, "position")?.parse().ok().filter(|position| *position >= 0).ok_or_else(bad_cursor)
}

/// The cursor of a conversation in a member's list: what the list is ordered by, and the id.
pub fn seal_place(score: i64, id: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{score}:{id}"))
}

/// Reads what [`seal_place`] writes.
pub fn open_place(cursor: &str) -> Result<(i64, String), Fault> {
    let text = decode(cursor)?;
    let (score, id) = text.split_once(':').ok_or_else(bad_cursor)?;
    Ok((score.parse().map_err(|_| bad_cursor())?, id.to_owned()))
}

fn open(cursor: &str, name: &str) -> Result<String, Fault> {
    let text = decode(cursor)?;
    text.strip_prefix(name).and_then(|rest| rest.strip_prefix(':')).map(str::to_owned).ok_or_else(bad_cursor)
}

fn decode(cursor: &str) -> Result<String, Fault> {
    URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(bad_cursor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use velvet_kernel::fault::Code;

    fn span(
        first: Option<i32>,
        after: Option<i64>,
        last: Option<i32>,
        before: Option<i64>,
        end: i64,
    ) -> (i64, i64, bool, bool) {
        let arguments = Arguments { first, after: after.map(seal_position), last, before: before.map(seal_position) };
        let span = Span::of(&arguments, end).unwrap();
        let info = span.page_info();
        assert_eq!(info.start_cursor.is_some(), span.from <= span.to);
        (span.from, span.to, info.has_previous_page, info.has_next_page)
    }

    #[test]
    fn without_arguments_a_page_has_the_last_20() {
        assert_eq!(span(None, None, None, None, 50), (31, 50, true, false));
        assert_eq!(span(None, None, None, None, 7), (1, 7, false, false));
        assert_eq!(span(None, None, None, None, 0), (1, 0, false, false));
    }

    #[test]
    fn pages_go_forward() {
        assert_eq!(span(Some(10), None, None, None, 25), (1, 10, false, true));
        assert_eq!(span(Some(10), Some(10), None, None, 25), (11, 20, true, true));
        assert_eq!(span(Some(10), Some(20), None, None, 25), (21, 25, true, false));
        assert_eq!(span(None, Some(3), None, None, 50), (4, 23, true, true));
        assert_eq!(span(Some(10), Some(25), None, None, 25), (26, 25, true, false), "nothing follows yet");
        assert_eq!(span(Some(10), Some(i64::MAX), None, None, 25), (26, 25, true, false));
    }

    #[test]
    fn pages_go_backward() {
        assert_eq!(span(None, None, Some(10), None, 25), (16, 25, true, false));
        assert_eq!(span(None, None, Some(10), Some(16), 25), (6, 15, true, true));
        assert_eq!(span(None, None, Some(10), Some(6), 25), (1, 5, false, true));
        assert_eq!(span(None, None, Some(10), Some(1), 25), (1, 0, false, true), "nothing precedes");
        assert_eq!(span(None, None, None, Some(i64::MAX), 25), (6, 25, true, false));
    }

    #[test]
    fn all_pages_together_have_each_position_once() {
        for end in [0, 1, 19, 20, 21, 100] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page = Span::of(&Arguments { first: Some(7), after, ..Arguments::default() }, end).unwrap();
                seen.extend(page.positions());
                after = page.page_info().end_cursor;
                if !page.page_info().has_next_page {
                    break;
                }
            }
            assert_eq!(seen, (1..=end).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let cursor = Some(seal_position(3));
        let bad = [
            Arguments { first: Some(1), last: Some(1), ..Arguments::default() },
            Arguments { first: Some(1), before: cursor.clone(), ..Arguments::default() },
            Arguments { last: Some(1), after: cursor, ..Arguments::default() },
            Arguments { first: Some(0), ..Arguments::default() },
            Arguments { last: Some(101), ..Arguments::default() },
            Arguments { first: Some(1), after: Some("?".to_owned()), ..Arguments::default() },
            Arguments { last: Some(1), before: Some(seal_place(3, "x")), ..Arguments::default() },
        ];
        for arguments in bad {
            assert_eq!(Span::of(&arguments, 50).unwrap_err().code(), Code::InvalidArgument, "{arguments:?}");
        }
    }

    #[test]
    fn a_place_in_the_list_round_trips() {
        assert_eq!(open_place(&seal_place(1_700_000_000_123, "id")), Ok((1_700_000_000_123, "id".to_owned())));
        assert_eq!(open_place("!").unwrap_err().code(), Code::InvalidArgument);
    }
}
