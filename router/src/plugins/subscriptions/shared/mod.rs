//! Streams that are the same whoever follows them: one operation upstream for all who follow one (`channel.rs`), one
//! execution and one message per event for all who asked the same of it (`group.rs`).
//!
//! Each follower keeps what is its own: its queue and what happens when it reads slowly, its token's end, its cursor. One
//! that comes back with a cursor is brought up to the others by an operation of its own, and joins them where it meets
//! them.
//!
//! Locks are taken in this order: a subscription's, the list of channels, a channel's, a group's, a client's queue.

mod channel;
mod group;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::flights::nameless;
use super::generation::Generation;
use super::plan::Plan;
use super::protocol::Object;
use super::subscription::{Beginning, Subscription};
use channel::Channel;
use group::Group;

/// What has to be the same for two streams to be one.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    subgraph: Box<str>,
    query: Box<str>,
    variables: Box<str>,
}

impl Key {
    fn of(plan: &Plan, variables: &Object) -> Self {
        let primary = &plan.primary;
        let query = nameless(primary.operation_document.as_serialized(), primary.operation_name.as_deref());
        Self {
            subgraph: (*primary.subgraph_name).into(),
            query: query.into(),
            variables: serde_json::to_string(&plan.primary_variables(variables)).unwrap_or_default().into(),
        }
    }
}

/// The shared streams of a generation. There are as many as there are different ones followed.
#[derive(Default)]
pub(super) struct Sharing(Mutex<HashMap<Key, Arc<Channel>>>);

/// A follower's place in a shared stream; it ends with this.
pub(super) struct Membership {
    channel: Arc<Channel>,
    group: Arc<Group>,
    number: u64,
}

/// A place beside a shared stream, for one that is still behind: the stream goes on for its sake.
pub(super) struct Watch {
    channel: Arc<Channel>,
    number: u64,
}

impl Sharing {
    /// Follows a stream from now on.
    pub(super) fn join(
        &self,
        generation: &Arc<Generation>,
        subscription: &Arc<Subscription>,
        beginning: Beginning,
    ) -> Option<Membership> {
        let (channel, (group, number)) =
            self.find(generation, subscription, |channel| channel.join(subscription, beginning))?;
        Some(Membership { channel, group, number })
    }

    /// Has a stream run that a follower is going to join.
    pub(super) fn watch(&self, generation: &Arc<Generation>, subscription: &Arc<Subscription>) -> Option<Watch> {
        let (channel, number) = self.find(generation, subscription, |channel| channel.watch(subscription))?;
        Some(Watch { channel, number })
    }

    /// Takes a place in the channel of a stream, or in a new one: one that is over has none.
    fn find<T>(
        &self,
        generation: &Arc<Generation>,
        subscription: &Subscription,
        take_place: impl Fn(&Channel) -> Option<T>,
    ) -> Option<(Arc<Channel>, T)> {
        let (plan, variables) = (subscription.plan(), subscription.variables());
        let key = Key::of(plan, variables);
        let mut channels = self.0.lock();
        if let Some(channel) = channels.get(&key)
            && let Some(place) = take_place(channel)
        {
            return Some((Arc::clone(channel), place));
        }
        let channel = Channel::start(generation, key.clone(), plan, plan.primary_variables(variables))?;
        let place = take_place(&channel)?;
        channels.insert(key, Arc::clone(&channel));
        Some((channel, place))
    }

    /// Takes a channel that is over off the list.
    fn remove(&self, channel: &Arc<Channel>) {
        let mut channels = self.0.lock();
        if channels.get(&channel.key).is_some_and(|listed| Arc::ptr_eq(listed, channel)) {
            channels.remove(&channel.key);
        }
    }

    /// Ends a channel that nobody is left in.
    fn release(&self, channel: &Arc<Channel>) {
        let mut channels = self.0.lock();
        let lease = channel.end_if_empty();
        if lease.is_some() && channels.get(&channel.key).is_some_and(|listed| Arc::ptr_eq(listed, channel)) {
            channels.remove(&channel.key);
        }
        drop(channels);
        drop(lease);
    }
}

impl Watch {
    /// Joins the stream, if it is just at the follower's cursor.
    pub(super) fn join(
        &self,
        cursor: &serde_json_bytes::Value,
        subscription: &Arc<Subscription>,
        beginning: Beginning,
    ) -> Option<Membership> {
        let (group, number) = self.channel.join_at(cursor, subscription, beginning)?;
        Some(Membership { channel: Arc::clone(&self.channel), group, number })
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.group.leave(self.number);
        self.channel.generation.sharing.release(&self.channel);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.channel.unwatch(self.number);
        self.channel.generation.sharing.release(&self.channel);
    }
}
