//! Checks JSON against the schemas of share/, with Debian's python3-jsonschema.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::root;

/// Reads lines of JSON, and checks that each is a document of the schema. `strict` also refuses a
/// key that the schema does not name: the schema names all printed keys.
const VALIDATE: &str = r#"
import json, sys
from jsonschema import Draft202012Validator

schema = json.load(open(sys.argv[1]))
Draft202012Validator.check_schema(schema)

def close(part):
    if isinstance(part, dict):
        if part.get("type") == "object":
            part.setdefault("additionalProperties", False)
        for inner in part.values():
            close(inner)
    elif isinstance(part, list):
        for inner in part:
            close(inner)

if sys.argv[2] == "strict":
    close(schema)
wrong = 0
for line in sys.stdin:
    for error in Draft202012Validator(schema).iter_errors(json.loads(line)):
        wrong += 1
        print(error.json_path, error.message[:500])
sys.exit(1 if wrong else 0)
"#;

/// A python3 that has jsonschema. Err: why there is none.
pub fn python() -> Result<&'static str, &'static str> {
    let python = "/usr/bin/python3";
    let has = Command::new(python).args(["-c", "from jsonschema import Draft202012Validator"]).output();
    match has {
        Ok(output) if output.status.success() => Ok(python),
        _ => Err("/usr/bin/python3 has no jsonschema (Debian: python3-jsonschema)"),
    }
}

/// Checks lines of JSON against `share/SCHEMA.schema.json`. `mode`: `strict` or `as-shipped`.
pub fn validate(python: &str, schema: &str, mode: &str, lines: &str) -> Output {
    let mut command = Command::new(python);
    command.args(["-c", VALIDATE]).arg(root().join(format!("share/{schema}.schema.json"))).arg(mode);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
pub fn is_valid(python: &str, schema: &str, lines: &str) {
    for mode in ["strict", "as-shipped"] {
        let output = validate(python, schema, mode, lines);
        let [found, wrong] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(output.status.success() && wrong.is_empty(), "{mode}: {found}{wrong}\n{lines}");
    }
}
