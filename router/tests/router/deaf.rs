//! A client that takes nothing: it has its grace to hear that it is too slow, and no more.

use crate::frames::{FINAL, Raw, TEXT, frame};
use crate::process::{eventually, start};

const EVENT_BYTES: usize = 50_000;
const QUEUE_BYTES_MAX: usize = 200_000;
/// More than twice what the buffers of both ends, the connection and the queue hold together.
const EVENTS_MAX: usize = 1_000;
/// What a connection had not taken yet when it was given up, besides the queue: a message on its way and those that came
/// until that was seen here.
const ON_THE_WAY_BYTES_MAX: usize = 4 * EVENT_BYTES;

#[tokio::test]
async fn who_reads_nothing_is_dropped_after_the_grace_and_no_more_than_a_queue_was_kept_for_it() {
    // It answers no ping either, and that is not what it is to be dropped for.
    let client = format!("{{queue_bytes_max: {QUEUE_BYTES_MAX}, close_grace_ms: 200, ping_interval_ms: 600000}}");
    let stack = start(&format!("plugins: {{velvet.subscriptions: {{client: {client}}}}}")).await;
    let mut deaf = Raw::open(stack.router.port).await;
    let subscribe = br#"{"type":"subscribe","id":"s","payload":{"query":"subscription { texts }"}}"#;
    deaf.send(&frame(FINAL | TEXT, subscribe)).await;
    let mut quick = stack.viewer("bob").await;
    quick.subscribe("s", "subscription { texts }").await;
    stack.streaming(2).await;

    let text = "x".repeat(EVENT_BYTES);
    let mut posted = 0;
    while stack.router.metric("velvet_router_sockets_slow_total").await == 0 {
        assert!(posted < EVENTS_MAX, "{posted} events of {EVENT_BYTES} bytes have gone somewhere");
        stack.world().post(&text, "ann");
        posted += 1;
        assert_eq!(quick.event("s").await["extensions"]["cursor"], posted.to_string());
    }
    eventually("it holds no place", async || stack.router.metric("velvet_router_sockets").await == 1).await;
    assert_eq!(stack.router.metric("velvet_router_operations").await, 1);

    // What it finds when it reads at last was in the kernel's buffers; the rest was in the queue, which is gone.
    let found = deaf.rest().await.len();
    let kept = (posted * EVENT_BYTES).saturating_sub(found);
    assert!(kept <= QUEUE_BYTES_MAX + ON_THE_WAY_BYTES_MAX, "{kept} bytes were kept of {posted} events");
}
