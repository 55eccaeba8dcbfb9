//! From an operation that a client sends to one that runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json_bytes::Value;

use super::super::followed::Followed;
use super::super::generation::Settled;
use super::super::metrics::OPERATIONS;
use super::super::plan::{OpenTo, Plan, Planned, Refused};
use super::super::protocol::{Close, Object, Operation, failure};
use super::super::request;
use super::super::subscription::{Start, Subscription};
use super::super::usage::counted;
use super::{Kind, ONLY, Running, Socket, refused_by};
use crate::plugins::limits::{Audience, Who};
use crate::plugins::partners::{Call, Outcome};

impl Socket {
    /// Starts an operation. An error closes the socket.
    pub(in super::super) fn subscribe(self: &Arc<Self>, id: String, operation: Operation) -> Result<(), Close> {
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        let mut operations = self.operations.lock();
        if operations.contains_key(id.as_str()) {
            return Err(Close::DUPLICATE);
        }
        if operations.len() >= self.generation.config.client.operations_max {
            drop(operations);
            let errors = failure("RATE_LIMITED", "too many operations run on this socket");
            self.refuse_counted(&id, self.call(&operation), Outcome::RateLimited, &errors);
            return Ok(());
        }
        let Some(shares) = self.share() else {
            drop(operations);
            let errors = too_many_operations().to_json();
            self.refuse_counted(&id, self.call(&operation), Outcome::RateLimited, &errors);
            return Ok(());
        };
        let call = self.call(&operation);
        let settled = match self.generation.settle(self.caller().map(Arc::as_ref), operation) {
            Ok(settled) => settled,
            Err(refusal) => {
                drop(operations);
                self.refuse_counted(&id, call, Outcome::Refused, &refused_by(refusal));
                return Ok(());
            }
        };
        operations.insert(id.as_str().into(), Running::new(serial, shares));
        drop(operations);
        OPERATIONS.add(1);
        let operation = &settled.operation;
        let known = operation.query.as_deref().map_or(Some(Planned::Other), |query| {
            self.generation.planner.known(query, operation.operation_name.as_deref())
        });
        let socket = Arc::clone(self);
        let key: Box<str> = id.as_str().into();
        let task = tokio::spawn(socket.prepare(id, serial, settled, known, call));
        if let Some(running) = self.operations.lock().get_mut(&key)
            && running.serial == serial
            && let Kind::Task(handle) = &mut running.kind
        {
            *handle = Some(task.abort_handle());
        }
        Ok(())
    }

    /// Starts the one subscription of a connection. The call that it is stays with the caller when it is refused.
    pub(in super::super) fn open(
        self: &Arc<Self>,
        plan: Arc<Plan>,
        settled: Settled,
        call: &mut Option<Call>,
    ) -> Result<(), NotOpened> {
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        let shares = self.share().ok_or_else(|| NotOpened::Full(too_many_operations()))?;
        self.operations.lock().insert(ONLY.into(), Running::new(serial, shares));
        OPERATIONS.add(1);
        let started = self.start(ONLY, serial, plan, settled, call);
        if started.is_err() {
            self.forget(ONLY, serial);
        }
        started.map_err(NotOpened::Refused)
    }

    /// Starts a subscription, or runs a query or a mutation. A call that does not run is counted, then told so; one that is
    /// given up meanwhile is counted as that.
    async fn prepare(
        self: Arc<Self>,
        id: String,
        serial: u64,
        settled: Settled,
        known: Option<Planned>,
        mut call: Option<Call>,
    ) {
        // Held until it has started, unless it is to be planned first: planners have a bound of their own.
        let turn = match known {
            Some(Planned::Subscription(_)) => self.generation.starts.acquire().await.ok(),
            _ => None,
        };
        let refused = match self.admit_operation(&settled.operation, known).await {
            Ok(Planned::Subscription(plan)) => {
                let started = self.start(&id, serial, plan, settled, &mut call);
                started.err().map(|refused| (Outcome::Refused, refused))
            }
            Ok(Planned::Other) => {
                let messages = request::run(&self, &id, &settled.operation, call).await;
                return self.conclude(&id, serial, messages);
            }
            Err(refused) => Some(refused),
        };
        drop(turn);
        if let Some((outcome, refused)) = refused {
            if let Some(call) = call {
                call.answered(outcome, None).await;
            }
            self.refuse(&id, serial, &refused);
        }
    }

    /// Holds a subscription against its limits, and plans what was not known.
    async fn admit_operation(
        &self,
        operation: &Operation,
        known: Option<Planned>,
    ) -> Result<Planned, (Outcome, Refused)> {
        if !matches!(known, Some(Planned::Other))
            && let Err(limited) = self.generation.rate(operation, &self.who()).await
        {
            return Err((Outcome::RateLimited, Refused(vec![limited.to_graphql()])));
        }
        match (known, &operation.query) {
            (Some(known), _) => Ok(known),
            (None, None) => Ok(Planned::Other),
            (None, Some(query)) => {
                let planned = match self.generation.check(operation, self.audience()) {
                    Ok(_) => self.generation.plan(query.clone(), operation.operation_name.clone()).await,
                    Err(refused) => Err(refused),
                };
                planned.map_err(|refused| (Outcome::Refused, refused))
            }
        }
    }

    /// Who asks, as far as limits are concerned.
    fn who(&self) -> Who {
        let viewer = self.viewer.lock().as_ref().map(|viewer| Arc::clone(&viewer.subject));
        Who { caller: self.caller().cloned(), viewer, address: self.address.get().cloned() }
    }

    fn audience(&self) -> Audience {
        if self.caller().is_some() {
            Audience::Partner
        } else if self.viewer.lock().is_some() {
            Audience::User
        } else {
            Audience::Anonymous
        }
    }

    /// Takes the call, unless the operation does not start.
    fn start(
        self: &Arc<Self>,
        id: &str,
        serial: u64,
        plan: Arc<Plan>,
        settled: Settled,
        call: &mut Option<Call>,
    ) -> Result<(), Refused> {
        let Settled { operation, id: called_by } = settled;
        if plan.independent == Some(OpenTo::SignedIn) && self.viewer.lock().is_none() {
            return Err(Refused::new("UNAUTHENTICATED", "sign in to follow this"));
        }
        let cost = self.generation.check(&operation, self.audience())?;
        let variables = plan.coerce(operation.variables.as_ref().unwrap_or(&Object::new()))?;
        let start = operation.extensions.as_ref().map(start).unwrap_or_default();
        let subscription = Subscription::new(self, id, serial, plan, variables, start);
        let mut operations = self.operations.lock();
        // The client may have lost interest while it was planned.
        let Some(running) = operations.get_mut(id).filter(|running| running.serial == serial) else {
            return Ok(());
        };
        running.kind = Kind::Subscription(Arc::clone(&subscription));
        running.followed =
            self.caller().zip(called_by).map(|(caller, called_by)| Followed::begin(Arc::clone(caller), called_by));
        drop(operations);
        counted(call.take(), Outcome::Ok, Some(cost), move || subscription.attach());
        Ok(())
    }

    fn refuse(&self, id: &str, serial: u64, refused: &Refused) {
        self.conclude(id, serial, [self.transport.error(id, &refused.to_json())]);
    }
}

/// Why the one subscription of a connection does not run.
pub(in super::super) enum NotOpened {
    /// There are too many.
    Full(Refused),
    Refused(Refused),
}

fn too_many_operations() -> Refused {
    Refused::new("RATE_LIMITED", "too many operations of this user or key run")
}

/// How the client wants its stream to start.
fn start(extensions: &Object) -> Start {
    Start {
        after: extensions.get("after").filter(|after| !after.is_null()).cloned(),
        announce: extensions.get("position").and_then(Value::as_bool).unwrap_or_default(),
    }
}
