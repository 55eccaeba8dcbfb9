use serde_json::Value;

use super::*;

fn read(text: &str) -> Result<(Tree, Id), Odd> {
    let mut tree = Tree::new();
    let root = tree.read(text.as_bytes())?;
    Ok((tree, root))
}

fn written(tree: &Tree, id: Id) -> String {
    let mut bytes = Vec::new();
    tree.write(id, &mut bytes);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn what_is_read_is_written_again() {
    for text in [
        r#"{"a":[1,-2.5,1e3,true,false,null,"x\n\u00e9\"ü"],"b":{},"c":[],"d":{"e":{"f":""}}}"#,
        "12345678901234567890",
        "[[[]],[{}]]",
    ] {
        let (tree, root) = read(text).unwrap();
        assert_eq!(written(&tree, root), text);
    }
    let (tree, root) = read(" { \"a\" : [ 1 , 2 ] } \n").unwrap();
    assert_eq!(written(&tree, root), r#"{"a":[1,2]}"#);
}

#[test]
fn it_takes_nothing_that_is_not_json_and_less_than_all_that_is() {
    let mut odd = vec![
        "",
        "{",
        "}",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "nul",
        "tru",
        "\"",
        "\"\\",
        "\"\n\"",
        "\"\\x\"",
        "\"\\ud800\"",
        "1 2",
        "[1 2]",
        "{\"a\" 1}",
        "{\"a\":1,\"a\":2}",
        "{\"\\u0061\":1}",
        "1e999",
        "-",
    ];
    let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
    odd.push(&deep);
    for text in odd {
        assert!(read(text).is_err(), "{text}");
    }
    assert!(Tree::new().read(b"\"\xff\"").is_err());
}

/// What was cut or changed anywhere is refused by both readers, or read alike.
#[test]
fn it_reads_as_others_do_wherever_a_text_is_broken() {
    let text = r#"{"data":{"a":[{"b":"x\u00e9\\","c":-1.5e3},null],"d":true},"e":[]}"#;
    for at in 0..text.len() {
        for with in ["", "\"", "{", "]", ",", "0", "\\", "e", " "] {
            let broken = format!("{}{with}{}", &text[..at], &text[at + 1..]);
            if let Ok((tree, root)) = read(&broken) {
                let expected: Value = serde_json::from_str(&broken).unwrap();
                assert_eq!(serde_json::from_str::<Value>(&written(&tree, root)).unwrap(), expected, "{broken}");
            }
        }
    }
}

#[test]
fn an_entity_gets_what_another_subgraph_adds() {
    let (mut tree, into) = read(r#"{"__typename":"A","id":1,"in":{"x":1},"list":[{"y":1},{"y":2}]}"#).unwrap();
    let from = tree.read(br#"{"__typename":"A","id":null,"in":{"z":2,"x":3},"list":[{"w":1},{"w":2}],"new":[1]}"#);
    let from = from.unwrap();
    let copy = tree.copied(from);
    tree.merge(into, from).unwrap();
    let expected = r#"{"__typename":"A","id":1,"in":{"x":3,"z":2},"list":[{"y":1,"w":1},{"y":2,"w":2}],"new":[1]}"#;
    assert_eq!(written(&tree, into), expected);
    assert_eq!(
        written(&tree, copy),
        r#"{"__typename":"A","id":null,"in":{"z":2,"x":3},"list":[{"w":1},{"w":2}],"new":[1]}"#
    );
    for (one, other) in [
        (r#"{"__typename":"A"}"#, r#"{"__typename":"B"}"#),
        (r#"{"a":null}"#, r#"{"a":{}}"#),
        (r#"{"a":[1]}"#, r#"{"a":[1,2]}"#),
        (r#"{"a":[]}"#, r#"{"a":{}}"#),
    ] {
        let (mut tree, into) = read(one).unwrap();
        let other = tree.read(other.as_bytes()).unwrap();
        assert!(tree.merge(into, other).is_err());
    }
}
