//! The commands that only look: runs, status, report, list, schema. They take no lock and change nothing.

use super::{Common, Exit, Failure, Format, Schema, home};
use crate::actions::ACTIONS;
use crate::cluster::config::ClusterFile;
use crate::journal::Home;
use crate::model::{Stamped, State, text};
use crate::report;
use crate::runbook::{self, Runbook, SHIPPED};
use serde_json::json;

/// The run that is meant, named in whole or by its end; else the newest. Looks into no journal.
pub async fn name(home: &Home, run: Option<String>) -> Result<String, Failure> {
    let mut runs = home.runs().await?;
    let Some(name) = run else { return runs.pop().ok_or_else(|| none(home)) };
    let matching: Vec<&String> = runs.iter().filter(|run| **run == name || run.ends_with(&name)).collect();
    let [one] = matching.as_slice() else {
        let what = if matching.is_empty() { "there is no run" } else { "more than one run ends in" };
        return Err(Failure::new(Exit::Usage, format!("{what} `{name}` in `{}`", home.name())).hint("castoff runs"));
    };
    Ok((*one).clone())
}

fn none(home: &Home) -> Failure {
    Failure::new(Exit::Usage, format!("there is no run in `{}`", home.name())).hint("castoff run backend-ai begins one")
}

/// The run that is meant: named in whole or by its end, else the newest that is not over, else the newest.
pub async fn find(home: &Home, run: Option<String>) -> Result<(String, Vec<Stamped>, State), Failure> {
    if run.is_some() {
        let one = name(home, run).await?;
        let entries = home.read(&one).await?;
        let folded = State::fold(&entries)?;
        return Ok((one, entries, folded));
    }
    let mut newest = None;
    for run in home.runs().await?.into_iter().rev() {
        let entries = home.read(&run).await?;
        let folded = State::fold(&entries)?;
        if folded.plan.is_some() && folded.finished.is_none() {
            return Ok((run, entries, folded));
        }
        newest = newest.or(Some((run, entries, folded)));
    }
    newest.ok_or_else(|| none(home))
}

pub async fn status(common: &Common, run: Option<String>) -> Result<Exit, Failure> {
    let home = home::home(common).await?;
    let (run, entries, folded) = find(&home, run).await?;
    let holder = home.holder(&run).await?.map(|keeper| keeper.holder);
    match common.format {
        Format::Text => {
            print!("{}", text::page(&report::status_text(&run, &folded, holder.as_deref())));
            if let Some((plan, window)) = folded.plan.as_ref().zip(folded.window.as_ref()) {
                print!("{}", text::page(&report::window_text(plan, &folded, window, super::run::now_ms())));
            }
        }
        Format::Json => {
            let mut value = report::report_json(&run, &folded, &entries);
            let fields = value.as_object_mut().expect("a report is an object");
            fields.retain(|key, _| !matches!(key.as_str(), "plan" | "entries"));
            fields.insert("held-by".to_owned(), json!(holder));
            println!("{}", text::json(&value.to_string()));
        }
    }
    Ok(Exit::Done)
}

pub async fn runs(common: &Common) -> Result<Exit, Failure> {
    let home = home::home(common).await?;
    for run in home.runs().await? {
        // One damaged journal must not hide the others.
        let read = home.read(&run).await.map_err(Failure::from);
        let folded = match read.and_then(|entries| Ok(State::fold(&entries)?)) {
            Ok(folded) => folded,
            Err(failure) => {
                eprintln!("{}", text::page(&format!("{run}  cannot be read: {:#}", failure.error)));
                continue;
            }
        };
        let plan = folded.plan.as_ref();
        let (runbook, cluster) = plan.map_or(("-", "-"), |plan| (plan.runbook.as_str(), plan.cluster.as_str()));
        match common.format {
            Format::Text => {
                let (begun, standing) = (report::moment(folded.begun_ms), report::standing(&folded));
                println!("{}", text::clean(&format!("{run}  {begun}  {runbook} on {cluster}  {standing}")));
            }
            Format::Json => println!(
                "{}",
                text::json(&json!({ "v": 1, "run": run, "runbook": runbook, "cluster": cluster, "begun-at-ms": folded.begun_ms, "standing": report::standing(&folded) }).to_string())
            ),
        }
    }
    Ok(Exit::Done)
}

pub async fn report(common: &Common, run: Option<String>) -> Result<Exit, Failure> {
    let home = home::home(common).await?;
    let (run, entries, folded) = find(&home, run).await?;
    match common.format {
        Format::Text => print!("{}", text::page(&report::report_markdown(&run, &folded, &entries))),
        Format::Json => println!("{}", text::json(&report::report_json(&run, &folded, &entries).to_string())),
    }
    Ok(Exit::Done)
}

pub fn list(common: &Common) -> Result<Exit, Failure> {
    if common.format == Format::Json {
        let runbooks: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
        let actions: Vec<_> = ACTIONS.iter().map(|kind| json!({ "name": kind.name, "about": kind.about })).collect();
        println!("{}", json!({ "v": 1, "runbooks": runbooks, "actions": actions }));
        return Ok(Exit::Done);
    }
    println!("RUNBOOKS");
    for (name, written) in SHIPPED {
        println!("  {name:<18} {}", Runbook::parse(name, written, &[])?.title);
    }
    println!("\nACTIONS");
    for kind in ACTIONS {
        println!("  {:<18} {}", kind.name, kind.about);
    }
    Ok(Exit::Done)
}

pub fn schema(of: Schema) -> Result<Exit, Failure> {
    let schema = match of {
        Schema::Runbook => runbook::schema(),
        Schema::Cluster => schemars::schema_for!(ClusterFile).to_value(),
    };
    println!("{}", serde_json::to_string_pretty(&schema).map_err(anyhow::Error::from)?);
    Ok(Exit::Done)
}
