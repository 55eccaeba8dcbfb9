//! Apollo's multipart protocol for subscriptions
//! (<https://www.apollographql.com/docs/graphos/routing/operations/subscriptions/multipart-protocol>).
//!
//! Each part is followed at once by the boundary that the next one needs: clients read a part when they see its end.

use axum::extract::ws::Utf8Bytes;

use super::super::protocol::{Close, failure_of_close};
use super::super::transport::Transport;
use super::framing::Framing;

pub(super) struct Multipart;

fn part(body: &str) -> Utf8Bytes {
    format!("\r\ncontent-type: application/json\r\n\r\n{body}\r\n--graphql").into()
}

impl Transport for Multipart {
    fn name(&self) -> &'static str {
        "multipart"
    }

    fn next(&self, _id: &str, response: &str, _extensions: Option<&str>) -> Utf8Bytes {
        part(&format!(r#"{{"payload":{response}}}"#))
    }

    fn error(&self, _id: &str, errors: &str) -> Utf8Bytes {
        part(&format!(r#"{{"payload":{{"errors":{errors}}}}}"#))
    }

    fn failure(&self, _id: &str, errors: &str) -> Utf8Bytes {
        part(&format!(r#"{{"payload":null,"errors":{errors}}}"#))
    }

    /// The closing boundary says it.
    fn complete(&self, _id: &str) -> Utf8Bytes {
        Utf8Bytes::default()
    }

    fn one_operation(&self) -> bool {
        true
    }
}

impl Framing for Multipart {
    fn content_type(&self) -> &'static str {
        r#"multipart/mixed;boundary="graphql";subscriptionSpec=1.0"#
    }

    fn opening(&self) -> Utf8Bytes {
        format!("\r\n--graphql{}", self.heartbeat()).into()
    }

    fn heartbeat(&self) -> Utf8Bytes {
        part("{}")
    }

    fn ending(&self, close: Close) -> Utf8Bytes {
        if close.is_told() {
            return Utf8Bytes::from_static("--\r\n");
        }
        format!("{}--\r\n", self.failure("", &failure_of_close(close))).into()
    }

    fn carries_queries(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_heartbeats_payloads_and_a_closing_boundary() {
        let stream = [
            Multipart.opening(),
            Multipart.next("", r#"{"data":1}"#, None),
            Multipart.error("", "[]"),
            Multipart.failure("", "[]"),
            Multipart.ending(Close::COMPLETED),
        ];
        let stream: String = stream.iter().map(Utf8Bytes::as_str).collect();
        let mut parts: Vec<_> = stream.split("\r\n--graphql").collect();
        assert_eq!((parts.remove(0), parts.pop()), ("", Some("--\r\n")));
        let bodies: Vec<_> =
            parts.iter().map(|part| part.strip_prefix("\r\ncontent-type: application/json\r\n\r\n").unwrap()).collect();
        assert_eq!(
            bodies,
            ["{}", r#"{"payload":{"data":1}}"#, r#"{"payload":{"errors":[]}}"#, r#"{"payload":null,"errors":[]}"#]
        );
    }

    #[test]
    fn what_ends_a_stream_early_is_told_before_the_closing_boundary() {
        let ending = Multipart.ending(Close::GOING_AWAY);
        assert!(ending.as_str().contains(r#""closeCode":1001"#), "{ending}");
        assert!(ending.as_str().ends_with("\r\n--graphql--\r\n"), "{ending}");
    }
}
