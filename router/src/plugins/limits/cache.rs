//! Documents by their text.

use std::sync::Arc;

use parking_lot::Mutex;
use velvet_edge::limits::Document;

use crate::plugins::recent::Recent;

/// Longer texts are parsed each time: the cache is bounded by number, and its entries have to be small for that.
const CACHED_TEXT_BYTES_MAX: usize = 16 * 1024;

pub(super) struct Documents(Mutex<Recent<Arc<str>, Arc<Document>>>);

impl Documents {
    pub(super) fn new(documents_max: usize) -> Self {
        Self(Mutex::new(Recent::new(documents_max)))
    }

    pub(super) fn get(&self, text: &str) -> Option<Arc<Document>> {
        self.0.lock().get(text).cloned()
    }

    pub(super) fn put(&self, text: &str, document: &Arc<Document>) {
        if text.len() <= CACHED_TEXT_BYTES_MAX {
            self.0.lock().put(text, Arc::clone(document));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let documents = Documents::new(4);
        let document = Arc::new(Document::parse("{ a }", 100).unwrap());
        documents.put("used", &document);
        for text in ["a", "b", "c", "d", "e"] {
            documents.put(text, &document);
            assert!(documents.get("used").is_some(), "after {text}");
        }
        assert!(documents.get("a").is_none());
        documents.put(&"x".repeat(CACHED_TEXT_BYTES_MAX + 1), &document);
        assert!(documents.get(&"x".repeat(CACHED_TEXT_BYTES_MAX + 1)).is_none());
    }
}
