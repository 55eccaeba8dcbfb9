//! The planner's small changes to what goes into a fetch and what comes out of it.

use std::sync::Arc;

use apollo_compiler::Schema;
use apollo_federation::query_plan::{FetchDataPathElement, FetchDataRewrite};
use serde_json_bytes::{ByteString, Value};

use super::Object;
use super::path::select_mut;

pub(in super::super) fn apply(schema: &Schema, data: &mut Value, rewrites: &[Arc<FetchDataRewrite>]) {
    for rewrite in rewrites {
        let path = match &**rewrite {
            FetchDataRewrite::ValueSetter(setter) => &setter.path,
            FetchDataRewrite::KeyRenamer(renamer) => &renamer.path,
        };
        // Both name a field, so a path that ends in anything else changes nothing.
        if let Some((FetchDataPathElement::Key(key, _), parents)) = path.split_last() {
            select_mut(schema, data, parents, &mut |parent| {
                if let Some(object) = parent.as_object_mut() {
                    change(object, key, rewrite);
                }
            });
        }
    }
}

fn change(object: &mut Object, key: &str, rewrite: &FetchDataRewrite) {
    match rewrite {
        FetchDataRewrite::ValueSetter(setter) => {
            if let Some(value) = object.get_mut(key) {
                *value = setter.set_value_to.clone();
            }
        }
        FetchDataRewrite::KeyRenamer(renamer) => {
            if let Some(value) = object.remove(key) {
                object.insert(ByteString::from(renamer.rename_key_to.as_str()), value);
            }
        }
    }
}
