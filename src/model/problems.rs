//! Problems as a person reads them: the same one on several hosts is said once, with its hosts.
//! Never leaves a host out.

use super::Problem;

/// The same problem, wherever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Together<'a> {
    pub problem: &'a Problem,
    /// The subject, and after it the hosts where the subject does not name them.
    pub subject: String,
}

impl Problem {
    /// The same as a note that is only to know: what has a hint is counted as work that is left to do by hand.
    #[must_use]
    pub fn informs(mut self) -> Self {
        if let Some(hint) = self.hint.take() {
            self.why = format!("{}: {hint}", self.why);
        }
        self
    }
}

/// Problems that differ in nothing but their host together, in the order of the first of each.
pub fn together<'a>(problems: impl IntoIterator<Item = &'a Problem>) -> Vec<Together<'a>> {
    let mut out: Vec<(&str, &str, &Problem, Vec<&str>)> = vec![];
    for problem in problems {
        let place = problem.place.as_deref().unwrap_or_default();
        // `mirror m.example from gpu-01` is the same as the one from gpu-02.
        let from = problem.subject.strip_suffix(place).filter(|_| !place.is_empty()).and_then(|head| head.strip_suffix(" from "));
        let (subject, joint) = from.map_or((problem.subject.as_str(), " on "), |subject| (subject, " from "));
        let told = from.is_none() && names(subject, place);
        let same = |(known, by, other, places): &&mut (&str, &str, &Problem, Vec<&str>)| {
            let words = |problem: &Problem| (problem.why.clone(), problem.hint.clone(), problem.owner.clone(), problem.since_ms);
            !told && !places.is_empty() && *known == subject && *by == joint && words(other) == words(problem)
        };
        match out.iter_mut().find(same) {
            Some((.., places)) => places.push(place),
            None => out.push((subject, joint, problem, if told { vec![] } else { vec![place] })),
        }
    }
    out.into_iter()
        .map(|(subject, joint, problem, places)| {
            let at = if places.is_empty() { String::new() } else { format!("{joint}{}", places.join(", ")) };
            Together { problem, subject: format!("{subject}{at}") }
        })
        .collect()
}

/// Whether a host is named in a subject: as a word of its own, and not as a part of a path or of another name.
fn names(subject: &str, place: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || "._-/".contains(c);
    let mut found = subject.match_indices(place);
    let alone = |(at, _): (usize, &str)| !subject[..at].ends_with(joins) && !subject[at + place.len()..].starts_with(joins);
    place.is_empty() || found.any(alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_problem_on_several_hosts_is_said_once() {
        let at = |subject: &str, why: &str, place: &str| Problem {
            place: (!place.is_empty()).then(|| place.to_owned()),
            ..Problem::new(subject, why)
        };
        let problems = [
            at("/etc/docker/daemon.json line 3", "is no JSON", "gpu-01"),
            at("mirror m.example from gpu-01", "answers 502", "gpu-01"),
            at("/etc/docker/daemon.json line 3", "is no JSON", "gpu-02"),
            at("mirror m.example from gpu-02", "answers 502", "gpu-02"),
            at("agent gpu-02", "12 GB free", "gpu-02"),
            at("Backend.AI", "is too old", ""),
            // Names that stand in a path by chance.
            at("/etc/containerd/certs.d/registry.k8s.io/hosts.toml", "has more than one mirror", "k8s"),
            at("/etc/containerd/certs.d/registry.k8s.io/hosts.toml", "has more than one mirror", "io"),
            at("/etc/docker/daemon.json line 7", "is no JSON", "docker"),
            at("host gpu-1: its daemon", "does not answer", "gpu-1"),
            at("host gpu-1: its daemon", "does not answer", "gpu"),
        ];
        let subjects: Vec<String> = together(&problems).into_iter().map(|together| together.subject).collect();
        let wanted = [
            "/etc/docker/daemon.json line 3 on gpu-01, gpu-02",
            "mirror m.example from gpu-01, gpu-02",
            "agent gpu-02",
            "Backend.AI",
            "/etc/containerd/certs.d/registry.k8s.io/hosts.toml on k8s, io",
            "/etc/docker/daemon.json line 7 on docker",
            "host gpu-1: its daemon",
            "host gpu-1: its daemon on gpu",
        ];
        assert_eq!(subjects, wanted);
    }
}
