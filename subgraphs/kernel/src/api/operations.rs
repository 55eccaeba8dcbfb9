//! Operations that were read and found valid before: a router sends the same few texts again and again.
//!
//! What makes an operation valid does not depend on its variables: those are judged as the resolvers read them.

use async_graphql::{
    ServerError, ServerResult, ValidationResult, Variables,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextParseQuery, NextPrepareRequest, NextValidation},
    parser::types::ExecutableDocument,
};
use async_trait::async_trait;
use moka::sync::Cache;
use parking_lot::Mutex;
use std::sync::Arc;

/// Texts that are remembered, in bytes together; read, they take some ten times that.
const TEXTS_SIZE_MAX: u64 = 1024 * 1024;

/// An operation that is valid.
struct Operation {
    /// Which of the text's operations it is, where that was said.
    name: Option<String>,
    document: ExecutableDocument,
    validity: ValidationResult,
}

/// Remembers the valid operations of a schema.
pub struct KnownOperations(Cache<String, Arc<Operation>>);

impl Default for KnownOperations {
    fn default() -> Self {
        let size = |text: &String, _: &Arc<Operation>| u32::try_from(text.len()).unwrap_or(u32::MAX);
        Self(Cache::builder().max_capacity(TEXTS_SIZE_MAX).weigher(size).build())
    }
}

impl ExtensionFactory for KnownOperations {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Reading { known: self.0.clone(), name: Mutex::default(), place: Mutex::default() })
    }
}

/// What is known of the operation of one request.
#[derive(Default)]
enum Place {
    #[default]
    Unread,
    Valid(ValidationResult),
    New(String, Box<ExecutableDocument>),
}

/// One request on its way to be executed.
struct Reading {
    known: Cache<String, Arc<Operation>>,
    name: Mutex<Option<String>>,
    place: Mutex<Place>,
}

#[async_trait]
impl Extension for Reading {
    async fn prepare_request(
        &self,
        ctx: &ExtensionContext<'_>,
        request: async_graphql::Request,
        next: NextPrepareRequest<'_>,
    ) -> ServerResult<async_graphql::Request> {
        self.name.lock().clone_from(&request.operation_name);
        next.run(ctx, request).await
    }

    async fn parse_query(
        &self,
        ctx: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        let known = self.known.get(query).filter(|operation| operation.name == *self.name.lock());
        if let Some(operation) = known {
            *self.place.lock() = Place::Valid(operation.validity);
            return Ok(operation.document.clone());
        }
        let document = next.run(ctx, query, variables).await?;
        *self.place.lock() = Place::New(query.to_owned(), Box::new(document.clone()));
        Ok(document)
    }

    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        let place = std::mem::take(&mut *self.place.lock());
        if let Place::Valid(validity) = place {
            return Ok(validity);
        }
        let validity = next.run(ctx).await?;
        if let Place::New(text, document) = place {
            let name = self.name.lock().clone();
            self.known.insert(text, Arc::new(Operation { name, document: *document, validity }));
        }
        Ok(validity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_graphql::{EmptyMutation, EmptySubscription, Object, Request, Schema};
    use serde_json::{Value, json};

    struct Query;

    #[Object]
    impl Query {
        async fn twice(&self, number: i32) -> i32 {
            number * 2
        }
    }

    const TWICE: &str = "query Twice($number: Int!) { twice(number: $number) }
        query Thrice($number: Int!) { one: twice(number: $number) two: twice(number: $number) }";

    async fn ask(schema: &Schema<Query, EmptyMutation, EmptySubscription>, name: &str, number: Value) -> Value {
        let request = Request::new(TWICE).operation_name(name);
        let request = request.variables(Variables::from_json(json!({ "number": number })));
        serde_json::to_value(schema.execute(request).await).unwrap()
    }

    #[tokio::test]
    async fn an_operation_that_is_known_answers_as_a_new_one_does() {
        let schema = Schema::build(Query, EmptyMutation, EmptySubscription).extension(KnownOperations::default());
        let schema = schema.finish();
        for number in 1..4 {
            assert_eq!(ask(&schema, "Twice", json!(number)).await["data"], json!({ "twice": number * 2 }));
            let both = json!({ "one": number * 2, "two": number * 2 });
            assert_eq!(ask(&schema, "Thrice", json!(number)).await["data"], both);
        }
    }

    #[tokio::test]
    async fn wrong_variables_of_a_known_operation_are_refused() {
        let schema = Schema::build(Query, EmptyMutation, EmptySubscription).extension(KnownOperations::default());
        let schema = schema.finish();
        for number in [json!("one"), json!(1), json!("one"), Value::Null] {
            let answer = ask(&schema, "Twice", number.clone()).await;
            assert_eq!(answer["errors"].is_null(), number == json!(1), "{answer}");
        }
    }

    #[tokio::test]
    async fn an_operation_that_is_not_valid_never_becomes_known() {
        let schema = Schema::build(Query, EmptyMutation, EmptySubscription).extension(KnownOperations::default());
        let schema = schema.finish();
        for _ in 0..2 {
            let answer = schema.execute(Request::new("{ thrice }")).await;
            assert!(answer.errors[0].message.contains("thrice"), "{answer:?}");
        }
    }
}
