//! A violation as a test: source that makes one crash and asks the invariant.

use super::Violation;
use super::state::{CrashState, RecoveryCrash, Survives};
use crate::disk::When;

/// The most lines of the trace that stand in the test.
const LINES_MAX: usize = 60;

/// The test, as source.
pub(super) fn test(violation: &Violation) -> String {
    let (program, invariant) = &violation.names;
    let said = one_line(&violation.message);
    let Some(state) = &violation.state else {
        return format!(
            "/// Without a crash: {said}.\n\
             #[test]\n\
             fn the_invariant_holds_without_a_crash() {{\n    \
                 let explored = runstone_sim::explore::crash_points({program}, {invariant});\n    \
                 assert!(explored.is_ok(), \"{{explored:?}}\");\n\
             }}\n"
        );
    };
    let mut text = format!("/// {}: {said}.\n///\n/// ```text\n", sentence(state));
    let skipped = violation.trace.len().saturating_sub(LINES_MAX);
    if skipped > 0 {
        text.push_str(&format!("/// ({skipped} lines before)\n"));
    }
    for line in violation.trace.iter().skip(skipped).flat_map(|line| line.lines()) {
        text.push_str(format!("/// {line}").trim_end());
        text.push('\n');
    }
    text.push_str("/// ```\n#[test]\n");
    text.push_str(&format!("fn {}() {{\n", name(state)));
    let model = if matches!(state.survives, Survives::Drawn { .. }) { "CrashModel, " } else { "" };
    let again = if state.recovery.is_some() { "RecoveryCrash, " } else { "" };
    text.push_str(&format!("    use runstone_sim::disk::{{{model}CrashPoint, When}};\n"));
    text.push_str(&format!(
        "    use runstone_sim::explore::{{CrashState, {again}Survives, replay}};\n\n"
    ));
    text.push_str("    let state = CrashState {\n");
    let point = state.point;
    text.push_str(&format!(
        "        point: CrashPoint {{ call: {}, when: When::{:?} }},\n",
        point.call, point.when
    ));
    text.push_str(&format!("        part: {},\n", state.part));
    text.push_str(&format!("        survives: {},\n", survives(&state.survives)));
    text.push_str(&format!("        recovery: {},\n", recovery(state.recovery)));
    text.push_str("    };\n");
    text.push_str(&format!(
        "    assert_eq!(replay(&state, {program}, {invariant}), Ok(()));\n}}\n"
    ));
    text
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn sentence(state: &CrashState) -> String {
    let text = state.to_string();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn survives(survives: &Survives) -> String {
    match survives {
        Survives::Everything => "Survives::Everything".to_owned(),
        Survives::AllBut(lost) => format!("Survives::AllBut(vec!{lost:?})"),
        Survives::Drawn { model, seed } => {
            format!("Survives::Drawn {{ model: CrashModel::{model:?}, seed: {seed} }}")
        }
    }
}

fn recovery(recovery: Option<RecoveryCrash>) -> String {
    let Some(RecoveryCrash { after_calls, when, seed }) = recovery else {
        return "None".to_owned();
    };
    let crash = format!("after_calls: {after_calls}, when: When::{when:?}, seed: {seed}");
    format!("Some(RecoveryCrash {{ {crash} }})")
}

/// `a_power_cut_after_call_3_breaks_nothing`.
fn name(state: &CrashState) -> String {
    let crash = match state.survives {
        Survives::Everything => "the_end_of_the_process",
        _ => "a_power_cut",
    };
    let when = match state.point.when {
        When::Before => "before",
        When::Inside => "inside",
        When::After => "after",
    };
    let again = if state.recovery.is_some() { "_and_one_in_recovery" } else { "" };
    format!("{crash}_{when}_call_{}{again}_breaks_nothing", state.point.call)
}
