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
        let told = from.is_none() && subject.contains(place);
        let same = |(known, by, other, _): &&mut (&str, &str, &Problem, Vec<&str>)| {
            let words = |problem: &Problem| (problem.why.clone(), problem.hint.clone(), problem.owner.clone(), problem.since_ms);
            !told && *known == subject && *by == joint && words(other) == words(problem)
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
        ];
        let subjects: Vec<String> = together(&problems).into_iter().map(|together| together.subject).collect();
        let wanted = [
            "/etc/docker/daemon.json line 3 on gpu-01, gpu-02",
            "mirror m.example from gpu-01, gpu-02",
            "agent gpu-02",
            "Backend.AI",
        ];
        assert_eq!(subjects, wanted);
    }
}
