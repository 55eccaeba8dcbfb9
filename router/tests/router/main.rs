//! The real binary, unlicensed, with the shipped `router.yaml`, before two small subgraphs.

mod api;
mod auth;
mod caching;
mod calls;
mod check;
mod client;
mod compose;
mod federation;
mod http;
mod idle;
mod limits;
mod live;
mod multipart;
mod operations;
mod partners;
mod process;
mod protocol;
mod publish;
mod rates;
mod registry;
mod resume;
mod signatures;
mod sse;
mod streams;
mod subgraphs;
mod tokens;
