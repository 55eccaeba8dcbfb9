//! What a key may call: `<subgraph>:<query|mutation|subscription>`, or `*` for everything.

/// Everything.
pub const ALL: &str = "*";

/// What a root field asks for: the subgraphs that offer it, any of which may give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// The scopes of which one is enough. Empty for what no subgraph offers: only [`ALL`] covers that.
    pub any_of: Vec<String>,
}

impl Needed {
    /// Whether those scopes are enough.
    pub fn is_covered_by<S: AsRef<str>>(&self, held: &[S]) -> bool {
        held.iter().any(|held| held.as_ref() == ALL || self.any_of.iter().any(|needed| needed == held.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_the_scopes_or_all_is_enough() {
        let needed = Needed { any_of: vec!["accounts:query".to_owned(), "matching:query".to_owned()] };
        assert!(needed.is_covered_by(&["matching:query"]));
        assert!(needed.is_covered_by(&["x:query", "*"]));
        assert!(!needed.is_covered_by(&["matching:mutation", "accounts"]));
        assert!(!needed.is_covered_by::<&str>(&[]));
        let nobodys = Needed { any_of: Vec::new() };
        assert!(nobodys.is_covered_by(&["*"]) && !nobodys.is_covered_by(&["matching:query"]));
    }
}
