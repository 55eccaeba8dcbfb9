//! Many live clients in one process: a socket, a task and a few hundred bytes each.

pub mod client;
pub mod fleet;
pub mod wave;
