//! Configuration of `velvet.executor`.

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::Deserialize;

/// Which operations the router runs itself, and how it asks subgraphs for them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExecutorConfig {
    /// Which operations are run here; all others are Apollo Router's.
    pub operations: Operations,
    /// Headers that subgraphs get of the client's, under the same names: the same as `headers` says for Apollo Router.
    pub propagate: Vec<String>,
    /// How long one request to a subgraph may take: the same as `traffic_shaping` says for Apollo Router.
    pub timeout_ms: u64,
    /// Operations that are kept ready; those unused for longest go first.
    pub operations_max: NonZeroUsize,
}

/// Which operations are run here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Operations {
    /// None.
    Apollo,
    /// Those of partners and of manifests that are called by id.
    Registered,
    /// Each that has run before, by whatever it is called.
    #[default]
    Known,
}

impl Default for ExecutorConfig {
    fn default() -> Self {
        Self {
            operations: Operations::default(),
            propagate: Vec::new(),
            timeout_ms: 15_000,
            operations_max: NonZeroUsize::new(2_048).unwrap_or(NonZeroUsize::MIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_is_refused_and_the_rest_has_defaults() {
        let config: ExecutorConfig = serde_yaml::from_str("{propagate: [authorization], operations: apollo}").unwrap();
        assert_eq!((config.operations, config.timeout_ms), (Operations::Apollo, 15_000));
        for unknown in ["operations: all", "timeout: 1s", "propagates: []"] {
            assert!(serde_yaml::from_str::<ExecutorConfig>(unknown).is_err(), "{unknown}");
        }
    }
}
