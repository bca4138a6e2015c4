//! The schemas in `docs/json`, and output held against them.
//!
//! `docs/json/NAME.schema.json` has the kinds of object that a command prints in its `$defs`, by
//! their `"t"`; what several commands print is in `common.schema.json`. The schemas let fields be
//! added; these tests do not: a field that no schema has is not documented.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json")
}

fn schema(name: &str) -> Value {
    let path = folder().join(format!("{name}.schema.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The definition of a kind, the command's own before the common one.
fn definition(name: &str, kind: &str) -> (Value, Value) {
    for name in [name, "common"] {
        let schema = schema(name);
        if let Some(found) = schema["$defs"].get(kind) {
            return (found.clone(), schema);
        }
    }
    panic!("docs/json/{name}.schema.json does not define {kind}");
}

/// Holds one object against the schema of a command; says what is wrong.
fn wrong(name: &str, object: &Value) -> Option<String> {
    let kind = object["t"].as_str().expect("a kind");
    let (definition, whole) = definition(name, kind);
    let schema = json!({"$defs": whole["$defs"], "$ref": format!("#/$defs/{kind}")});
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    if let Err(error) = validator.validate(object) {
        return Some(format!("{kind}: {error} at {}", error.instance_path()));
    }
    let unknown = object.as_object().expect("an object").keys();
    let mut unknown = unknown.filter(|field| definition["properties"].get(field).is_none());
    unknown.next().map(|field| format!("{kind}: the field {field} is in no schema"))
}

/// Panics unless each line is as `docs/json/NAME.schema.json` says.
pub(crate) fn assert_valid(name: &str, ndjson: &str) {
    for line in ndjson.lines() {
        let object: Value = serde_json::from_str(line).expect("JSON");
        if let Some(why) = wrong(name, &object) {
            panic!("{name}: {why}\n{line}");
        }
    }
}

/// Each of the ways in which an object can differ from its schema is noticed.
#[test]
fn a_wrong_object_is_noticed() {
    let good = json!({"t": "summary", "codes": 1, "complete": true});
    assert_eq!(wrong("explain", &good), None);
    for (field, value) in [("codes", json!("1")), ("complete", json!(false)), ("new", json!(1))] {
        let mut bad = good.clone();
        bad[field] = value;
        assert!(wrong("explain", &bad).is_some(), "{field}");
    }
    assert!(wrong("explain", &json!({"t": "summary", "complete": true})).is_some());
}

/// A field that a schema has and the page does not would be documented by half.
#[test]
fn every_field_of_every_schema_is_on_the_page() {
    let page = include_str!("../../../docs/json.md");
    let mut fields = 0;
    for entry in fs::read_dir(folder()).expect("the schemas") {
        let file = entry.expect("an entry").file_name().into_string().expect("a name");
        let name = file.strip_suffix(".schema.json").expect("a schema");
        for (kind, definition) in schema(name)["$defs"].as_object().expect("kinds") {
            assert!(page.contains(&format!("`{kind}`")), "{file}: {kind} is not in docs/json.md");
            for field in definition["properties"].as_object().expect("fields").keys() {
                assert!(page.contains(&format!("`{field}`")), "{file}: {kind}.{field}");
                fields += 1;
            }
        }
    }
    assert!(fields > 15, "{fields}");
}
