//! What is logged, to standard error: warnings, unless more is asked for. Standard output belongs to what a command was
//! asked to print.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;
use crate::exit::Failure;

/// Begins to log: `verbose` times `-v`, or as `LANDBRIDGE_LOG` says.
pub fn start(verbose: u8, format: LogFormat) -> Result<(), Failure> {
    let asked = std::env::var("LANDBRIDGE_LOG").unwrap_or_default();
    let filter = match (asked.trim(), verbose) {
        ("", 0) => EnvFilter::new("warn"),
        ("", 1) => EnvFilter::new("warn,landbridge=info,landbridge_stores=info"),
        ("", _) => EnvFilter::new("debug,hyper=info,hyper_util=info,reqwest=info,h2=info"),
        (asked, _) => EnvFilter::try_new(asked).map_err(|e| {
            let next =
                "write a level (error, warn, info, debug, trace) or, for instance, `landbridge=debug,hyper=warn`";
            Failure::usage(format!("LANDBRIDGE_LOG is not understood: {e}"), next)
        })?,
    };
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colour);
    // A second start happens in tests only, and the first one stays.
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
    Ok(())
}
