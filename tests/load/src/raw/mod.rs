//! What the machine and the servers give when nothing of ours is in the way.

pub mod copy;
pub mod echo;
pub mod insert;
pub mod kafka;
pub mod redis;
