//! The real binary, unlicensed, with the shipped `router.yaml`, before two small subgraphs.

mod api;
mod auth;
mod client;
mod compose;
mod federation;
mod http;
mod idle;
mod live;
mod multipart;
mod process;
mod protocol;
mod resume;
mod sse;
mod streams;
mod subgraphs;
mod tokens;
