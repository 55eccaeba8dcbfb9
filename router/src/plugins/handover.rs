//! A service of the pipeline that several requests share.
//!
//! A buffer does the same with a task of its own: each request is sent to it over a channel and its future comes back over
//! another, which takes two wake-ups. Here whoever has a request hands it over himself, and waits for its turn to do so.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tower::util::BoxService;
use tower::{BoxError, Service, ServiceExt as _};

/// Hands requests over to a service, one after the other; they are answered side by side.
pub struct Handover<Q, S>(Arc<Mutex<BoxService<Q, S, BoxError>>>);

impl<Q, S> Handover<Q, S> {
    /// In front of that service.
    pub fn new(service: BoxService<Q, S, BoxError>) -> Self {
        Self(Arc::new(Mutex::new(service)))
    }
}

impl<Q, S> Clone for Handover<Q, S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Q: Send + 'static, S: 'static> Service<Q> for Handover<Q, S> {
    type Response = S;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Q) -> Self::Future {
        let service = Arc::clone(&self.0);
        Box::pin(async move {
            // Held until the request is handed over, not until it is answered.
            let answering = service.lock().await.ready().await?.call(request);
            answering.await
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tower::service_fn;

    use super::*;

    #[tokio::test]
    async fn a_request_that_waits_for_its_answer_holds_up_no_other() {
        let service = service_fn(|request: oneshot::Receiver<u32>| async { Ok::<_, BoxError>(request.await?) });
        let handover = Handover::new(service.boxed());
        let (tell, told) = oneshot::channel();
        let slow = tokio::spawn(handover.clone().oneshot(told));
        let (tell_other, told) = oneshot::channel();
        tell_other.send(2).unwrap();
        assert_eq!(handover.oneshot(told).await.unwrap(), 2);
        tell.send(1).unwrap();
        assert_eq!(slow.await.unwrap().unwrap(), 1);
    }
}
