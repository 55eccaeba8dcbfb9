//! Documents by their text. Two halves: when the young one is full it becomes the old one, and what is in neither is
//! parsed again. So a flood of texts costs no search for the one to drop.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use velvet_edge::limits::Document;

/// Longer texts are parsed each time: the cache is bounded by number, and its entries have to be small for that.
const CACHED_TEXT_BYTES_MAX: usize = 16 * 1024;

pub(super) struct Documents {
    halves: Mutex<Halves>,
    half_max: usize,
}

#[derive(Default)]
struct Halves {
    young: HashMap<Arc<str>, Arc<Document>>,
    old: HashMap<Arc<str>, Arc<Document>>,
}

impl Documents {
    pub(super) fn new(documents_max: usize) -> Self {
        Self { halves: Mutex::default(), half_max: documents_max.div_ceil(2).max(1) }
    }

    pub(super) fn get(&self, text: &str) -> Option<Arc<Document>> {
        let mut halves = self.halves.lock();
        if let Some(document) = halves.young.get(text) {
            return Some(Arc::clone(document));
        }
        let (text, document) = halves.old.remove_entry(text)?;
        self.put_young(&mut halves, text, Arc::clone(&document));
        Some(document)
    }

    pub(super) fn put(&self, text: &str, document: &Arc<Document>) {
        if text.len() <= CACHED_TEXT_BYTES_MAX {
            self.put_young(&mut self.halves.lock(), text.into(), Arc::clone(document));
        }
    }

    fn put_young(&self, halves: &mut Halves, text: Arc<str>, document: Arc<Document>) {
        if halves.young.len() >= self.half_max {
            halves.old = std::mem::take(&mut halves.young);
        }
        halves.young.insert(text, document);
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
