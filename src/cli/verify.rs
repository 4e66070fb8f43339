//! `castoff verify`: the survey of a run from outside: its journal beside the cluster as it is now.
//! Never takes a lock, and never writes.

use super::{Common, Exit, Failure, Format, home, look_up, run};
use crate::engine::survey;
use crate::model::text;
use serde_json::json;

pub async fn verify(common: &Common, run: Option<String>) -> Result<Exit, Failure> {
    let home = home::home(common).await?;
    let (run, _, folded) = look_up::find(&home, run).await?;
    let plan = folded.plan.as_ref().ok_or_else(|| Failure::new(Exit::Usage, format!("run `{run}` never began")))?;
    let cluster = run::live_named(common, &plan.cluster)?;
    let survey = survey::survey(&*cluster, &folded).await;
    match common.format {
        Format::Json => {
            let survey = json!({
                "v": 1, "run": run, "plan": plan.plan,
                "steps": survey.lines, "changed": survey.changed, "unanswered": survey.unanswered,
            });
            println!("{}", text::json(&survey.to_string()));
        }
        Format::Text => {
            println!("{}", text::clean(&format!("run {run}  plan {}  {} on {}", plan.plan, plan.runbook, plan.cluster)));
            for line in &survey.lines {
                let sign = if line.agrees { "+" } else { "?" };
                let title = plan.steps.get(line.step).map_or("", |step| step.title.as_str());
                let (title, verdict) = (text::clean(title), text::clean(&line.verdict));
                println!(" {sign} {:>2}  {title:<32}  {:<18}  {:<18}  {verdict}", line.step + 1, line.journal, line.cluster);
            }
            for problem in &survey.changed {
                let place = problem.place.as_ref().map_or_else(String::new, |place| format!(" on {place}"));
                println!(" !  {}", text::clean(&format!("{}{place}: {}", problem.subject, problem.why)));
            }
            for unanswered in &survey.unanswered {
                println!(" ?  {}", text::clean(&format!("{}: {}", unanswered.subject, unanswered.why)));
            }
            if survey.changed.is_empty() && survey.unanswered.is_empty() {
                println!(" +  nobody else has changed what this plan is about");
            }
        }
    }
    Ok(match () {
        () if !survey.changed.is_empty() => Exit::Drifted,
        () if !survey.unanswered.is_empty() || survey.lines.iter().any(|line| !line.agrees) => Exit::SomethingLeft,
        () => Exit::Done,
    })
}
