//! A stack of one Redis: what holds for it holds for the other servers.

#![expect(clippy::disallowed_methods, reason = "scratch folders need names of their own")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use velvet_kit::options::External;
use velvet_kit::ports::Ports;
use velvet_kit::servers::redis::open_url;
use velvet_kit::{PortChoice, RedisLayout, Stack, StackOptions};

/// Removed when the test is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("velvet-kit-{}", uuid::Uuid::new_v4().simple())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Kafka and `PostgreSQL` are said to be elsewhere, so only Redis is started.
fn one_redis(state: &Path) -> StackOptions {
    let mut options = StackOptions::test(Path::new(".")).expect("options");
    state.clone_into(&mut options.state);
    options.redis = RedisLayout::Single;
    options.servers_only = true;
    options.quiet = true;
    options.external = External {
        kafka: Some("127.0.0.1:1".to_owned()),
        redis: None,
        postgres: Some(("postgres://nobody@127.0.0.1:1/none".to_owned(), None)),
    };
    options
}

async fn set(url: &str) {
    let mut connection = open_url(url).await.expect("a connection");
    let _: String = redis::cmd("SET").arg("k").arg("v").query_async(&mut connection).await.expect("SET");
}

async fn get(url: &str) -> Option<String> {
    let mut connection = open_url(url).await.expect("a connection");
    redis::cmd("GET").arg("k").query_async(&mut connection).await.expect("GET")
}

#[tokio::test]
async fn a_part_is_stopped_emptied_and_started_by_its_handle() {
    let scratch = Scratch::new();
    let stack = Stack::new(one_redis(&scratch.0)).await.expect("a state folder");
    let handle = stack.start().await.expect("a start");
    let url = handle.info.redis_urls[0].clone();
    let part = handle.redis(0);

    set(&url).await;
    part.stop().await.expect("a stop");
    assert!(!part.is_running().await.expect("a status"));
    assert!(open_url(&url).await.is_err());
    part.start().await.expect("a start on the old port");
    assert_eq!(get(&url).await.as_deref(), Some("v"), "the append-only file was read");

    part.restart_empty().await.expect("a start without the file");
    assert_eq!(get(&url).await, None);

    set(&url).await;
    handle.wipe_redis().await.expect("a wipe");
    assert_eq!(get(&url).await, None);

    let kafka = handle.kafka().stop().await.expect_err("somebody else's Kafka");
    assert!(format!("{kafka:#}").contains("runs no \"kafka\" of its own, only: redis-0"), "{kafka:#}");

    stack.stop().await.expect("an end");
    assert!(open_url(&url).await.is_err(), "nothing is left");
}

#[tokio::test]
async fn a_state_folder_has_one_owner() {
    let scratch = Scratch::new();
    let first = Stack::new(one_redis(&scratch.0)).await.expect("a state folder");
    let second = Stack::new(one_redis(&scratch.0)).await.expect_err("the folder is taken");
    assert!(format!("{second:#}").contains("another stack uses"), "{second:#}");
    drop(first);
    Stack::new(one_redis(&scratch.0)).await.expect("the folder is free again");
}

#[test]
fn a_taken_port_is_named_with_its_variable() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its number").port();
    let mut options = one_redis(Path::new("/nowhere"));
    options.ports = PortChoice::Fixed;
    let read = |name: &str| (name == "VELVET_REDIS_PORT").then(|| port.to_string());
    let ports = Ports::choose(&options, read).expect("ports");
    let message = ports.check(&options).expect_err("a conflict").to_string();
    assert!(message.contains(&format!("port {port} on 127.0.0.1, wanted for Redis, is taken")), "{message}");
    assert!(message.contains("set VELVET_REDIS_PORT to a free port"), "{message}");

    let wrong = Ports::choose(&options, |_| Some("http".to_owned())).expect_err("no number");
    assert!(wrong.to_string().contains("which is not a port"), "{wrong}");
}
