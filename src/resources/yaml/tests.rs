//! Cases of reading YAML: what is understood, and how faults are told.

use std::fmt::Write;

use proptest::prelude::*;

use super::super::node::Value;
use super::builder::line_of;
use super::*;

fn source() -> Origin {
    Origin::file("f.yaml")
}

fn parsed(text: &str) -> Vec<Node> {
    parse(text, &source()).unwrap_or_else(|faults| panic!("{text:?}: {faults:?}"))
}

/// A tree in one line: keys with their line, values with theirs.
fn show(node: &Node) -> String {
    let line = line_of(&node.at);
    match &node.value {
        Value::List(items) => {
            let items: Vec<_> = items.iter().map(show).collect();
            format!("[{}]@{line}", items.join(" "))
        }
        Value::Map(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .map(|(key, node)| format!("{}@{}={}", key.name, line_of(&key.at), show(node)))
                .collect();
            format!("{{{}}}@{line}", entries.join(" "))
        }
        _ => format!("{}@{line}", node.describe()),
    }
}

#[test]
fn trees_keep_the_line_of_every_key_and_value() {
    let rows = [
        ("a: 1\nb:\n  - x\n  - 'y'\n", r#"{a@1=1@1 b@2=["x"@3 "y"@4]@3}@1"#),
        (
            "{\"a\": [1, 2.5, null],\n \"b\": {\"c\": false}}",
            "{a@1=[1@1 2.5@1 nothing@1]@1 b@2={c@2=false@2}@2}@1",
        ),
        ("a:\n\n\nb: ~\n", "{a@1=nothing@1 b@4=nothing@4}@1"),
        ("80: yes\ntrue: 'on'\n", r#"{80@1="yes"@1 true@2="on"@2}@1"#),
        ("a: |\n  one\n  two\nb: \"3\"\n", r#"{a@1="one\ntwo\n"@2 b@4="3"@4}@1"#),
        ("a: &x {p: 1}\nb: *x\n", "{a@1={p@1=1@1}@1 b@2={p@1=1@1}@1}@1"),
        ("\u{feff}a: 1\r\nb: 2\r\n", "{a@1=1@1 b@2=2@2}@1"),
        ("# only a comment\na: http://x:1 # here\n", r#"{a@2="http://x:1"@2}@2"#),
    ];
    for (text, expected) in rows {
        let documents = parsed(text);
        assert_eq!(documents.iter().map(show).collect::<Vec<_>>(), [expected], "{text:?}");
    }
}

#[test]
fn documents_are_counted_and_positions_run_on() {
    assert!(parsed("").is_empty());
    assert!(parsed("# nothing\n").is_empty());
    let documents = parsed("a: 1\n---\nb: 2\n---\n- c\n...\n");
    let shown: Vec<_> = documents.iter().map(show).collect();
    assert_eq!(shown, ["{a@1=1@1}@1", "{b@3=2@3}@3", r#"["c"@5]@5"#]);
}

#[test]
fn columns_are_characters_from_one() {
    let documents = parsed("é: {b: 1}");
    let b = documents[0].field("é").and_then(|node| node.field("b")).expect("it was written");
    assert_eq!(b.at, source().position(1, 8));
}

#[test]
fn faults_say_where_what_and_how_to_mend() {
    let rows = [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3: `a` is given twice; first on line 1"),
        ("x:\n  - y: {p: 1, p: 2}\n", "f.yaml:2: x[0].y: `p` is given twice; first on line 2"),
        (
            "a: !!str 5\n",
            "f.yaml:1: a: tags (`!…`) are not supported; remove it, and quote what must be text",
        ),
        (
            "a: !x {b: 1}\n",
            "f.yaml:1: a: tags (`!…`) are not supported; remove it, and quote what must be text",
        ),
        ("a:\n\tb: 1\n", "f.yaml:2: a tab stands where YAML wants spaces; indent with spaces only"),
        (
            "a: b: c\n",
            "f.yaml:1: is not valid YAML: mapping values are not allowed in this context; quote a text that contains \": \", or check the indentation",
        ),
        (
            "a: 'b\n",
            "f.yaml:1: is not valid YAML: while scanning a quoted scalar, found unexpected end of stream; close the quote",
        ),
        ("a: [1, 2\nb: 3\n", "f.yaml:2: is not valid YAML: the `[` of line 1 may lack its `]`"),
        (
            "a: *b\n",
            "f.yaml:1: is not valid YAML: while parsing node, found unknown anchor; an alias (`*name`) needs its anchor (`&name`) above it",
        ),
        ("a: &x [*x]\n", "f.yaml:1: a[0]: an alias stands inside what it names"),
        ("a: @b\n", "f.yaml:1: is not valid YAML: unexpected character: `@'; quote the text"),
        ("? [a]\n: b\n", "f.yaml:1: a key must be text, not a list or a map"),
        ("a: &x 1\nb: {*x : 2}\n", "f.yaml:2: b: a key must be text, not an alias"),
        (
            "a: &x {b: 1}\nc:\n  <<: *x\n",
            "f.yaml:3: c: merge keys (`<<`) are not part of YAML 1.2; write the fields out",
        ),
    ];
    for (text, expected) in rows {
        let faults = parse(text, &source()).expect_err(text);
        assert_eq!(faults.iter().map(Fault::to_string).collect::<Vec<_>>(), [expected], "{text:?}");
    }
}

#[test]
fn a_broken_document_costs_only_itself() {
    let text = "a: 1\n---\nb: [\n---\nc: 3\n---\nd: 'x\n---\ne: {f: g: h}\n---\ni: 9\n";
    let stream = read(text, &source());
    let shown: Vec<_> = stream.documents.iter().map(show).collect();
    assert_eq!(shown, ["{a@1=1@1}@1", "{c@5=3@5}@5", "{i@11=9@11}@11"]);
    let lines: Vec<_> = stream.faults.iter().map(|fault| line_of(&fault.at)).collect();
    assert_eq!(lines.len(), 3, "{:?}", stream.faults);
    assert!(lines.is_sorted() && lines[2] == 9, "{:?}", stream.faults);
}

#[test]
fn environment_and_flags_have_no_lines() {
    let at = Origin::Environment("OUTRIGGER_X".into());
    let documents = parse("[a, b]", &at).expect("a list");
    assert_eq!(documents[0].at, at);
}

fn only_fault(text: &str) -> String {
    let faults = parse(text, &source()).expect_err("it exceeds a bound");
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults[0].to_string()
}

#[test]
fn a_billion_laughs_is_refused_at_once() {
    let mut text = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..10 {
        let uses = vec![format!("*a{}", level - 1); 9].join(", ");
        writeln!(text, "a{level}: &a{level} [{uses}]").expect("a string takes text");
    }
    let fault = only_fault(&text);
    assert!(fault.contains("more than 100000 values, aliases expanded"), "{fault}");
}

#[test]
fn long_text_can_not_be_multiplied_by_aliases() {
    let uses = "*a, ".repeat(50);
    let fault = only_fault(&format!("x: &a {}\ny: [{uses}]\n", "l".repeat(100_000)));
    assert!(fault.contains("aliases expand to more than 4 MiB"), "{fault}");
}

#[test]
fn size_count_and_depth_are_bounded() {
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    assert!(parse(&deep(MAX_DEPTH), &source()).is_ok());
    assert!(only_fault(&deep(MAX_DEPTH + 1)).ends_with("nests deeper than 64 levels"));
    assert!(only_fault(&"- ".repeat(5_000)).ends_with("nests deeper than 64 levels"));
    let half = deep(MAX_DEPTH / 2);
    let inside = |levels: usize| format!("{}*x{}", "[".repeat(levels), "]".repeat(levels));
    assert!(parse(&format!("[&x {half}, {}]", inside(31)), &source()).is_ok());
    assert!(only_fault(&format!("[&x {half}, {}]", inside(32))).ends_with("64 levels"));

    let wide = |count: usize| format!("[{}]", "1,".repeat(count));
    assert!(parse(&wide(MAX_NODES - 1), &source()).is_ok());
    assert!(only_fault(&wide(MAX_NODES)).contains("more than 100000 values"));

    let large = format!("a: {}", "x".repeat(MAX_BYTES));
    assert_eq!(only_fault(&large), "f.yaml: is larger than 4 MiB; split it");
}

#[test]
fn endless_syntax_errors_end() {
    let faults = parse(&"---\n@\n".repeat(100_000), &source()).expect_err("all are errors");
    assert_eq!(faults.len(), MAX_SYNTAX_FAULTS);
}

proptest! {
    #[test]
    fn random_text_never_panics(text in "[-a-c0-9 \\n\\t:?,{}\\[\\]&*!|>'\"%@`#~.<\\\\é]{0,80}") {
        let _ = parse(&text, &source());
    }

    #[test]
    fn any_text_never_panics(text in any::<String>()) {
        let _ = parse(&text, &source());
    }

    #[test]
    fn a_json_string_reads_as_itself(text in any::<String>()) {
        let json = serde_json::Value::from(text.as_str()).to_string();
        if let Ok(documents) = parse(&json, &source()) {
            prop_assert_eq!(&documents[0].value, &Value::String(text));
        } else {
            // JSON may hold raw characters that YAML does not allow.
            prop_assert!(text.chars().any(|c| !c.is_ascii_graphic() && c != ' '), "{}", json);
        }
    }
}
