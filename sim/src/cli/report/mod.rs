//! `report`: one self-contained HTML page of a seed, or of a sweep.
//!
//! A page is a template (markup, style and script, in this folder) with its data as embedded
//! JSON. The script builds everything from the data with text nodes, so nothing in the data can
//! become markup; a policy in the head forbids every connection.

mod seed;
mod sweep;

use std::path::PathBuf;

use clap::Args;
use runstone_sim::harness::World;

use super::artefact::{Artefact, PAGE, PAGE_MARK};
use super::plant::Plant;
use super::sweep::SweepArgs;
use super::{CaseArgs, CommandResult, numbers, verdict};

/// What both pages share.
const STYLE: &str = include_str!("base.css");
const SCRIPT: &str = include_str!("base.js");

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// A seed (a number), or the file of a saved case
    #[arg(value_name = "SEED|FILE", required_unless_present = "sweep", conflicts_with = "sweep")]
    case: Option<String>,
    /// Runs a sweep, and shows it instead of one seed
    #[arg(long)]
    sweep: bool,
    /// The seeds of the sweep, as FIRST..END; fresh ones by default
    #[arg(long, value_name = "A..B", value_parser = super::sweep::range, requires = "sweep")]
    seeds: Option<(u64, u64)>,
    /// For how many seconds the sweep takes fresh seeds
    #[arg(long, default_value_t = 30, conflicts_with = "seeds", value_parser = numbers::seconds())]
    seconds: u64,
    /// The world of the seed, if the sweep was told one; or the only one of the sweep
    #[arg(long, value_parser = super::world)]
    world: Option<World>,
    /// Where the page is written; report-SEED.html or report-sweep.html by default. A file that
    /// is no such page is not replaced
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    plant: Plant,
}

pub(crate) fn run(args: &ReportArgs) -> CommandResult {
    let claim = |name: String| {
        Artefact::claim(&args.out.clone().unwrap_or_else(|| PathBuf::from(name)), PAGE)
    };
    let (out, page, failed, interrupted) = match &args.case {
        Some(case) => {
            let case = CaseArgs { case: case.clone(), world: args.world, plant: args.plant };
            let loaded = case.load()?;
            let out = claim(format!("report-{}.html", loaded.case.seed))?;
            let (page, failed) = seed::page(&case, &loaded)?;
            (out, page, failed, false)
        }
        None => {
            let sweep = SweepArgs::for_report(args.seeds, args.seconds, args.world, args.plant);
            let out = claim("report-sweep.html".to_owned())?;
            let (page, failed, interrupted) = sweep::page(&sweep)?;
            (out, page, failed, interrupted)
        }
    };
    let path = out.path().to_owned();
    out.write(&page)?;
    out!("{}: {} KiB; open it in a browser", path.display(), page.len() / 1024);
    Ok(verdict(failed, interrupted))
}

/// A page: everything in one file.
fn page(title: &str, markup: &str, script: &str, data: &serde_json::Value) -> String {
    // Inside a script element only "</script" and "<!--" mean anything: without "<" neither is.
    let data = data.to_string().replace('<', "\\u003c");
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         {PAGE_MARK}\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{markup}\
         <script type=\"application/json\" id=\"data\">{data}</script>\n\
         <script>\n\"use strict\";\n{SCRIPT}{script}</script>\n</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_data_ends_its_element_or_becomes_markup() {
        let hostile = "</script><script>alert(1)</script><!-- & \u{2028}";
        let data = serde_json::json!({ "message": hostile });
        let page = page("<b>&", "<main></main>\n", "done();\n", &data);
        assert_eq!(page.matches("<script").count(), 2);
        assert_eq!(page.matches("</script>").count(), 2);
        assert!(!page.contains("<!--"));
        assert!(page.contains("<title>&lt;b>&amp;</title>"));
        let (_, rest) = page.split_once("id=\"data\">").expect("the data");
        let (text, _) = rest.split_once("</script>").expect("its end");
        let back: serde_json::Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(back, data, "what is embedded is what was given");
    }
}
