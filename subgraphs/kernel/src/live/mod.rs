//! Live streams: inboxes that remember, channels that announce, cursors that resume.

mod cursor;
pub mod inbox;
mod stream;
mod transport;

pub use cursor::{CursorKey, ForgedCursor, Place};
pub use stream::{Item, Live};
pub use transport::{Resume, StreamCursor, Streams};
