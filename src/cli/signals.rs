//! What the operating system asks of a headless run: to stop at the safe point, then at once, then to be gone.
//! Never loses a stop because nobody can be told of it.

use super::Exit;
use crate::model::{Command, OnHangup};
use std::{io::Write, time::Duration};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// After SIGTERM the safe stop may take this long, then it is made at once.
const GRACE: Duration = Duration::from_secs(20);

/// The first signal asks for a safe stop, the second for a stop at once, the third ends the process: the journal makes
/// each of them safe. After a lost connection the run goes on as far as it was told to: the receiver tells it.
pub fn stop_on_signals(commands: mpsc::Sender<Command>, on_hangup: OnHangup) -> mpsc::Receiver<OnHangup> {
    let (lost_to, lost) = mpsc::channel(1);
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
        else {
            return;
        };
        let mut asked = 0;
        let late = tokio::time::sleep(Duration::from_hours(24 * 365));
        tokio::pin!(late);
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => late.as_mut().reset(tokio::time::Instant::now() + GRACE),
                _ = hangup.recv() => {
                    crate::account::let_go();
                    let _ = lost_to.try_send(on_hangup);
                    continue;
                }
                () = &mut late, if asked == 1 => {}
            }
            asked += 1;
            let (command, words) = match asked {
                1 => (Command::Stop, "stopping at the next safe point; once more stops at once"),
                2 => (Command::StopNow, "stopping at once; what is in flight is looked up on resume"),
                _ => std::process::exit(Exit::Interrupted as i32),
            };
            let _ = writeln!(std::io::stderr(), "{words}");
            // A run that is over takes no command; what is left of the program may still be ended.
            let _ = commands.send(command).await;
        }
    });
    lost
}
