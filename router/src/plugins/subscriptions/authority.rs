//! In whose name a client's connection acts, a viewer's, a partner's or both, and for how long.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::generation::Generation;
use super::protocol::Close;
use super::seats::Holder;
use super::socket::Socket;
use crate::plugins::auth::{self, Viewer};
use crate::plugins::partners::{Caller, Refusal};

/// A partner's own token is replaced this long before it ends: the new one is there by then.
const OWN_TOKEN_MARGIN: Duration = Duration::from_secs(30);

/// Why a connection cannot act in the name that it was asked to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Error {
    /// The token is not good, or cannot be checked now.
    Token(auth::Error),
    /// The key is not good, or no token can be had for it now.
    Key(Refusal),
    /// The new token is somebody else's.
    Stranger,
}

/// Who asks.
pub(super) struct Authority {
    pub(super) viewer: Option<Viewer>,
    pub(super) caller: Option<Arc<Caller>>,
    /// The token is the partner's own, which the router gets and replaces.
    pub(super) owns_token: bool,
}

impl Authority {
    /// A caller that has brought no token gets its own.
    pub(super) async fn of(
        generation: &Generation,
        authorization: Option<&str>,
        caller: Option<Arc<Caller>>,
    ) -> Result<Self, Error> {
        let viewer = match (authorization, &caller) {
            (Some(authorization), _) => Some(check(generation, authorization).await?),
            (None, Some(caller)) => {
                let own = own_authorization(generation, caller).await?;
                Some(check(generation, &own).await?)
            }
            (None, None) => None,
        };
        let owns_token = authorization.is_none() && caller.is_some();
        Ok(Self { viewer, caller, owns_token })
    }

    /// Whose bounds the connection is held against. A partner's service account is no viewer.
    pub(super) fn holders(&self) -> Vec<Holder> {
        let viewer = self.viewer.as_ref().filter(|_| !self.owns_token);
        let viewer = viewer.map(|viewer| Holder::Viewer(Arc::clone(&viewer.subject)));
        let key = self.caller.as_ref().map(|caller| Holder::Key(Arc::clone(&caller.prefix)));
        viewer.into_iter().chain(key).collect()
    }

    /// How long it is good for without being renewed. Nothing when it has no end.
    pub(super) fn lifetime(&self) -> Option<Duration> {
        let viewer = self.viewer.as_ref()?;
        Some(lifetime(viewer, self.caller.as_deref(), self.owns_token))
    }
}

/// Goes on with a new token of the same viewer: until when. An anonymous connection stays one.
pub(super) async fn renew(socket: &Socket, authorization: &str) -> Result<Instant, Error> {
    let viewer = check(&socket.generation, authorization).await?;
    let lifetime = lifetime(&viewer, socket.caller().map(Arc::as_ref), socket.owns_token());
    if socket.renew(viewer) { Ok(Instant::now() + lifetime) } else { Err(Error::Stranger) }
}

/// Goes on with a new token of the partner's own: until when. Nothing when the connection is over.
pub(super) async fn replace_own_token(socket: &Socket) -> Option<Instant> {
    let caller = socket.caller().filter(|_| socket.owns_token())?;
    socket.generation.gate()?.recheck(caller).ok()?;
    let authorization = own_authorization(&socket.generation, caller).await.ok()?;
    renew(socket, &authorization).await.ok()
}

/// Whose token it is.
pub(super) async fn check(generation: &Generation, authorization: &str) -> Result<Viewer, Error> {
    // Without the auth plugin no token can be good.
    let verifier = generation.verifier().ok_or(Error::Token(auth::Error::Invalid))?;
    verifier.check(authorization).await.map_err(Error::Token)
}

async fn own_authorization(generation: &Generation, caller: &Caller) -> Result<Arc<str>, Error> {
    let gate = generation.gate().ok_or(Error::Key(Refusal::Key))?;
    gate.authorization(caller).await.map_err(Error::Key)
}

/// How long a connection may go on with that token and that key.
fn lifetime(viewer: &Viewer, caller: Option<&Caller>, owns_token: bool) -> Duration {
    let mut lifetime = viewer.lifetime();
    if owns_token {
        lifetime = lifetime.saturating_sub(OWN_TOKEN_MARGIN).max(lifetime / 2);
    }
    caller.and_then(Caller::lifetime).map_or(lifetime, |of_key| lifetime.min(of_key))
}

impl From<Error> for Close {
    fn from(error: Error) -> Self {
        match error {
            Error::Token(auth::Error::Unavailable) | Error::Key(Refusal::Unavailable) => Self::TRY_LATER,
            _ => Self::FORBIDDEN,
        }
    }
}
