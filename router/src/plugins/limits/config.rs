//! Configuration of `velvet.limits`. `docs/limits.md` has the bounds in a table.

use schemars::JsonSchema;
use serde::Deserialize;
use velvet_edge::limits::Bounds;

use super::rate::RatesConfig;

/// What requests may hold and cost, and how many there may be at once.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Whether clients may ask for the schema; `supergraph.introspection` must be on as well.
    pub introspection: bool,
    /// Requests that are worked on at once; beyond, a request is answered with 503. Nothing is queued.
    pub requests_in_flight_max: usize,
    /// Documents kept with what was counted in them, by their text.
    pub documents_cached_max: usize,
    /// For callers without a token.
    pub anonymous: BoundsConfig,
    /// For callers with a token.
    pub user: BoundsConfig,
    /// For partners' keys.
    pub partner: BoundsConfig,
    /// How often callers may ask.
    pub rates: RatesConfig,
}

/// The bounds of one audience; what is not stated has the audience's default.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BoundsConfig {
    /// Bytes of a request's body; at most `limits.router.http_max_request_bytes`.
    pub body_bytes: Option<u64>,
    /// Tokens of the text, white space counted; at most `limits.router.parser_max_tokens`.
    pub tokens: Option<u64>,
    /// Fields within fields.
    pub depth: Option<u64>,
    /// Fields at the root.
    pub root_fields: Option<u64>,
    /// All fields, with fragments written out.
    pub fields: Option<u64>,
    /// Fields with an alias, with fragments written out.
    pub aliases: Option<u64>,
    /// Directives applied, with fragments written out.
    pub directives: Option<u64>,
    /// Entries of one page, as `first` or `last` asks for them.
    pub page: Option<u64>,
    /// The estimated cost.
    pub cost: Option<u64>,
}

/// Whose bounds hold for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// No token.
    Anonymous,
    /// A good token.
    User,
    /// A partner's key.
    Partner,
}

/// The bounds of each audience, as configured.
#[derive(Debug)]
pub(super) struct Audiences([Bounds; 3]);

const ANONYMOUS: Bounds = Bounds {
    body_bytes: 64 * 1024,
    tokens: 2_000,
    depth: 10,
    root_fields: 10,
    fields: 500,
    aliases: 15,
    directives: 25,
    page: 100,
    cost: 1_000,
};

const USER: Bounds = Bounds {
    body_bytes: 256 * 1024,
    tokens: 8_000,
    depth: 15,
    root_fields: 20,
    fields: 2_000,
    aliases: 30,
    directives: 50,
    page: 100,
    cost: 10_000,
};

const PARTNER: Bounds = Bounds { cost: 20_000, ..USER };

impl Audience {
    /// The most that a call may cost where the configuration says nothing else.
    pub const fn default_cost_max(self) -> u64 {
        match self {
            Self::Anonymous => ANONYMOUS.cost,
            Self::User => USER.cost,
            Self::Partner => PARTNER.cost,
        }
    }
}

impl Audiences {
    pub(super) fn of(config: &LimitsConfig) -> Self {
        Self([config.anonymous.over(&ANONYMOUS), config.user.over(&USER), config.partner.over(&PARTNER)])
    }

    pub(super) fn bounds(&self, audience: Audience) -> &Bounds {
        &self.0[audience as usize]
    }
}

impl BoundsConfig {
    fn over(&self, defaults: &Bounds) -> Bounds {
        Bounds {
            body_bytes: self.body_bytes.unwrap_or(defaults.body_bytes),
            tokens: self.tokens.unwrap_or(defaults.tokens),
            depth: self.depth.unwrap_or(defaults.depth),
            root_fields: self.root_fields.unwrap_or(defaults.root_fields),
            fields: self.fields.unwrap_or(defaults.fields),
            aliases: self.aliases.unwrap_or(defaults.aliases),
            directives: self.directives.unwrap_or(defaults.directives),
            page: self.page.unwrap_or(defaults.page),
            cost: self.cost.unwrap_or(defaults.cost),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            introspection: false,
            requests_in_flight_max: 4_096,
            documents_cached_max: 1_024,
            anonymous: BoundsConfig::default(),
            user: BoundsConfig::default(),
            partner: BoundsConfig::default(),
            rates: RatesConfig::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stated_holds_and_the_rest_is_the_audiences_default() {
        let config: LimitsConfig = serde_yaml::from_str("{user: {depth: 3}}").unwrap();
        let audiences = Audiences::of(&config);
        assert_eq!(audiences.bounds(Audience::User), &Bounds { depth: 3, ..USER });
        assert_eq!(audiences.bounds(Audience::Anonymous), &ANONYMOUS);
        assert_eq!(audiences.bounds(Audience::Partner), &PARTNER);
        assert!(!config.introspection);
    }

    #[test]
    fn an_unknown_option_is_refused() {
        for unknown in ["{usr: {}}", "{user: {dept: 3}}", "{user: {depth: -1}}"] {
            assert!(serde_yaml::from_str::<LimitsConfig>(unknown).is_err(), "{unknown}");
        }
    }
}
