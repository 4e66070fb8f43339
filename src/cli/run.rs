//! Plan, run, resume, rollback: brings a cluster, a journal, the engine and a front end together.

use super::face::{self, Face};
use super::going::{Going, of_opening};
use super::{Common, Exit, Failure, Format, Front, Planned, WindowOption, files, held, home, look_up, process};
use crate::cluster::{
    Cluster,
    claim::{Claim, Terms, Untaken},
    config::ClusterFile,
    guard::Guard,
    live::Live,
    sim::{Pace, Sim, demo},
};
use crate::journal::{Home, Journal, JournalError};
use crate::model::{Command, Holder, Inventory, Plan, State, Waves, is_reason, text};
use crate::private;
use crate::remote::peer;
use crate::report;
use crate::runbook::Runbook;
use crate::tui;
use anyhow::Context;
use std::{collections::BTreeMap, ffi::OsString, io::Write, path::Path, sync::Arc};

/// Unix time in milliseconds.
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

pub async fn plan(common: &Common, planned: &Planned, window: &WindowOption, out: Option<&Path>) -> Result<Exit, Failure> {
    let window = window.of_new_run(common, planned.simulate)?;
    let cluster = open(common, planned)?;
    let plan = make(&*cluster, planned).await?;
    let json = || text::json(&serde_json::to_string_pretty(&plan).expect("a plan is plain data"));
    if let Some(path) = out {
        write_file(path, &json())?;
        eprintln!("wrote plan {} to {}: castoff run {}", plan.plan, path.display(), path.display());
    }
    let text = if common.format == Format::Json { json() } else { text::page(&report::plan_text(&plan, columns())) };
    // A closed pipe (`| head`) ends the output, nothing else.
    let _ = writeln!(std::io::stdout(), "{text}");
    if let Some(window) = window.filter(|_| common.format == Format::Text && !plan.is_empty()) {
        let _ = write!(std::io::stdout(), "{}", text::page(&report::window_text(&plan, &State::default(), &window, now_ms())));
    }
    Ok(match () {
        () if !plan.blockers.is_empty() => Exit::PreflightFailed,
        () if plan.is_empty() => Exit::Done,
        () => Exit::SomethingLeft,
    })
}

pub async fn inventory(common: &Common, runbook: &str, out: &Path) -> Result<Exit, Failure> {
    let files::Named::Runbook(runbook) = files::named(runbook, &[])? else {
        return Err(Failure::new(Exit::Usage, "a runbook is needed, not a saved plan"));
    };
    let cluster = live(common)?;
    let inventory = read(&*cluster, &runbook).await;
    write_file(out, &text::json(&serde_json::to_string_pretty(&inventory).expect("an inventory is plain data")))?;
    for unanswered in &inventory.unanswered {
        eprintln!("{}", text::clean(&format!("{}: {}", unanswered.subject, unanswered.why)));
    }
    eprintln!("wrote {}: castoff run backend-ai --simulate --inventory {}", out.display(), out.display());
    Ok(if inventory.unanswered.is_empty() { Exit::Done } else { Exit::SomethingLeft })
}

pub async fn run(common: &Common, planned: &Planned, front: &Front, window: &WindowOption) -> Result<Exit, Failure> {
    let window = window.of_new_run(common, planned.simulate)?;
    let cluster = open(common, planned)?;
    let face = face::choose(front.ui())?;
    // The terminal stays open from the first picture on, also while the journal is made.
    let mut opened = None;
    let plan = if face == Face::Tui {
        let reading = tui::opening(&common.look(), "Reading the cluster and planning", make(&*cluster, planned)).await?;
        match reading {
            Ok((plan, kept)) => {
                opened = Some(kept);
                plan?
            }
            Err(left) => return Ok(of_opening(left)),
        }
    } else {
        if face == Face::Plain {
            let _ = writeln!(std::io::stdout(), "Reading the cluster and planning. Nothing is changed.");
        }
        make(&*cluster, planned).await?
    };
    let plan = Arc::new(plan);
    let approvals = approvals(front, &plan)?;
    if face == Face::Headless && !plan.blockers.is_empty() {
        for blocker in &plan.blockers {
            eprintln!("error: {}", text::clean(&format!("{}: {}", blocker.subject, blocker.why)));
            if let Some(hint) = &blocker.hint {
                eprintln!("hint: {}", text::clean(hint));
            }
        }
        return Ok(Exit::PreflightFailed);
    }
    let home = if planned.simulate { home::rehearsals(common)? } else { home::home(common).await? };
    let going = begun(common, face, (home, cluster), (&plan, name_at(jiff::Timestamp::now())), Way::New).await?;
    let going = Going { approvals, window, simulated: planned.simulate, ..going };
    let exit = going.go(common, front, Some(plan), face).await;
    drop(opened);
    exit
}

pub async fn resume(
    common: &Common,
    run: Option<String>,
    front: &Front,
    window: &WindowOption,
    retry: bool,
) -> Result<Exit, Failure> {
    let window = window.of_known_run()?;
    let home = home::home(common).await?;
    let (run, _, folded) = look_up::find(&home, run).await?;
    if let Some(outcome) = &folded.finished {
        eprintln!("run {run} is over: {}", report::standing(&folded));
        return Ok(Exit::of_outcome(outcome));
    }
    let plan = folded.plan.clone().ok_or_else(|| Failure::new(Exit::Usage, format!("run `{run}` never began")))?;
    let face = face::choose(front.ui())?;
    let cluster = live_named(common, &plan.cluster)?;
    let approvals = approvals(front, &plan)?;
    let mut going = begun(common, face, (home, cluster), (&plan, run), Way::Resume).await?;
    if retry {
        let mut folded = State::fold(&going.entries)?;
        let again = folded.again(folded.causes().into_iter().flat_map(|(_, ids)| ids), &operator());
        let at_ms = now_ms();
        folded.apply_new(at_ms, &again)?;
        going.entries.extend(going.journal.append(at_ms, again).await?);
    }
    Going { approvals, window, ..going }.go(common, front, None, face).await
}

pub async fn rollback(
    common: &Common,
    run: Option<String>,
    to: Option<String>,
    reason: &str,
    (front, window): (&Front, &WindowOption),
) -> Result<Exit, Failure> {
    if !is_reason(reason) {
        return Err(
            Failure::new(Exit::Usage, "a reason is needed to roll back").hint("--reason \"WHY\": it stands in the report")
        );
    }
    let window = window.of_known_run()?;
    let home = home::home(common).await?;
    let (run, _, folded) = look_up::find(&home, run).await?;
    let plan = folded.plan.clone().ok_or_else(|| Failure::new(Exit::Usage, format!("run `{run}` never began")))?;
    let to = match &to {
        None => 0,
        Some(id) => plan.step_index(id).ok_or_else(|| {
            let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
            Failure::new(Exit::Usage, format!("run `{run}` has no step `{id}`")).hint(format!("its steps: {}", ids.join(", ")))
        })?,
    };
    if let Some(why) = folded.cannot_go_back(to) {
        let failure = Failure::new(Exit::Usage, why);
        return Err(failure.hint("without --to everything that this run did is undone"));
    }
    let face = face::choose(front.ui())?;
    if face == Face::Headless && approvals(front, &plan)?.get("rollback").is_none_or(|id| *id != plan.plan) {
        let failure = Failure::new(Exit::NotApproved, "a rollback without a terminal has to be approved ahead");
        return Err(failure.hint(format!("--approve rollback={}", plan.plan)));
    }
    let cluster = live_named(common, &plan.cluster)?;
    let going = begun(common, face, (home, cluster), (&plan, run), Way::Resume).await?;
    let first = Command::RollBack { to, why: reason.to_owned() };
    Going { first, rollback_to: Some(to), window, ..going }.go(common, front, None, face).await
}

/// How a run is had.
#[derive(Clone, Copy)]
pub enum Way<'a> {
    New,
    Resume,
    TakeOver { why: &'a str, by_force: bool },
}

/// A run that is ours from now on, or a failure that tells whose it is. How it goes on is the caller's.
pub(super) async fn begun(
    common: &Common,
    face: Face,
    (home, cluster): (Home, Arc<dyn Cluster>),
    (plan, run): (&Arc<Plan>, String),
    way: Way<'_>,
) -> Result<Going, Failure> {
    let holder = process::holder();
    let (held, journal) = match take(&home, &*cluster, plan, &run, &holder, way).await {
        Ok(taken) => taken,
        Err(error) => return Err(held::told(common, face == Face::Tui, &home, Some(plan), error).await),
    };
    // Read under the lock: what another castoff wrote until a moment ago counts.
    let entries = journal.entries().await?;
    Ok(Going {
        held,
        holder: holder.to_string(),
        cluster,
        journal,
        run,
        home,
        approvals: BTreeMap::new(),
        simulated: false,
        entries,
        first: Command::Begin,
        rollback_to: None,
        window: None,
    })
}

/// Everything that a run needs for itself alone, or nothing: its cluster on this machine, its cluster on all machines, and
/// its journal with a new epoch.
async fn take(
    home: &Home,
    cluster: &dyn Cluster,
    plan: &Plan,
    run: &str,
    holder: &Holder,
    way: Way<'_>,
) -> Result<(std::fs::File, Journal), Failure> {
    let by_force = matches!(way, Way::TakeOver { by_force: true, .. });
    let held = home.take_cluster(&plan.cluster, holder, by_force)?;
    // A plan that cannot begin has no effect, and may be one because etcd is away.
    if plan.blockers.is_empty() {
        let journal = if home.is_shared() { home.name() } else { format!("{} on {}", home.name(), holder.host) };
        let claim = Claim { holder: holder.clone(), run: run.to_owned(), journal };
        let terms = Terms { by_force, is_dead: process::is_dead };
        cluster.take(&claim, terms).await.map_err(|untaken| match untaken {
            Untaken::Fault(fault) => fault.into(),
            Untaken::Held(other) => {
                let [holder, run, journal] =
                    [other.holder.to_string(), other.run, other.journal].map(|word| crate::model::text::clean(&word));
                let [run, journal] = [run, journal].map(|word| Some(word).filter(|word| !word.is_empty()));
                Failure::from(JournalError::Held { what: format!("cluster `{}`", plan.cluster), holder, run, journal })
            }
        })?;
    }
    let journal = match way {
        Way::New => home.create(run, &plan.cluster, holder).await,
        Way::Resume => home.open(run, &plan.cluster, holder).await,
        Way::TakeOver { why, by_force } => home.take_over(run, &plan.cluster, holder, (now_ms(), why, by_force)).await,
    };
    match journal {
        Ok(journal) => Ok((held, journal)),
        Err(error) => {
            cluster.let_go().await;
            Err(error.into())
        }
    }
}

/// The cluster that is meant: the embedded one, or the one of the cluster file.
fn open(common: &Common, planned: &Planned) -> Result<Arc<dyn Cluster>, Failure> {
    if !planned.simulate {
        return live(common);
    }
    let world = match &planned.inventory {
        Some(path) => files::inventory(path)?,
        None => demo(now_ms()),
    };
    Ok(Arc::new(Sim::new(world, Pace::Lively)))
}

fn live(common: &Common) -> Result<Arc<dyn Cluster>, Failure> {
    guarded(common, ClusterFile::load(common.cluster.as_deref())?)
}

/// The real cluster, with the way to start the guard of a brown-out: castoff itself.
fn guarded(common: &Common, file: ClusterFile) -> Result<Arc<dyn Cluster>, Failure> {
    let program = std::env::current_exe().context("cannot find the castoff that runs")?;
    let state = files::state_folder(common)?;
    let log = std::path::absolute(state.join("brown-out.log")).context("cannot find the state folder")?;
    let mut arguments: Vec<OsString> = vec!["guard".into(), "--log".into(), log.into()];
    if let Some(path) = &common.cluster {
        let path = std::path::absolute(path).context("cannot find the cluster file")?;
        arguments.extend(["--cluster".into(), path.into()]);
    }
    let live = Live::new(file, now_ms)?.guarded_by(Guard { program, arguments });
    // Also where runs are shared: what stood in a file may hold a secret, and stays with the operator who changed it.
    Ok(Arc::new(live.keeps_backups_in(state)))
}

/// A run belongs to one cluster: another cluster file is refused before anything is asked of it.
pub fn live_named(common: &Common, name: &str) -> Result<Arc<dyn Cluster>, Failure> {
    let file = ClusterFile::load(common.cluster.as_deref())?;
    if file.name != name {
        return Err(Failure::new(
            Exit::Usage,
            format!("the run belongs to cluster `{name}`, the cluster file is of `{}`", file.name),
        ));
    }
    guarded(common, file)
}

/// Reads the cluster, then its registries for what the cluster names.
async fn read(cluster: &dyn Cluster, runbook: &Runbook) -> Inventory {
    let mut inventory = cluster.read(&runbook.wants()).await;
    if let Some(wants) = runbook.registry_wants(&inventory) {
        let registries = cluster.read(&wants).await;
        inventory.merge(registries, &wants);
    }
    inventory
}

/// A plan for what was named; a saved plan only if it still fits the cluster.
async fn make(cluster: &dyn Cluster, planned: &Planned) -> Result<Plan, Failure> {
    match files::named(&planned.runbook, &planned.sets)? {
        files::Named::Runbook(runbook) => Ok(runbook.plan(&read(cluster, &runbook).await)?.0),
        files::Named::SavedPlan(plan) => {
            let inventory = cluster.read(&plan.wants).await;
            if plan.cluster != inventory.cluster {
                let (made, here) = (&plan.cluster, &inventory.cluster);
                return Err(Failure::new(Exit::Usage, format!("the plan was made for cluster `{made}`, this is `{here}`")));
            }
            let differences = plan.differences(&inventory);
            if differences.is_empty() {
                return Ok(*plan);
            }
            // In the error and not before it: the screen may be up.
            let lines: Vec<String> = differences.iter().map(|it| format!("\n  {}: {}", it.subject, it.why)).collect();
            let lines = lines.concat();
            let n = crate::model::text::count(differences.len() as u64, "difference");
            let failure = Failure::new(Exit::NotApproved, format!("plan `{}` is stale: {n} since it was made{lines}", plan.plan));
            Err(failure.hint("plan again and read the new plan"))
        }
    }
}

/// `STEP=PLAN_ID` as given; a stale plan id or an unknown step is refused before anything happens.
pub fn approvals(front: &Front, plan: &Plan) -> Result<BTreeMap<String, String>, Failure> {
    let mut out = BTreeMap::new();
    for approval in &front.approvals {
        let (step, id) = approval
            .split_once('=')
            .ok_or_else(|| Failure::new(Exit::Usage, format!("`--approve {approval}`: STEP=PLAN_ID is needed")))?;
        // `STEP.canary` answers the hold after its canary.
        let canary = step.strip_suffix(".canary").and_then(|id| plan.step_index(id));
        let canary = canary.is_some_and(|step| plan.steps[step].waves.as_ref().is_some_and(Waves::holds));
        if !["rollback", "changed", "take-over"].contains(&step) && !canary && plan.step_index(step).is_none() {
            let mut ids: Vec<String> = plan.steps.iter().filter(|step| step.gate.is_some()).map(|step| step.id.clone()).collect();
            let held = plan.steps.iter().filter(|step| step.waves.as_ref().is_some_and(Waves::holds));
            ids.extend(held.map(|step| format!("{}.canary", step.id)));
            return Err(Failure::new(Exit::Usage, format!("the plan has no step `{step}`"))
                .hint(format!("steps with a gate: {}", ids.join(", "))));
        }
        if id != plan.plan {
            let failure =
                Failure::new(Exit::NotApproved, format!("`--approve {approval}` is stale: the plan is now `{}`", plan.plan));
            return Err(failure.hint("read the new plan, then approve that"));
        }
        out.insert(step.to_owned(), id.to_owned());
    }
    Ok(out)
}

/// `20261121-024007-7f3a`: sorts by time, also within a second, of which the end counts the 65536ths; short enough to type
/// its end.
fn name_at(now: jiff::Timestamp) -> String {
    let within = i64::from(now.subsec_nanosecond()) * 0x1_0000 / 1_000_000_000;
    format!("{}-{within:04x}", now.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y%m%d-%H%M%S"))
}

/// Who answers gates: the user, who became it, and where an ssh session comes from.
pub fn operator() -> String {
    let name = |variable| std::env::var(variable).ok().filter(|name| !name.is_empty());
    let user = peer::user(rustix::process::getuid().as_raw());
    let user = name("SUDO_USER").map_or(user.clone(), |real| format!("{real} as {user}"));
    // Only an address is believed, whatever else stands there.
    let client = name("SSH_CONNECTION").and_then(|it| it.split(' ').next()?.parse::<std::net::IpAddr>().ok());
    let from = client.map_or_else(String::new, |client| format!(" from {client}"));
    crate::model::text::clean(&format!("{user} on {}{from}", peer::host()))
}

/// Columns of the terminal, as the end page takes them.
pub fn width() -> u16 {
    u16::try_from(columns()).unwrap_or(120)
}

pub fn columns() -> usize {
    rustix::termios::tcgetwinsize(std::io::stdout()).map_or(120, |size| usize::from(size.ws_col).max(60))
}

/// By a temporary file and a rename: a full disk leaves what was there. Mode 0600.
fn write_file(path: &Path, text: &str) -> Result<(), Failure> {
    let written = private::replace(path, text.as_bytes());
    written.with_context(|| format!("cannot write `{}`", path.display())).map_err(|error| Failure {
        exit: Exit::Usage,
        error,
        hint: None,
    })
}

#[cfg(test)]
mod tests {
    use super::name_at;
    use jiff::Timestamp;

    #[test]
    fn names_of_runs_sort_by_time_also_within_a_second() {
        let at = |ns: i128| name_at(Timestamp::from_nanosecond(1_795_327_299_000_000_000 + ns).unwrap());
        let names = [0, 16_000, 500_000_000, 999_999_999, 1_000_000_000, 9_000_000_000].map(at);
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        assert_eq!(names[2], "20261122-060139-8000");
    }
}
