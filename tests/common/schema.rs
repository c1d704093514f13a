//! Checks JSON against the schemas of share/, with Debian's python3-jsonschema.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Reads lines of JSON, each to be a document of the schema. With `strict`, no key may be there that the schema does not name: it
/// has all keys that are printed.
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

/// A python3 that has jsonschema; else why there is none.
pub fn python() -> Result<&'static str, &'static str> {
    let python = "/usr/bin/python3";
    let has = Command::new(python).args(["-c", "from jsonschema import Draft202012Validator"]).output();
    match has {
        Ok(output) if output.status.success() => Ok(python),
        _ => Err("/usr/bin/python3 has no jsonschema (Debian: python3-jsonschema)"),
    }
}

/// `schema`: `inspect`, of share/inspect.schema.json. `mode`: `strict` or `as-shipped`.
pub fn validate(python: &str, schema: &str, mode: &str, lines: &str) -> Output {
    // Of this package, or of one in crates/.
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let share = package.ancestors().map(|above| above.join("share")).find(|share| share.is_dir()).unwrap();
    let mut command = Command::new(python);
    command.args(["-c", VALIDATE]).arg(share.join(format!("{schema}.schema.json"))).arg(mode);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
pub fn is_valid(python: &str, schema: &str, lines: &str) {
    for mode in ["strict", "as-shipped"] {
        let output = validate(python, schema, mode, lines);
        let [told, wrong] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(output.status.success() && wrong.is_empty(), "{mode}: {told}{wrong}\n{lines}");
    }
}
