//! The header fields `RateLimit-Policy` and `RateLimit`, as structured fields (RFC 9651), by
//! <https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/>.

use std::fmt::Write as _;

/// The longest whole number of a structured field has 15 digits.
const NUMBER_MAX: u64 = 999_999_999_999_999;

/// What a policy counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Requests, which is what the field means when nothing is said.
    Request,
    /// The operations' estimated costs.
    Cost,
}

/// What holds for a caller.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Printable ASCII without quotes and backslashes.
    pub name: &'static str,
    /// Units in a window.
    pub quota: u64,
    /// The window.
    pub window_seconds: u64,
    /// What is counted.
    pub unit: Unit,
    /// Whether it is a share of the limit, counted by one router alone.
    pub local: bool,
}

/// What is left to a caller.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// The policy's name.
    pub name: &'static str,
    /// Units left.
    pub remaining: u64,
    /// When there are as many again as there can be; after a refusal, when to come again.
    pub reset_seconds: u64,
}

/// The value of `RateLimit-Policy`.
pub fn policies(policies: impl IntoIterator<Item = Policy>) -> String {
    let mut text = String::new();
    for Policy { name, quota, window_seconds, unit, local } in policies {
        item(&mut text, name, [("q", quota), ("w", window_seconds)]);
        if unit == Unit::Cost {
            text.push_str(";qu=\"cost\"");
        }
        if local {
            text.push_str(";velvet-local");
        }
    }
    text
}

/// The value of `RateLimit`.
pub fn standings(standings: impl IntoIterator<Item = Standing>) -> String {
    let mut text = String::new();
    for Standing { name, remaining, reset_seconds } in standings {
        item(&mut text, name, [("r", remaining), ("t", reset_seconds)]);
    }
    text
}

fn item(text: &mut String, name: &str, parameters: [(&str, u64); 2]) {
    if !text.is_empty() {
        text.push_str(", ");
    }
    let _ = write!(text, "\"{name}\"");
    for (parameter, number) in parameters {
        let _ = write!(text, ";{parameter}={}", number.min(NUMBER_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_is_an_item_of_a_list() {
        let of = |name, unit, local| Policy { name, quota: 100, window_seconds: 60, unit, local };
        assert_eq!(policies([of("key", Unit::Request, false)]), r#""key";q=100;w=60"#);
        assert_eq!(
            policies([of("key", Unit::Request, true), of("key-cost", Unit::Cost, false)]),
            r#""key";q=100;w=60;velvet-local, "key-cost";q=100;w=60;qu="cost""#
        );
        let standing = |name, remaining| Standing { name, remaining, reset_seconds: 30 };
        assert_eq!(standings([standing("key", 50), standing("quota", 0)]), r#""key";r=50;t=30, "quota";r=0;t=30"#);
        assert_eq!(standings([standing("key", u64::MAX)]), r#""key";r=999999999999999;t=30"#);
        assert_eq!(standings([]), "");
    }
}
