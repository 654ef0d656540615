//! `lunasec check`: every mistake of a configuration at once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{Outcome, Stop, USAGE, connect, print, run};
use crate::{
    app,
    config::{self, Config, Mistake},
};

/// Arguments of `lunasec check`.
#[derive(clap::Args)]
pub(super) struct Check {
    /// The configuration
    #[arg(long, default_value = "lunasec.toml")]
    config: PathBuf,
    /// Also do with the bucket, the keys and the issuers what a sidecar does, and say what is wrong with them
    #[arg(long, conflicts_with_all = ["schema", "reference"])]
    connect: bool,
    /// Print the JSON Schema of the configuration, for editors
    #[arg(long, conflicts_with = "reference")]
    schema: bool,
    /// Print every field with its default and meaning, as Markdown
    #[arg(long)]
    reference: bool,
}

impl Check {
    pub(super) fn run(self) -> Outcome {
        if self.schema {
            print(&format!("{:#}\n", config::schema()))?;
        } else if self.reference {
            print(&config::reference().to_string())?;
        } else {
            let config = load(&self.config)?;
            app::refuse_standby_in_state(&config)
                .and_then(|()| app::refuse_a_credential_process(&config))
                .map_err(|error| Stop::new(USAGE, format!("{}: {error}", self.config.display())))?;
            print(&format!("{}: no mistakes\n", self.config.display()))?;
            for warning in app::warnings(&config) {
                print(&format!("{}: warning: {warning}\n", self.config.display()))?;
            }
            if self.connect {
                return run::block_on(connect::connect(&config));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads a configuration and the variables that override it.
pub(super) fn load(path: &Path) -> Result<Config, Stop> {
    let file = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| {
        Stop::new(USAGE, format!("{file} cannot be read: {error}; name another with --config"))
    })?;
    parse(&file, &text, &variables())
}

/// The variables that override a configuration.
pub(super) fn variables() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("LUNASEC_"))
        .collect()
}

/// Parses a configuration, or names every mistake in it.
pub(super) fn parse(
    file: &str,
    text: &str,
    variables: &[(String, String)],
) -> Result<Config, Stop> {
    Config::parse(text, variables).map_err(|wrong| mistakes(file, "configuration", &wrong))
}

/// Names every mistake in a file.
pub(super) fn mistakes(file: &str, what: &str, mistakes: &[Mistake]) -> Stop {
    let lines: Vec<_> = mistakes.iter().map(|mistake| mistake.render(file)).collect();
    let count = match lines.len() {
        1 => "1 mistake".to_owned(),
        many => format!("{many} mistakes"),
    };
    Stop::new(USAGE, format!("{count} in the {what}\n{}", lines.join("\n")))
}
