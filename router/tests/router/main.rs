//! The real binary, unlicensed, with the shipped `router.yaml`, before two small subgraphs.

mod api;
mod auth;
mod client;
mod compose;
mod federation;
mod http;
mod idle;
mod limits;
mod live;
mod process;
mod protocol;
mod resume;
mod subgraphs;
mod tokens;
