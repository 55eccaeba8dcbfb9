//! Which limits hold for a call, and where each is counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tower::BoxError;
use velvet_edge::rate::Limit;
use velvet_edge::rate::fields::Unit;
use velvet_edge::sha256_hex;

use super::super::config::Audience;
use super::config::{Per, Rate, RatesConfig};
use super::month::Month;
use crate::plugins::partners::Caller;

/// Who asks: a partner by its key, a user by its token, or an address.
#[derive(Clone, Default)]
pub struct Who {
    /// The partner.
    pub caller: Option<Arc<Caller>>,
    /// The token's subject.
    pub viewer: Option<Arc<str>>,
    /// Where it comes from, if that is known.
    pub address: Option<Arc<str>>,
}

impl Who {
    /// Whose bounds hold.
    pub fn audience(&self) -> Audience {
        match self {
            Self { caller: Some(_), .. } => Audience::Partner,
            Self { viewer: Some(_), .. } => Audience::User,
            _ => Audience::Anonymous,
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct Call<'c> {
    /// One, or none when it is counted already.
    pub(in super::super) requests: u64,
    /// The estimated cost, as far as it is known.
    pub(in super::super) cost: u64,
    /// The operation's name.
    pub(in super::super) name: Option<&'c str>,
    /// The operation's text.
    pub(in super::super) text: Option<&'c str>,
    /// The id that the operation was called by.
    pub(in super::super) id: Option<&'c str>,
}

/// Units that a call draws from one bucket.
#[derive(Debug)]
pub(super) struct Draw {
    /// The policy's name.
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) key: String,
    pub(super) limit: Limit,
    pub(super) units: u64,
    /// Units for calls to come, drawn with it.
    pub(super) ahead: u64,
}

/// A request that a call draws from its partner's quota.
#[derive(Debug, Clone)]
pub(super) struct Quota {
    pub(super) partner_id: Arc<str>,
    pub(super) counter: String,
    pub(super) limit: u64,
    pub(super) month: Month,
}

/// What is drawn from keys of one hash tag, all or nothing.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) draws: Vec<Draw>,
    pub(super) quota: Option<Quota>,
}

/// The limits as they are configured.
pub(super) struct Policies {
    viewer: Pair,
    address: Pair,
    operations: BTreeMap<String, Operation>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Pair {
    requests: Option<Limit>,
    cost: Option<Limit>,
}

struct Operation {
    per: Per,
    pair: Pair,
}

/// The policies' names: of requests, and of cost.
type Names = [&'static str; 2];

const OF_KEY: Names = ["key", "key-cost"];
const OF_VIEWER: Names = ["viewer", "viewer-cost"];
const OF_ADDRESS: Names = ["address", "address-cost"];
const OF_OPERATION: Names = ["operation", "operation-cost"];

/// The name of a quota's policy.
pub(super) const QUOTA: &str = "quota";

impl Policies {
    pub(super) fn new(config: &RatesConfig) -> Result<Self, BoxError> {
        let of = |requests: Option<Rate>, cost: Option<Rate>| -> Result<Pair, BoxError> {
            Ok(Pair {
                requests: requests.map(|rate| rate.limit()).transpose()?,
                cost: cost.map(|rate| rate.limit()).transpose()?,
            })
        };
        let operations = config.operations.iter().map(|(name, operation)| {
            let pair = of(operation.requests, operation.cost)?;
            Ok::<_, BoxError>((name.clone(), Operation { per: operation.per, pair }))
        });
        Ok(Self {
            viewer: of(config.per_viewer.requests, config.per_viewer.cost)?,
            address: match &config.per_address {
                Some(address) => of(address.requests, address.cost)?,
                None => Pair::default(),
            },
            operations: operations.collect::<Result<_, _>>()?,
        })
    }

    /// What a call draws, in groups that are drawn from at the same time.
    pub(super) fn groups(&self, who: &Who, call: &Call) -> Vec<Group> {
        let mut groups = Vec::with_capacity(1);
        // Where the caller's own calls of one operation are counted: the hash tag is that of the last group.
        let mut own = "{nobody}".to_owned();
        if let Some(caller) = &who.caller {
            own = format!("{{{}}}:key:{}", caller.partner_id, caller.prefix);
            let mut group = Group { quota: quota(caller, call), ..Group::default() };
            group.draw(&own, OF_KEY, of_partner(caller), call);
            groups.push(group);
        } else {
            for (kind, who, names, pair) in
                [("address", &who.address, OF_ADDRESS, self.address), ("viewer", &who.viewer, OF_VIEWER, self.viewer)]
            {
                if let Some(who) = who {
                    own = format!("{{{kind}:{who}}}");
                    let mut group = Group::default();
                    group.draw(&own, names, pair, call);
                    groups.push(group);
                }
            }
        }
        self.add_operations(&mut groups, &own, call);
        groups.retain(|group| !group.draws.is_empty() || group.quota.is_some());
        groups
    }

    fn add_operations(&self, groups: &mut Vec<Group>, own: &str, call: &Call) {
        if self.operations.is_empty() {
            return;
        }
        if groups.is_empty() {
            groups.push(Group::default());
        }
        let last = groups.len() - 1;
        let hash = call.text.map(|text| sha256_hex(text.as_bytes()));
        let id = call.id.filter(|id| hash.as_deref() != Some(id));
        for called in [call.name, hash.as_deref(), id].into_iter().flatten() {
            let Some(operation) = self.operations.get(called) else { continue };
            match operation.per {
                Per::Everybody => {
                    let mut group = Group::default();
                    group.draw(&format!("{{operation:{called}}}"), OF_OPERATION, operation.pair, call);
                    groups.push(group);
                }
                Per::Caller => {
                    groups[last].draw(&format!("{own}:operation:{called}"), OF_OPERATION, operation.pair, call);
                }
            }
        }
    }
}

impl Group {
    /// Nothing is drawn ahead of calls to come; whether something was to be.
    pub(super) fn forgo_ahead(&mut self) -> bool {
        let was_to_draw = self.draws.iter().any(|draw| draw.ahead > 0);
        for draw in &mut self.draws {
            draw.ahead = 0;
        }
        was_to_draw
    }

    fn draw(&mut self, of: &str, names: Names, pair: Pair, call: &Call) {
        let of_requests = (names[0], Unit::Request, pair.requests, call.requests);
        let of_cost = (names[1], Unit::Cost, pair.cost, call.cost);
        for (name, unit, limit, units) in [of_requests, of_cost] {
            // What is counted already has nothing more to draw but its cost.
            let Some(limit) = limit.filter(|_| units > 0 || call.requests > 0) else { continue };
            let mut key = String::with_capacity(of.len() + 24);
            let _ = write!(key, "router:rate:{of}:{}", if unit == Unit::Cost { "cost" } else { "requests" });
            self.draws.push(Draw { name, unit, key, limit, units, ahead: 0 });
        }
    }
}

fn of_partner(caller: &Caller) -> Pair {
    let limits = &caller.limits;
    let limit = |units: u32, seconds, burst: u32| {
        Limit::new(units.max(1).into(), Duration::from_secs(seconds), burst.max(1).into())
    };
    Pair {
        requests: limit(limits.requests_per_second, 1, limits.burst),
        cost: limit(limits.cost_per_minute, 60, limits.cost_per_minute),
    }
}

fn quota(caller: &Caller, call: &Call) -> Option<Quota> {
    if call.requests == 0 {
        return None;
    }
    let month = Month::now();
    let counter = format!("router:quota:{{{}}}:{}", caller.partner_id, month.name);
    Some(Quota { partner_id: Arc::clone(&caller.partner_id), counter, limit: caller.limits.monthly_quota, month })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(config: &str) -> Policies {
        Policies::new(&serde_yaml::from_str(config).unwrap()).unwrap()
    }

    fn keys(groups: &[Group]) -> Vec<Vec<&str>> {
        groups.iter().map(|group| group.draws.iter().map(|draw| draw.key.as_str()).collect()).collect()
    }

    const CALL: Call<'_> = Call { requests: 1, cost: 3, name: Some("Deck"), text: Some("{ a }"), id: None };

    #[test]
    fn keys_that_are_drawn_from_together_have_one_hash_tag() {
        let rates = "{requests: {count: 1}, cost: {count: 9, seconds: 60}}";
        let operations = "{Deck: {requests: {count: 2}}, Other: {requests: {count: 3}}}";
        let policies = policies(&format!("{{per_viewer: {rates}, operations: {operations}}}"));
        let alice = Who { viewer: Some("alice".into()), address: Some("192.0.2.1".into()), caller: None };
        let groups = policies.groups(&alice, &CALL);
        let of_alice = [
            "router:rate:{viewer:alice}:requests",
            "router:rate:{viewer:alice}:cost",
            "router:rate:{viewer:alice}:operation:Deck:requests",
        ];
        assert_eq!(keys(&groups), [of_alice], "addresses are not limited unless it is configured");
        assert_eq!(groups[0].draws[1].units, 3);
        let anon = policies.groups(&Who::default(), &CALL);
        assert_eq!(keys(&anon), [["router:rate:{nobody}:operation:Deck:requests"]]);
        let owed = policies.groups(&alice, &Call { requests: 0, name: None, ..CALL });
        assert_eq!(keys(&owed), [["router:rate:{viewer:alice}:cost"]]);
    }

    #[test]
    fn an_operation_is_meant_by_its_name_its_hash_or_its_id() {
        let hash = sha256_hex(b"{ a }");
        for called in ["Deck", hash.as_str(), "id-7"] {
            let operations = format!("{{\"{called}\": {{per: everybody, cost: {{count: 5}}}}}}");
            let policies = policies(&format!("{{operations: {operations}}}"));
            let groups = policies.groups(&Who::default(), &Call { id: Some("id-7"), ..CALL });
            assert_eq!(keys(&groups), [[format!("router:rate:{{operation:{called}}}:cost").as_str()]]);
            assert!(policies.groups(&Who::default(), &Call { name: None, text: None, ..CALL }).is_empty());
        }
    }
}
