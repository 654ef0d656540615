//! Any text and any variables become a configuration or mistakes that say where they are and what to
//! write instead.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lunasec_sidecar::config::Config;

// What stands behind a NUL is a variable, so that a seed is a file as it is.
fuzz_target!(|input: &str| {
    let (text, variables) = input.split_once('\0').unwrap_or((input, ""));
    let variables: Vec<_> = variables
        .split('\0')
        .filter_map(|variable| variable.split_once('='))
        .map(|(name, value)| (format!("LUNASEC_{name}"), value.to_owned()))
        .collect();
    if let Err(mistakes) = Config::parse(text, &variables) {
        assert!(!mistakes.is_empty(), "refused without a word");
        for mistake in &mistakes {
            assert!(!mistake.render("lunasec.toml").is_empty());
        }
    }
});
