//! The check of one operation, for HTTP and for the socket.

use std::sync::{Arc, LazyLock};

use apollo_compiler::Schema;
use apollo_compiler::ast::{OperationDefinition, OperationType};
use apollo_compiler::response::JsonMap;
use arc_swap::ArcSwapOption;
use http::HeaderMap;
use serde_json_bytes::Value;
use tower::BoxError;
use velvet_edge::cost::{self, Weights};
use velvet_edge::limits::{Bounds, Code, Document, Refusal, Unread};

use super::cache::Documents;
use super::config::{Audience, Audiences, LimitsConfig};
use super::metrics::{self, Instruments};
use super::rate::{Call, Limited, Passed, Rates, Who};

/// The gate of the live pipeline. Plugins cannot see one another; this is where the others find it.
static LIVE: LazyLock<ArcSwapOption<Gate>> = LazyLock::new(ArcSwapOption::empty);

/// The gate of the pipeline that is being put together, for a plugin that comes before this one in the configuration:
/// Apollo Router calls the hooks from the last plugin to the first.
pub fn live() -> Option<Arc<Gate>> {
    LIVE.load_full()
}

/// Checks operations against their audience's bounds. One per schema and configuration.
pub struct Gate {
    weights: Weights,
    audiences: Audiences,
    introspection: bool,
    documents: Documents,
    pub(super) rates: Rates,
    instruments: ArcSwapOption<Instruments>,
}

/// An operation as a client sends it.
#[derive(Clone, Copy)]
pub struct Asked<'r> {
    /// The text.
    pub query: &'r str,
    /// Which operation of the text is meant.
    pub operation_name: Option<&'r str>,
    /// The variables, by name.
    pub variables: &'r JsonMap,
}

/// An operation that was let through.
pub(super) struct Admitted {
    pub(super) query: Arc<str>,
    document: Arc<Document>,
    operation_name: Option<Box<str>>,
    pub(super) estimated: u64,
}

impl Admitted {
    fn operation(&self) -> Option<&OperationDefinition> {
        self.document.operation(self.operation_name.as_deref())
    }

    /// The operation's name.
    pub(super) fn name(&self) -> Option<&str> {
        self.operation()?.name.as_deref()
    }

    fn is_subscription(&self) -> bool {
        self.operation().is_some_and(|operation| operation.operation_type == OperationType::Subscription)
    }
}

impl Gate {
    pub(super) fn new(config: &LimitsConfig, sdl: &str) -> Result<Self, BoxError> {
        let schema = Schema::parse(sdl, "supergraph.graphql").map_err(|invalid| invalid.errors.to_string())?;
        Ok(Self {
            weights: Weights::of(&schema)?,
            audiences: Audiences::of(config),
            introspection: config.introspection,
            documents: Documents::new(config.documents_cached_max),
            rates: Rates::new(&config.rates)?,
            instruments: ArcSwapOption::empty(),
        })
    }

    pub(super) fn go_live(self: &Arc<Self>) {
        self.instruments.store(Some(Arc::new(Instruments::new())));
        self.rates.shared();
        LIVE.store(Some(Arc::clone(self)));
    }

    pub(super) fn bounds(&self, audience: Audience) -> &Bounds {
        self.audiences.bounds(audience)
    }

    /// Whether an operation may be planned, and what it costs by estimate. What is not GraphQL passes: whoever plans it
    /// says where it is wrong.
    pub fn check(&self, asked: Asked, audience: Audience) -> Result<u64, Refusal> {
        Ok(self.admit(asked, audience)?.map_or(0, |admitted| admitted.estimated))
    }

    /// Counts a subscription, and what a bound refuses. Queries and mutations are counted in the pipeline.
    pub async fn rate(&self, asked: Asked<'_>, id: Option<&str>, who: &Who) -> Result<Passed, Limited> {
        let weighed = self.weigh(asked, who.audience()).ok().flatten();
        if weighed.as_ref().is_some_and(|admitted| !admitted.is_subscription()) {
            return Ok(Passed::default());
        }
        let name = weighed.as_ref().and_then(Admitted::name).or(asked.operation_name);
        let cost = weighed.as_ref().map_or(0, |admitted| admitted.estimated);
        self.rates.admit(who, &Call { requests: 1, cost, name, text: Some(asked.query), id }).await
    }

    /// Where a request comes from, when that is configured and known.
    pub fn address(&self, headers: &HeaderMap) -> Option<Arc<str>> {
        self.rates.address(headers)
    }

    pub(super) fn admit(&self, asked: Asked, audience: Audience) -> Result<Option<Admitted>, Refusal> {
        let admitted = self.weigh(asked, audience);
        match &admitted {
            Err(refusal) => metrics::refused(refusal.code),
            Ok(Some(admitted)) => {
                if let Some(instruments) = &*self.instruments.load() {
                    instruments.estimated(admitted.estimated);
                }
            }
            Ok(None) => {}
        }
        admitted
    }

    fn weigh(&self, asked: Asked, audience: Audience) -> Result<Option<Admitted>, Refusal> {
        let bounds = self.bounds(audience);
        let (document, is_new) = match self.documents.get(asked.query) {
            Some(document) => (document, false),
            None => match Document::parse(asked.query, bounds.tokens) {
                Ok(document) => (Arc::new(document), true),
                Err(Unread::Malformed) => return Ok(None),
                Err(Unread::Refused(refusal)) => return Err(refusal),
            },
        };
        if document.shape().introspects && !self.introspection {
            return Err(Refusal::new(Code::IntrospectionDisabled));
        }
        bounds.admit(&document, asked.variables)?;
        let estimate = cost::estimate(&self.weights, &document, asked.operation_name, Some(asked.variables))?;
        let Some(estimate) = estimate else { return Ok(None) };
        Refusal::unless_within(Code::OperationTooCostly, bounds.cost, estimate.cost)?;
        if is_new {
            self.documents.put(asked.query, &document);
        }
        Ok(Some(Admitted {
            query: asked.query.into(),
            document,
            operation_name: asked.operation_name.map(Into::into),
            estimated: estimate.cost,
        }))
    }

    /// What a response has cost.
    pub(super) fn measure(&self, admitted: &Admitted, data: &Value) -> Option<u64> {
        cost::actual(&self.weights, &admitted.document, admitted.operation_name.as_deref(), data)
            .map(|cost| self.note(cost))
    }

    /// Notes what a response has cost.
    pub(super) fn note(&self, cost: u64) -> u64 {
        if let Some(instruments) = &*self.instruments.load() {
            instruments.actual(cost);
        }
        cost
    }
}
