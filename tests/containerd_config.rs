//! What castoff writes into containerd's configuration, read by containerd itself: its default, the one of Debian and an
//! absent one.

use castoff::model::containerd_config::{Dumped, config_path, dumped, set_config_path};
use std::{fs, process::Command};

const FOLDER: &str = "/etc/containerd/certs.d";

fn containerd(words: &[&str]) -> String {
    let output = Command::new("containerd").args(words).output().expect("containerd: see lab/packages");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn taken_up(text: &str) -> Dumped {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, text).unwrap();
    dumped(&containerd(&["--config", file.to_str().unwrap(), "config", "dump"])).unwrap()
}

#[test]
fn containerd_reads_the_folder_that_was_set_and_nothing_else_is_changed() {
    let default = containerd(&["config", "default"]);
    let format = dumped(&default).unwrap().format;
    let written = [
        None,
        Some(default.as_str()),
        Some(
            "version = 2\n\n[plugins]\n  [plugins.\"io.containerd.grpc.v1.cri\"]\n    [plugins.\"io.containerd.grpc.v1.cri\".cni]\n      bin_dir = \"/usr/lib/cni\"\n",
        ),
        Some("version = 2\r\nplugins.\"io.containerd.grpc.v1.cri\".sandbox_image = \"pause:1\"\r\n"),
        Some("version = 2\nplugins = { \"io.containerd.grpc.v1.cri\" = { sandbox_image = \"pause:1\" } }"),
    ];
    for before in written {
        let after = set_config_path(before, format, FOLDER).unwrap();
        let read = taken_up(&after);
        assert_eq!((read.config_path.as_str(), read.cri_disabled), (FOLDER, false), "{after}");
        assert_eq!(config_path(&after).as_deref(), Some(FOLDER));
        if let Some(before) = before {
            let was = taken_up(before);
            assert_eq!((was.config_path, was.mirrors, was.tls), (String::new(), read.mirrors, read.tls));
            let lost = before.lines().filter(|line| !after.lines().any(|other| other == *line));
            // A line that is written anew is the one of the setting, or one between braces.
            assert!(
                lost.clone().all(|line| line.contains("config_path") || line.contains('{')),
                "{:?}",
                lost.collect::<Vec<_>>()
            );
        }
    }
}
