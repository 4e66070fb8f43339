//! Layer 4: the command line. Wires runbook, cluster, journal, engine and a front end; decides nothing itself.

mod afar;
mod beside;
mod bundle;
mod doctor;
mod exit;
mod face;
mod files;
mod going;
mod guard;
mod held;
mod home;
mod journal;
mod log;
mod look_up;
mod man;
pub mod memory;
mod process;
mod run;
mod run_log;
mod signals;
mod take_over;
mod tmux;
mod verify;
mod watch;
mod window;

pub use exit::{Exit, Failure};

use crate::{model::text, tui};
use clap::{Args, Parser, Subcommand, ValueEnum};
use face::Ui;
use std::path::PathBuf;
use window::WindowOption;

#[derive(Debug, Parser)]
#[command(
    name = "castoff",
    version,
    about = "Cast off from Docker Hub: a resumable runbook for the maintenance window",
    after_help = "Examples:\n  castoff run backend-ai --simulate          look at it, on a cluster that is not there\n  castoff plan backend-ai                    the dry run: reads, writes nothing\n  castoff run backend-ai                     the same page, then the gates, then the run"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Clone, Debug)]
struct Common {
    /// The cluster file [default: ./castoff.toml, then the user's and the system's configuration folder]
    #[arg(long, global = true, value_name = "FILE", env = "CASTOFF_CLUSTER")]
    cluster: Option<PathBuf>,
    /// Where runs are kept [default: $XDG_STATE_HOME/castoff, for root /var/lib/castoff]
    #[arg(long, global = true, value_name = "DIR", env = "CASTOFF_STATE")]
    state: Option<PathBuf>,
    /// A PostgreSQL that operators share, `postgres://user@host/database`, in place of the folder; without a password, which
    /// comes from PGPASSWORD, PGPASSFILE or `[journal]` of the cluster file. `local`: the folder, whatever the cluster file says
    #[arg(long, global = true, value_name = "URL", env = "CASTOFF_JOURNAL", hide_env_values = true)]
    journal: Option<String>,
    /// Text for people or JSON for machines
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Colours [default: as the terminal and NO_COLOR say]
    #[arg(long, global = true, value_enum, default_value_t = When::Auto)]
    color: When,
    /// Plain characters only
    #[arg(long, global = true)]
    ascii: bool,
    /// Which colours, where there are colours: `colorblind` tells red from green by other means, `mono` uses none
    #[arg(long, global = true, value_enum, default_value_t = Palette::Default, env = "CASTOFF_PALETTE")]
    palette: Palette,
}

impl Common {
    /// Colours and characters, as the options and the environment say.
    fn look(&self) -> tui::Look {
        let color = match self.color {
            When::Auto => None,
            When::Always => Some(true),
            When::Never => Some(false),
        };
        let mut look = tui::Look::from_environment(|name| std::env::var(name).ok(), self.ascii, color);
        look.mono |= self.palette == Palette::Mono;
        look.colorblind = self.palette == Palette::Colorblind;
        look
    }

    /// The options that a command has to repeat to mean the same run: those that were given, with whole paths.
    fn again(&self) -> String {
        let given = [("--cluster", &self.cluster), ("--state", &self.state)];
        let option = |(name, path): (&str, &Option<PathBuf>)| {
            let path = path.as_ref()?;
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            Some(format!(" {name} {}", text::quoted(&path.to_string_lossy())))
        };
        let journal = self.journal.as_ref().filter(|url| !crate::cluster::config::holds_password(url));
        let journal = journal.map(|url| format!(" --journal {}", text::quoted(url)));
        given.into_iter().filter_map(option).chain(journal).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Palette {
    Default,
    Colorblind,
    Mono,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

/// What a plan is made of.
#[derive(Args, Clone, Debug)]
struct Planned {
    /// A shipped runbook's name, or the path of a runbook
    runbook: String,
    /// Replace a value: `limits.total=8`, `pull.also=["…"]`, `move.to=["…"]`
    #[arg(long = "set", value_name = "NAME=VALUE")]
    sets: Vec<String>,
    /// Work on the cluster that ships inside the program, not on a real one
    #[arg(long)]
    simulate: bool,
    /// With --simulate: begin from this inventory, as written by `castoff inventory`
    #[arg(long, value_name = "FILE", requires = "simulate")]
    inventory: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
struct Front {
    /// How the run is shown and who is asked
    #[arg(long, value_enum, default_value_t = Ui::Auto, value_name = "FACE", env = "CASTOFF_UI")]
    ui: Ui,
    /// Short for --ui headless: gates are answered ahead by --approve, or the run stops there
    #[arg(long)]
    headless: bool,
    /// Answer the gate of STEP ahead, for this plan only
    #[arg(long = "approve", value_name = "STEP=PLAN_ID")]
    approvals: Vec<String>,
    /// Headless: how many seconds a gate may wait for its checks [default: as long as it takes]
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
    /// Run COMMAND by `sh -c` with one JSON object on its standard input when the run needs somebody, fails or ends
    #[arg(long, value_name = "COMMAND")]
    notify: Option<String>,
    /// Draw nothing for the clock alone: for slow links, and for eyes that want stillness
    #[arg(long, env = "CASTOFF_STILL", value_parser = clap::builder::FalseyValueParser::new())]
    still: bool,
    /// On ssh without tmux: do not offer to start inside tmux
    #[arg(long, env = "CASTOFF_NO_TMUX", value_parser = clap::builder::FalseyValueParser::new())]
    no_tmux: bool,
    /// What a run does that has lost its terminal: it ends with 13 and is resumed
    #[arg(long, value_enum, default_value_t = OnHangup::FinishStep, env = "CASTOFF_ON_HANGUP")]
    on_hangup: OnHangup,
}

#[derive(Args, Clone, Debug)]
struct Takeover {
    run: String,
    /// Why; it stands in the journal, and the castoff that had the run says it
    #[arg(long)]
    reason: String,
    /// Also from a castoff that lives: the name of the run is typed, or --approve take-over=PLAN
    #[arg(long)]
    even_if_alive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnHangup {
    /// End the running step, up to its next question
    FinishStep,
    /// Stop at the next safe point
    Pause,
    /// Go on to the end, as long as no question comes
    Finish,
}

impl From<OnHangup> for crate::model::OnHangup {
    fn from(how: OnHangup) -> Self {
        match how {
            OnHangup::FinishStep => Self::FinishStep,
            OnHangup::Pause => Self::Pause,
            OnHangup::Finish => Self::Finish,
        }
    }
}

impl Front {
    fn ui(&self) -> Ui {
        if self.headless { Ui::Headless } else { self.ui }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The dry run: every change of the whole runbook, before and after. Writes nothing anywhere
    Plan {
        #[command(flatten)]
        planned: Planned,
        #[command(flatten)]
        window: WindowOption,
        /// Write the plan to a file, for `castoff run FILE`
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// The plan, then the gates, then the run. RUNBOOK may be a saved plan: it runs exactly as saved
    Run {
        #[command(flatten)]
        planned: Planned,
        #[command(flatten)]
        front: Front,
        #[command(flatten)]
        window: WindowOption,
    },
    /// Go on with a run that was cut off, paused or failed [default: the newest that is not over]
    Resume {
        run: Option<String>,
        #[command(flatten)]
        front: Front,
        #[command(flatten)]
        window: WindowOption,
        /// Try failed changes again
        #[arg(long)]
        retry: bool,
    },
    /// Go on with a run that another operator's castoff began and has left, here
    TakeOver {
        #[command(flatten)]
        takeover: Takeover,
        #[command(flatten)]
        front: Front,
        #[command(flatten)]
        window: WindowOption,
    },
    /// Undo the changes of a run in reverse order
    Rollback {
        run: Option<String>,
        /// Undo down to and with this step [default: the first]
        #[arg(long, value_name = "STEP")]
        to: Option<String>,
        /// Why; it stands in the report
        #[arg(long, default_value = "asked on the command line")]
        reason: String,
        #[command(flatten)]
        front: Front,
        #[command(flatten)]
        window: WindowOption,
    },
    /// Look on at a run that another terminal drives: the same screens, read-only [default: the one that runs]
    Watch { run: Option<String> },
    /// Ask a running run to pause at its safe point [default: the one that runs]
    Pause { run: Option<String> },
    /// Ask a paused run to go on [default: the one that runs]
    GoOn { run: Option<String> },
    /// Ask a running run to finish what is in flight, write and leave; it can be resumed [default: the one that runs]
    Stop { run: Option<String> },
    /// Change limits of a running run, `pulls=4 total=20`; without any, show them [default: the one that runs]
    Limit {
        /// NAME=NUMBER, as often as wanted, and the run if there is more than one
        #[arg(value_name = "NAME=NUMBER|RUN")]
        words: Vec<String>,
    },
    /// What the journal of a run says and what the cluster says now: looks, and changes nothing. Of a bundle: whether every
    /// byte is as it was written
    Verify {
        #[arg(value_name = "RUN|BUNDLE")]
        run: Option<String>,
    },
    /// The record of a run itself
    Journal {
        #[command(subcommand)]
        of: JournalCommand,
    },
    /// How a run stands
    Status { run: Option<String> },
    /// The runs that are kept here
    Runs,
    /// The report of a run, as Markdown or JSON
    Report {
        run: Option<String>,
        /// Write plan, ledger, entries, differences, answers and report to a new folder, sealed: castoff verify FOLDER
        #[arg(long, value_name = "FOLDER")]
        bundle: Option<PathBuf>,
    },
    /// What happened in a run, entry by entry
    Log {
        run: Option<String>,
        /// Go on as the run goes on, until it is over
        #[arg(long, short)]
        follow: bool,
    },
    /// Runbooks and actions
    List,
    /// Check a runbook and a cluster file without touching the cluster
    Check {
        /// A shipped runbook's name, or the path of a runbook
        runbook: String,
        #[arg(long = "set", value_name = "NAME=VALUE")]
        sets: Vec<String>,
    },
    /// Find out what is wrong, host by host: looks, and changes nothing
    Doctor {
        #[command(subcommand)]
        of: DoctorCommand,
    },
    /// Write what the cluster is seen to be to a file, for a rehearsal
    Inventory {
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The runbook whose registries are looked up too
        #[arg(long, default_value = "backend-ai")]
        runbook: String,
    },
    /// Write a commented cluster file from what this host tells
    Init {
        #[arg(long, value_name = "FILE", default_value = "castoff.toml")]
        out: PathBuf,
    },
    /// JSON schema of a runbook or of the cluster file, for an editor
    Schema {
        #[arg(value_enum, default_value_t = Schema::Runbook)]
        of: Schema,
    },
    /// Completions for a shell
    Completions { shell: clap_complete::Shell },
    /// Gives the registry of a brown-out back when its time is over: castoff starts it by itself
    #[command(hide = true)]
    Guard {
        #[arg(long, value_name = "FILE")]
        log: PathBuf,
    },
    /// The manual page, with every command and exit code: `castoff man > castoff.1`
    Man,
}

#[derive(Debug, Subcommand)]
enum JournalCommand {
    /// Hold every entry against the chain of hashes; names the first that is not as it was written
    Verify { run: Option<String> },
}

#[derive(Debug, Subcommand)]
enum DoctorCommand {
    /// Why a Docker daemon does not use its mirror: name, connection, daemon.json, the running daemon, /v2/, an image, the log
    Mirror(doctor::MirrorOptions),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Schema {
    Runbook,
    Cluster,
}

/// Reads the command line and does what it says.
pub async fn main() -> Result<Exit, Failure> {
    let cli = Cli::parse();
    let common = &cli.common;
    if let Command::Run { front, .. }
    | Command::Resume { front, .. }
    | Command::TakeOver { front, .. }
    | Command::Rollback { front, .. } = &cli.command
    {
        tmux::offer(front)?;
    }
    match cli.command {
        Command::Plan { planned, window, out } => run::plan(common, &planned, &window, out.as_deref()).await,
        Command::Run { planned, front, window } => run::run(common, &planned, &front, &window).await,
        Command::Resume { run, front, window, retry } => run::resume(common, run, &front, &window, retry).await,
        Command::TakeOver { takeover, front, window } => take_over::take_over(common, &takeover, &front, &window).await,
        Command::Rollback { run, to, reason, front, window } => run::rollback(common, run, to, &reason, (&front, &window)).await,
        Command::Watch { run } => watch::watch(common, run).await,
        Command::Pause { run } => watch::ask(common, run, watch::Wanted::Pause).await,
        Command::GoOn { run } => watch::ask(common, run, watch::Wanted::GoOn).await,
        Command::Stop { run } => watch::ask(common, run, watch::Wanted::Stop).await,
        Command::Limit { words } => watch::limit(common, words).await,
        Command::Verify { run: Some(named) } if bundle::is_bundle(&named) => bundle::verify(common, &named),
        Command::Verify { run } => verify::verify(common, run).await,
        Command::Journal { of: JournalCommand::Verify { run } } => journal::verify(common, run).await,
        Command::Status { run } => look_up::status(common, run).await,
        Command::Runs => look_up::runs(common).await,
        Command::Report { run, bundle: Some(folder) } => bundle::write(common, run, &folder).await,
        Command::Report { run, bundle: None } => look_up::report(common, run).await,
        Command::Log { run, follow } => log::log(common, run, follow).await,
        Command::List => look_up::list(common),
        Command::Check { runbook, sets } => files::check(common, &runbook, &sets),
        Command::Doctor { of: DoctorCommand::Mirror(options) } => doctor::mirror(common, &options).await,
        Command::Inventory { out, runbook } => run::inventory(common, &runbook, &out).await,
        Command::Init { out } => files::init(&out),
        Command::Schema { of } => look_up::schema(of),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut <Cli as clap::CommandFactory>::command(), "castoff", &mut std::io::stdout());
            Ok(Exit::Done)
        }
        Command::Guard { log } => guard::guard(common, &log).await,
        Command::Man => man::man(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_the_shell() {
        assert_eq!(text::quoted("/srv/castoff.toml"), "/srv/castoff.toml");
        assert_eq!(text::quoted("/srv/my runs"), "'/srv/my runs'");
        assert_eq!(text::quoted("/srv/kim's; rm"), r"'/srv/kim'\''s; rm'");
    }
}
