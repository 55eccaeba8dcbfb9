//! Whether several routers say the same.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::turns::Caller;

/// Of so many people, each router's answer is compared.
pub const PEOPLE: usize = 5;

/// Fails unless all have the same data, whatever the order of their keys. The mean size of the first one's answers.
pub async fn answers(callers: &[(&str, Caller)]) -> Result<usize> {
    let mut bytes = 0;
    for person in 0..PEOPLE {
        let mut first: Option<(&str, Value)> = None;
        for (label, caller) in callers {
            let (size, data) = answer(caller, person).await.with_context(|| format!("asking {label}"))?;
            let Some((other, expected)) = &first else {
                bytes += size;
                first = Some((*label, data));
                continue;
            };
            if let Some(place) = difference(expected, &data, "data") {
                bail!("{label} does not say what {other} says: {place}");
            }
        }
    }
    Ok(bytes / PEOPLE)
}

/// How long it is, and its data.
async fn answer(caller: &Caller, person: usize) -> Result<(usize, Value)> {
    let (status, text) = caller.ask(person).await?;
    let mut answer: Value = serde_json::from_slice(&text)
        .with_context(|| format!("status {status}: {}", String::from_utf8_lossy(&text)))?;
    ensure!(status == 200 && answer.get("errors").is_none(), "status {status}: {answer}");
    ensure!(answer["data"][caller.field].is_object(), "no {}: {answer}", caller.field);
    Ok((text.len(), answer["data"].take()))
}

/// The first place at which they differ.
fn difference(one: &Value, other: &Value, place: &str) -> Option<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let missing = other.keys().find(|key| !one.contains_key(*key));
            if let Some(key) = missing {
                return Some(format!("{place}.{key} is there"));
            }
            one.iter().find_map(|(key, value)| match other.get(key) {
                Some(other) => difference(value, other, &format!("{place}.{key}")),
                None => Some(format!("{place}.{key} is not there")),
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let mut pairs = one.iter().zip(other).enumerate();
            pairs.find_map(|(index, (one, other))| difference(one, other, &format!("{place}.{index}")))
        }
        (Value::Array(one), Value::Array(other)) => {
            Some(format!("{place} has {} entries, not {}", other.len(), one.len()))
        }
        _ => (one != other).then(|| format!("{place} is {other}, not {one}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_order_of_keys_is_no_difference() {
        let one: Value = serde_json::from_str(r#"{"a":[{"b":1,"c":null}],"d":2}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"d":2,"a":[{"c":null,"b":1}]}"#).unwrap();
        assert_eq!(difference(&one, &other, "data"), None);
    }

    #[test]
    fn what_differs_is_named_by_its_place() {
        let one = json!({ "a": [{ "b": 1 }] });
        let found = |other: Value| difference(&one, &other, "data").unwrap();
        assert_eq!(found(json!({ "a": [{ "b": 2 }] })), "data.a.0.b is 2, not 1");
        assert_eq!(found(json!({ "a": [] })), "data.a has 0 entries, not 1");
        assert_eq!(found(json!({ "a": [{}] })), "data.a.0.b is not there");
        assert_eq!(found(json!({ "a": [{ "b": 1 }], "c": 1 })), "data.c is there");
        assert_eq!(found(json!({ "a": null })), "data.a is null, not [{\"b\":1}]");
    }
}
