//! Whole files and environments, as an operator would write them.

mod cases;
mod documents;
mod mistakes;
mod properties;

use super::*;

/// The least that is valid.
const LEAST: &str = "storage.kind = \"memory\"\nkeys = { kind = \"local\", path = \"k\" }\n";

/// The least that says who proves sessions.
const ISSUER: &str = "[[sessions]]\nissuer = \"i\"\naudience = \"a\"\njwks = \"k.json\"\n";

/// The documented file.
const EXAMPLE: &str = include_str!("example.toml");

/// The documented file for AWS.
const AWS: &str = include_str!("example-aws.toml");

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// The mistakes of a file and an environment, as rendered for the file `f`.
fn mistakes_with(text: &str, pairs: &[(&str, &str)]) -> Vec<String> {
    let mistakes = Config::parse(text, &env(pairs)).unwrap_err();
    mistakes.iter().map(|mistake| mistake.render("f").replace("\n    ", " / ")).collect()
}

/// The mistakes of a file.
fn mistakes(text: &str) -> Vec<String> {
    mistakes_with(text, &[])
}

/// The mistakes of `text`, two lines below the least that is valid: its first line is the third.
fn more(text: &str) -> Vec<String> {
    mistakes(&format!("{LEAST}{text}"))
}
