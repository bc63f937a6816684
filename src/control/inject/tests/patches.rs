//! The patch leads from the one value to the other, whatever they are.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::patch::diff;
use super::patched;

#[test]
fn what_was_only_added_is_only_added() {
    let before = json!({"a/b": {"c~d": 1}, "list": [{"name": "x", "v": 1}, {"name": "y"}]});
    let after = json!({
        "a/b": {"c~d": 2, "e": []},
        "list": [{"name": "new"}, {"name": "x", "v": 2}, {"name": "y"}, {"name": "last"}],
    });
    let operations = diff(&before, &after);
    let expected = json!([
        {"op": "replace", "path": "/a~1b/c~0d", "value": 2},
        {"op": "add", "path": "/a~1b/e", "value": []},
        {"op": "add", "path": "/list/0", "value": {"name": "new"}},
        {"op": "replace", "path": "/list/1/v", "value": 2},
        {"op": "add", "path": "/list/3", "value": {"name": "last"}},
    ]);
    assert_eq!(Value::from(operations.clone()), expected);
    assert_eq!(patched(&before, &operations), after);
    assert_eq!(diff(&after, &after), Vec::<Value>::new());
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..4).prop_map(Value::from),
        "[ab/~]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let named = ("[ab]", inner.clone()).prop_map(|(name, v)| json!({"name": name, "v": v}));
        prop_oneof![
            prop::collection::vec(prop_oneof![inner.clone(), named], 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ab/~]{1,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_patch_leads_there(before in value(), after in value()) {
        let operations = diff(&before, &after);
        prop_assert_eq!(patched(&before, &operations), after, "{:?}", operations);
    }
}
