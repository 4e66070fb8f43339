//! `castoff man`: the manual page, made of the same tree as the command line and of the table of exit codes.
//! Never a page of its own: what it says of an option is what `--help` says.

use super::{Cli, Exit, Failure};
use anyhow::Context;
use clap::CommandFactory;
use std::io::{self, Write};

const ENVIRONMENT: &[(&str, &str)] = &[
    ("CASTOFF_CLUSTER", "the cluster file, as --cluster"),
    ("CASTOFF_STATE", "where runs are kept, as --state"),
    ("CASTOFF_JOURNAL", "a PostgreSQL in which operators share their runs, as --journal; never with a password"),
    ("PGPASSWORD, PGPASSFILE", "the password of that PostgreSQL, where [journal] of the cluster file names none"),
    ("CASTOFF_UI", "the face of a run, as --ui"),
    ("CASTOFF_ON_HANGUP", "what a run does that has lost its terminal, as --on-hangup"),
    ("NO_COLOR, CLICOLOR, CLICOLOR_FORCE, TERM", "whether colours are used; TERM=dumb takes plain lines"),
    ("XDG_STATE_HOME, XDG_CONFIG_HOME", "where runs are kept and where the cluster file is looked for"),
];

const SIGNALS: &[(&str, &str)] = &[
    ("SIGINT (Ctrl-C)", "the first stops at the next safe point, the second at once, the third leaves; each can be resumed"),
    ("SIGTERM", "stops at the next safe point, after 20 s at once"),
    ("SIGHUP", "a lost connection costs nothing: the run ends its step and stops, or does what --on-hangup says"),
    ("SIGUSR1", "writes how the run stands into run.log, and to standard error where no screen is up"),
];

const FILES: &[(&str, &str)] = &[
    ("castoff.toml", "the cluster file; castoff init writes one"),
    ("$XDG_STATE_HOME/castoff/runs/RUN/journal.sqlite", "every entry of a run; for root below /var/lib/castoff"),
    ("$XDG_STATE_HOME/castoff/runs/RUN/run.log", "every line that a headless run prints, with its time"),
];

pub fn man() -> Result<Exit, Failure> {
    let mut page = vec![];
    write(&mut page).context("cannot make the manual page")?;
    // A closed pipe (`| head`) ends the output, nothing else.
    let _ = io::stdout().write_all(&page);
    Ok(Exit::Done)
}

fn write(page: &mut Vec<u8>) -> io::Result<()> {
    let mut command = Cli::command();
    command.build();
    let whole = clap_mangen::Man::new(command.clone()).section("1");
    whole.render_title(page)?;
    whole.render_name_section(page)?;
    whole.render_synopsis_section(page)?;
    whole.render_description_section(page)?;
    whole.render_options_section(page)?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        writeln!(page, ".SH \"CASTOFF {}\"", sub.get_name().to_uppercase())?;
        // Of the page of a subcommand only the body: the headings become smaller ones.
        let mut body = vec![];
        // What every command takes was said once, above.
        let own = sub.clone().mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg });
        let man = clap_mangen::Man::new(own);
        man.render_synopsis_section(&mut body)?;
        man.render_description_section(&mut body)?;
        man.render_options_section(&mut body)?;
        page.write_all(String::from_utf8_lossy(&body).replace(".SH ", ".SS ").as_bytes())?;
    }
    let codes: Vec<(String, &str)> = Exit::ALL.iter().map(|(exit, means)| ((*exit as u8).to_string(), *means)).collect();
    section(page, "EXIT STATUS", codes.iter().map(|(code, means)| (code.as_str(), *means)))?;
    section(page, "ENVIRONMENT", ENVIRONMENT.iter().copied())?;
    section(page, "SIGNALS", SIGNALS.iter().copied())?;
    section(page, "FILES", FILES.iter().copied())
}

fn section<'a>(page: &mut Vec<u8>, title: &str, rows: impl Iterator<Item = (&'a str, &'a str)>) -> io::Result<()> {
    writeln!(page, ".SH \"{title}\"")?;
    for (term, means) in rows {
        writeln!(page, ".TP\n\\fB{}\\fR\n{}", escaped(term), escaped(means))?;
    }
    Ok(())
}

/// Text that roff prints as it is.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_exit_code_is_in_the_manual_page() {
        let mut page = vec![];
        write(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        for sub in Cli::command().get_subcommands() {
            assert!(page.contains(&format!(".SH \"CASTOFF {}\"", sub.get_name().to_uppercase())), "{}", sub.get_name());
        }
        for (exit, means) in Exit::ALL {
            assert!(page.contains(&format!("\\fB{}\\fR\n{}", exit as u8, escaped(means))), "{exit:?}");
        }
    }
}
