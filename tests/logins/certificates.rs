//! Certificates for the tests, made once a process by `openssl`: of the right authority, of a stranger's, and expired.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
    time::Duration,
};

const CONFIG: &str = "[ca]\ndefault_ca = d\n[d]\ndatabase = index.txt\nnew_certs_dir = .\nrand_serial = yes\ndefault_md = sha256\n\
    policy = p\nunique_subject = no\ncopy_extensions = copy\n[p]\ncommonName = supplied\n";
const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/// What is older is nobody's any more.
const DAY: Duration = Duration::from_hours(24);

/// Authority, name, subject alternative name; `expired` in the name makes it so.
const LEAVES: [(&str, &str, &str); 6] = [
    ("ca", "server", "IP:127.0.0.1,DNS:localhost"),
    ("ca", "server-expired", "IP:127.0.0.1,DNS:localhost"),
    ("ca", "server-elsewhere", "DNS:elsewhere.example"),
    ("ca", "client", "DNS:castoff"),
    ("ca", "client-expired", "DNS:castoff"),
    ("stranger", "client-stranger", "DNS:castoff"),
];

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("logins-certificates");
    let is_old =
        |path: &Path| path.metadata().and_then(|found| found.modified()).is_ok_and(|at| at.elapsed().is_ok_and(|age| age > DAY));
    for old in std::fs::read_dir(&all).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| is_old(path)) {
        let _ = std::fs::remove_dir_all(old);
    }
    let folder = all.join(std::process::id().to_string());
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder for certificates");
    let openssl = |words: String| {
        let done = Command::new("openssl").args(words.split_whitespace()).current_dir(&folder).output().expect("openssl");
        assert!(done.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&done.stderr));
    };
    std::fs::write(folder.join("config"), CONFIG).expect("a file");
    std::fs::write(folder.join("index.txt"), "").expect("a file");
    for authority in ["ca", "stranger"] {
        openssl(format!("req -x509 {KEY} -days 2 -subj /CN=castoff-{authority} -keyout {authority}.key -out {authority}.pem"));
    }
    for (authority, name, san) in LEAVES {
        openssl(format!("req {KEY} -subj /CN=castoff-{name} -addext subjectAltName={san} -keyout {name}.key -out {name}.csr"));
        let dates = if name.contains("expired") { "-startdate 20260101000000Z -enddate 20260301000000Z" } else { "-days 2" };
        openssl(format!(
            "ca -batch -notext -config config -cert {authority}.pem -keyfile {authority}.key {dates} -in {name}.csr -out {name}.pem"
        ));
    }
    folder
});

/// `ca.pem`, `client.key`
pub fn path(name: &str) -> PathBuf {
    FOLDER.join(name)
}

pub fn text(name: &str) -> String {
    path(name).display().to_string()
}
