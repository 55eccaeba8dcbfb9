//! What a client takes for an answer (RFC 9110 §12.5.1).

use http::{HeaderMap, header};

use super::event_stream::EventStream;
use super::framing::Framing;
use super::multipart::Multipart;

/// A type of answers in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Json {
    /// `application/json`
    Plain,
    /// `application/graphql-response+json`
    GraphqlResponse,
}

/// What stands in a request's `Accept`, as far as it is named there: wildcards say nothing.
pub(super) struct Accepts {
    /// The protocol for a subscription: of those named the one with the highest weight, of equals the first.
    pub(super) framing: Option<&'static dyn Framing>,
    /// The JSON for a query or mutation, by the same rule.
    pub(super) json: Option<Json>,
}

impl Accepts {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let mut accepts = Self { framing: None, json: None };
        let (mut best_framing, mut best_json) = (0.0, 0.0);
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        for range in values.flat_map(|value| value.split(',')).map(Range::parse) {
            if let Some(json) = range.json().filter(|_| range.weight > best_json) {
                best_json = range.weight;
                accepts.json = Some(json);
            }
            if let Some(framing) = range.framing().filter(|_| range.weight > best_framing) {
                best_framing = range.weight;
                accepts.framing = Some(framing);
            }
        }
        accepts
    }
}

/// One media range.
struct Range<'a> {
    essence: &'a str,
    /// The version of Apollo's multipart protocol.
    subscription_spec: Option<&'a str>,
    weight: f32,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let mut range = Self { essence: parts.next().unwrap_or_default(), subscription_spec: None, weight: 1.0 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            if name.trim().eq_ignore_ascii_case("q") {
                range.weight = value.parse().unwrap_or(0.0);
            } else if name.trim().eq_ignore_ascii_case("subscriptionSpec") {
                range.subscription_spec = Some(value);
            }
        }
        range
    }

    fn is(&self, essence: &str) -> bool {
        self.essence.eq_ignore_ascii_case(essence)
    }

    fn json(&self) -> Option<Json> {
        if self.is("application/json") {
            Some(Json::Plain)
        } else if self.is("application/graphql-response+json") {
            Some(Json::GraphqlResponse)
        } else {
            None
        }
    }

    fn framing(&self) -> Option<&'static dyn Framing> {
        if self.is("text/event-stream") {
            Some(&EventStream)
        } else if self.is("multipart/mixed") && self.subscription_spec == Some("1.0") {
            Some(&Multipart)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(accept: &'static str) -> (Option<&'static str>, Option<Json>) {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
        let accepts = Accepts::read(&headers);
        (accepts.framing.map(Framing::content_type), accepts.json)
    }

    #[test]
    fn the_first_protocol_of_the_highest_weight_is_taken() {
        let (plain, graphql) = (Some(Json::Plain), Some(Json::GraphqlResponse));
        let (sse, multipart) = (Some(EventStream.content_type()), Some(Multipart.content_type()));
        for (accept, expected) in [
            ("text/event-stream", (sse, None)),
            ("application/json, Text/Event-Stream", (sse, plain)),
            ("multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0,application/json", (multipart, plain)),
            ("multipart/mixed; subscriptionSpec=\"1.0\", text/event-stream", (multipart, None)),
            ("multipart/mixed;subscriptionSpec=1.0;q=0.5, text/event-stream;q=0.9", (sse, None)),
            ("text/event-stream;q=0, application/json;q=0", (None, None)),
            ("multipart/mixed;deferSpec=20220824, application/graphql-response+json", (None, graphql)),
            ("multipart/mixed;subscriptionSpec=2.0", (None, None)),
            ("multipart/mixed", (None, None)),
            ("application/graphql-response+json, application/json;q=0.9, */*", (None, graphql)),
            ("*/*", (None, None)),
            ("", (None, None)),
        ] {
            assert_eq!(read(accept), expected, "{accept}");
        }
    }
}
