use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json_bytes::json;

use super::*;

const WIDE: Bounds = Bounds {
    body_bytes: 1_000_000,
    tokens: 10_000,
    depth: 100,
    root_fields: 100,
    fields: 10_000,
    aliases: 1_000,
    directives: 100,
    page: 100,
    cost: 1_000_000,
};

/// One of the bounds.
type Bound = fn(&mut Bounds) -> &mut u64;

fn parse(text: &str) -> Result<Document, Unread> {
    Document::parse(text, WIDE.tokens)
}

fn shape(text: &str) -> Shape {
    parse(text).unwrap().shape().clone()
}

fn code(text: &str) -> Code {
    match parse(text) {
        Err(Unread::Refused(refusal)) => refusal.code,
        other => panic!("a refusal was expected: {other:?}"),
    }
}

fn variables(value: &Value) -> JsonMap {
    value.as_object().unwrap().clone()
}

#[test]
fn what_stands_in_a_text_is_counted() {
    let shape =
        shape("query($n: Int @a) @b { x: me { ...F ... @c { y: id } } me { id @d } } fragment F on U @e { z { q } }");
    assert_eq!((shape.depth, shape.fields, shape.root_fields), (3, 6, 2));
    assert_eq!((shape.aliases, shape.directives), (2, 5));
    assert!(!shape.introspects);
}

#[test]
fn a_fragment_counts_as_often_as_it_is_spread() {
    let shape = shape("{ ...A ...A } fragment A on Query { ...B ...B } fragment B on Query { a: me { id } }");
    assert_eq!((shape.fields, shape.root_fields, shape.aliases, shape.depth), (8, 4, 4, 2));
}

#[test]
fn fragments_that_double_each_time_are_counted_at_once() {
    let mut text = "{ ...F0 }".to_owned();
    for number in 0..120 {
        let _ = write!(text, " fragment F{number} on Query {{ ...F{} ...F{} }}", number + 1, number + 1);
    }
    // Whether the last one is there or not.
    assert_eq!(shape(&text).fields, u64::MAX);
    text.push_str(" fragment F120 on Query { a }");
    assert_eq!(shape(&text).fields, u64::MAX);
}

#[test]
fn a_fragment_that_contains_itself_is_refused() {
    for text in [
        "{ ...A } fragment A on Query { ...A }",
        "{ ...A } fragment A on Query { me { ...B } } fragment B on U { ... { ...C } } fragment C on U { ...A }",
        "{ me } fragment A on Query { ...B } fragment B on Query { ...A }",
    ] {
        assert_eq!(code(text), Code::FragmentCycle, "{text}");
    }
    // The same one from two sides is no cycle.
    shape("{ ...A ...B } fragment A on Query { ...C } fragment B on Query { ...C ...A } fragment C on Query { me }");
}

#[test]
fn nesting_is_bounded_in_the_text_and_with_fragments_written_out() {
    let nested = |levels: usize| format!("{{ {} a {} }}", "a {".repeat(levels), "}".repeat(levels));
    assert_eq!(shape(&nested(90)).depth, 91);
    assert_eq!(code(&nested(5_000 / 2)), Code::OperationTooDeep);
    let chain = |levels: usize| {
        (0..levels).fold("{ ...F0 }".to_owned(), |mut text, number| {
            let _ = write!(text, " fragment F{number} on Q {{ ...F{} }}", number + 1);
            text
        })
    };
    assert!(parse(&chain(200)).is_ok());
    assert_eq!(code(&chain(400)), Code::OperationTooDeep);
}

#[test]
fn what_stands_twice_is_refused() {
    for text in [
        "{ a(x: 1, x: 2) }",
        "{ a(x: { y: 1, y: 2 }) }",
        "{ a(x: [{ y: { z: 1, z: 1 } }]) }",
        "{ a @skip(if: true, if: false) }",
        "query($v: I = { y: 1, y: 2 }) { a }",
    ] {
        assert_eq!(code(text), Code::DuplicateArgument, "{text}");
    }
}

#[test]
fn a_text_of_many_tokens_is_left_at_the_bound() {
    let text = "{ a b }";
    let tokens = shape(text).tokens;
    assert!(Document::parse(text, tokens).is_ok());
    let Err(Unread::Refused(refusal)) = Document::parse(text, tokens - 1) else { panic!() };
    assert_eq!(refusal, Refusal::beyond(Code::TooManyTokens, tokens - 1, tokens));
    assert_eq!(code(&"{".repeat(1 << 20)), Code::TooManyTokens);
    assert_eq!(code(&"{a".repeat(1 << 19)), Code::OperationTooDeep);
    assert_eq!(code(&"a ".repeat(1 << 19)), Code::TooManyTokens);
}

#[test]
fn each_bound_lets_its_own_number_pass_and_no_more() {
    let document = parse("{ x: a { b(first: 10) @c } d }").unwrap();
    let exact = Bounds {
        tokens: document.shape().tokens,
        depth: 2,
        root_fields: 2,
        fields: 3,
        aliases: 1,
        directives: 1,
        page: 10,
        ..WIDE
    };
    assert_eq!(exact.admit(&document, &JsonMap::new()), Ok(()));
    let narrower: [(Bound, Code); 7] = [
        (|bounds| &mut bounds.tokens, Code::TooManyTokens),
        (|bounds| &mut bounds.depth, Code::OperationTooDeep),
        (|bounds| &mut bounds.root_fields, Code::TooManyRootFields),
        (|bounds| &mut bounds.fields, Code::TooManyFields),
        (|bounds| &mut bounds.aliases, Code::TooManyAliases),
        (|bounds| &mut bounds.directives, Code::TooManyDirectives),
        (|bounds| &mut bounds.page, Code::ListTooLarge),
    ];
    for (bound, code) in narrower {
        let mut bounds = exact.clone();
        *bound(&mut bounds) -= 1;
        let limit = *bound(&mut bounds);
        assert_eq!(bounds.admit(&document, &JsonMap::new()), Err(Refusal::beyond(code, limit, limit + 1)));
    }
}

#[test]
fn a_pages_size_is_found_wherever_it_is_said() {
    let admit =
        |text: &str, values: &Value| WIDE.admit(&parse(text).unwrap(), &variables(values)).map_err(|r| r.actual);
    let too_large = Err(Some(101));
    assert_eq!(admit("{ a(first: 100, last: 100) }", &json!({})), Ok(()));
    assert_eq!(admit("{ a { b(last: 101) } }", &json!({})), too_large);
    assert_eq!(admit("{ a(page: { first: 101 }) }", &json!({})), too_large);
    assert_eq!(admit("query($n: Int) { a(first: $n) }", &json!({ "n": 101 })), too_large);
    assert_eq!(admit("query($n: Int) { a(first: $n) }", &json!({ "n": 101.0 })), too_large);
    assert_eq!(admit("query($n: Int = 101) { a(first: $n) }", &json!({})), too_large);
    assert_eq!(admit("query($p: P) { a(page: $p) }", &json!({ "p": { "first": 101 } })), too_large);
    assert_eq!(admit("query($n: Int) { a(age: $n) }", &json!({ "n": 101 })), Ok(()), "another argument");
    assert_eq!(admit("{ a(first: -5) }", &json!({})), Ok(()), "the subgraph refuses it in its own words");
    let huge = parse("{ a(first: 99999999999999999999999) }").unwrap();
    assert_eq!(WIDE.admit(&huge, &JsonMap::new()).unwrap_err().actual, Some(u64::MAX));
}

#[test]
fn asking_for_the_schema_is_noticed_wherever_it_stands() {
    for text in ["{ __schema { types { name } } }", "{ ...F } fragment F on Query { x: __type(name: \"A\") { name } }"]
    {
        assert!(shape(text).introspects, "{text}");
    }
    assert!(!shape("{ __typename me { __typename } }").introspects);
    assert_eq!(shape("{ __schema { types { fields { type { name } } } } }").depth, 1);
}

#[test]
fn the_operation_that_is_meant_is_found_by_its_name() {
    let document = parse("query A { a } query B { b { c } }").unwrap();
    assert!(document.operation(Some("B")).is_some());
    assert!(document.operation(Some("C")).is_none() && document.operation(None).is_none());
    assert_eq!(document.shape().depth, 2, "each of them is bounded");
    assert!(parse("{ a }").unwrap().operation(None).is_some());
}

#[test]
fn a_body_is_one_operation_and_has_no_key_twice() {
    let body = Body::parse(br#" {"query":"{a}","operationName":null,"variables":{"a":[1,{"b":2.5}]},"x":1}"#).unwrap();
    assert_eq!(body.query.as_deref(), Some("{a}"));
    assert_eq!(body.variables.unwrap().get("a"), Some(&json!([1, { "b": 2.5 }])));
    let refused = |text: &str| match Body::parse(text.as_bytes()) {
        Err(Unread::Refused(refusal)) => refusal.code,
        other => panic!("a refusal was expected: {other:?}"),
    };
    assert_eq!(refused(" \n[{\"query\":\"{a}\"}]"), Code::BatchRefused);
    assert_eq!(refused(r#"{"query":"{a}","query":"{b}"}"#), Code::DuplicateKey);
    assert_eq!(refused(r#"{"query":"{a}","variables":{"a":[{"b":1,"\u0062":2}]}}"#), Code::DuplicateKey);
    for text in ["", "{", "7", r#"{"query":7}"#, &"[".repeat(100_000)[..0], &format!("{{\"a\":{}", "[".repeat(100_000))]
    {
        assert_eq!(Body::parse(text.as_bytes()), Err(Unread::Malformed), "{text:.40}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_in_bounded_time(text in "[{}()@.:$\"\\[\\]a-cfirst0-9 \n#]{0,400}") {
        let _ = Document::parse(&text, 300);
    }

    #[test]
    fn any_bytes_are_a_body_or_are_not(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Body::parse(&bytes);
    }
}
