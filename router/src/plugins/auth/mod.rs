//! `velvet.auth`: checks the client's JWT before anything is planned and forwards it.
//!
//! Without an `Authorization` header a request passes as anonymous: what an anonymous caller may do is for the
//! subgraphs to say, which check the token again and trust no other header.

mod config;
mod keys;
mod verify;

use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

use apollo_router::layers::ServiceBuilderExt as _;
use apollo_router::plugin::{Plugin, PluginInit};
use apollo_router::services::router;
use apollo_router::{Context, register_plugin};
use arc_swap::ArcSwapOption;
use http::{HeaderValue, StatusCode, header};
use tower::{BoxError, ServiceBuilder, ServiceExt as _};

use crate::plugins::handover::Handover;
use config::AuthConfig;
pub use verify::{Error, Verifier, Viewer};

/// Whose token was found to be good.
struct Subject(Arc<str>);

/// The verifier of the live pipeline. Plugins cannot see one another; this is where the others find it.
static LIVE: LazyLock<ArcSwapOption<Verifier>> = LazyLock::new(ArcSwapOption::empty);

/// The verifier of the pipeline that is being put together, for a plugin that comes before this one in the
/// configuration: Apollo Router calls the hooks from the last plugin to the first.
pub fn live() -> Option<Arc<Verifier>> {
    LIVE.load_full()
}

/// The viewer's id, once a token was found to be good.
pub fn subject(context: &Context) -> Option<Arc<str>> {
    context.extensions().with_lock(|known| known.get::<Subject>().map(|subject| Arc::clone(&subject.0)))
}

struct Auth {
    verifier: Arc<Verifier>,
}

#[async_trait::async_trait]
impl Plugin for Auth {
    type Config = AuthConfig;

    async fn new(init: PluginInit<AuthConfig>) -> Result<Self, BoxError> {
        Ok(Self { verifier: Arc::new(Verifier::new(&init.config)?) })
    }

    fn router_service(&self, service: router::BoxService) -> router::BoxService {
        LIVE.store(Some(Arc::clone(&self.verifier)));
        let verifier = Arc::clone(&self.verifier);
        ServiceBuilder::new()
            .checkpoint_async(move |request: router::Request| {
                let verifier = Arc::clone(&verifier);
                let authorization = request.router_request.headers().get(header::AUTHORIZATION).cloned();
                async move {
                    match admit(&verifier, authorization.as_ref()).await {
                        Ok(viewer) => {
                            if let Some(viewer) = viewer {
                                request.context.extensions().with_lock(|known| known.insert(Subject(viewer.subject)));
                            }
                            Ok(ControlFlow::Continue(request))
                        }
                        Err(error) => Ok(ControlFlow::Break(refusal(error, request)?)),
                    }
                }
            })
            .service(Handover::new(service))
            .boxed()
    }
}

async fn admit(verifier: &Verifier, authorization: Option<&HeaderValue>) -> Result<Option<Viewer>, Error> {
    match authorization {
        None => Ok(None),
        Some(value) => {
            let value = value.to_str().map_err(|_| Error::Invalid)?;
            verifier.check(value).await.map(Some)
        }
    }
}

/// The response to a request whose token is not good or cannot be checked.
pub fn refusal(error: Error, request: router::Request) -> Result<router::Response, BoxError> {
    let status = match error {
        Error::Invalid => StatusCode::UNAUTHORIZED,
        Error::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = serde_json::json!({ "errors": [error.to_graphql()] });
    let mut response = http::Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .body(router::body::from_bytes(serde_json::to_vec(&body)?))?;
    if error == Error::Invalid {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
    }
    router::Response::http_response_builder().context(request.context).response(response).build()
}

impl Error {
    /// The code that clients see.
    pub fn code(self) -> &'static str {
        match self {
            Self::Invalid => "UNAUTHENTICATED",
            Self::Unavailable => "UNAVAILABLE",
        }
    }

    /// As a member of a response's `errors`.
    pub fn to_graphql(self) -> serde_json::Value {
        serde_json::json!({ "message": self.to_string(), "extensions": { "code": self.code() } })
    }
}

register_plugin!("velvet", "auth", Auth);
