//! The writer: the only client of the database.
//!
//! - [`decided`] applies decided events to 16 shards, exactly once, in batches; [`apply`] is one batch.
//! - [`commands`] decides what must be unique or limited, in one transaction of one shard, and
//!   [`outbox`] carries the decisions to the log.
//! - [`warm`] reads rows back for the views: of one entity, or of everything ([`rebuild`]).
//! - [`replay`] applies records that could not be applied, once their cause is mended.
//! - [`shards`] knows which server has which shard, and moves them.
//! - [`calibrate`] reads back samples, so that views that drifted are put right.
//!
//! What the writer knows of a domain is one module: its tables and how decided events become rows
//! (`rows`), and how rows are read back (`load`).

pub mod accounts;
pub mod apply;
pub mod calibrate;
pub mod commands;
pub mod dead_letter;
pub mod decided;
pub mod domain;
pub mod halve;
pub mod lag;
pub mod matching;
pub mod messaging;
pub mod migrate;
pub mod operate;
pub mod outbox;
pub mod positions;
pub mod reader;
pub mod rebuild;
pub mod replay;
pub mod retry;
pub mod run;
pub mod shards;
pub mod table;
pub mod warm;
