//! Any text and any variables become a configuration or mistakes that say where they are and what to
//! write instead.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lunasec_sidecar::config::Config;

fuzz_target!(|input: (&str, Vec<(&str, &str)>)| {
    let (text, variables) = input;
    let variables: Vec<_> = variables
        .into_iter()
        .map(|(name, value)| (format!("LUNASEC_{name}"), value.to_owned()))
        .collect();
    if let Err(mistakes) = Config::parse(text, &variables) {
        assert!(!mistakes.is_empty(), "refused without a word");
        for mistake in &mistakes {
            assert!(!mistake.render("lunasec.toml").is_empty());
        }
    }
});
