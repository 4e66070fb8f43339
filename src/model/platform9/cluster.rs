//! A cluster of Platform9 as its cluster API tells it: the seven parameters of its mirror, and where they stand towards a
//! change. Pure; a password is never told, only that there is one.

use crate::model::{Row, Standing, WayBack, change::HIDDEN};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where the change happens, as plans name it.
pub const PLACE: &str = "platform9";

/// The parameters and what each is where it is not set.
const FIELDS: [(&str, Value); 7] = [
    ("customRegistryUrl", Value::Null),
    ("customRegistryRepoPath", Value::Null),
    ("customRegistryUsername", Value::Null),
    (PASSWORD, Value::Null),
    ("customRegistrySkipTls", Value::Bool(false)),
    ("customRegistrySelfSignedCerts", Value::Bool(false)),
    ("customRegistryCertPath", Value::Null),
];
pub const PASSWORD: &str = "customRegistryPassword";
const USERNAME: &str = "customRegistryUsername";

/// What is read of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Platform9Cluster {
    pub uuid: String,
    pub name: String,
    /// `docker` or `containerd`, where it is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// All seven parameters, the password as `(hidden)`.
    pub mirror: Row,
}

/// The seven parameters of an answer. What it does not hold is not set. An API that shows no password must not look as if
/// there were none: where there is a user there is a password.
pub fn fields(answer: &Row) -> Row {
    let empty = |value: &&Value| !value.is_null() && value.as_str() != Some("");
    let there = |name: &str| answer.get(name).filter(empty).cloned();
    let of = |(name, unset): &(&str, Value)| {
        let value = if *name == PASSWORD {
            there(PASSWORD).or_else(|| there(USERNAME)).map_or(Value::Null, |_| Value::from(HIDDEN))
        } else {
            there(name).unwrap_or_else(|| unset.clone())
        };
        ((*name).to_owned(), value)
    };
    FIELDS.iter().map(of).collect()
}

/// Where a cluster stands. A password equals any password: whether it is the same cannot be seen.
pub fn standing(before: &Row, after: &Row, found: &Row) -> Standing {
    let differing = |side: &Row| {
        let differs = |name: &str| {
            let (wanted, found) = (side.get(name).unwrap_or(&Value::Null), found.get(name).unwrap_or(&Value::Null));
            if name == PASSWORD { wanted.is_null() != found.is_null() } else { wanted != found }
        };
        FIELDS.iter().map(|(name, _)| *name).find(|name| differs(name))
    };
    match (differing(after), differing(before)) {
        (None, _) => Standing::After,
        (_, None) => Standing::Before,
        (_, Some(name)) => Standing::Neither(format!("`{name}` is {}", found.get(name).unwrap_or(&Value::Null))),
    }
}

/// The parameters that an undo sends: as they were, but for a password, which castoff never had. The one that it put is taken
/// out, for it is of another mirror.
pub fn taken_back(before: &Row) -> Row {
    let sent = |(name, value): (&String, &Value)| (name.clone(), if *value == HIDDEN { Value::Null } else { value.clone() });
    before.iter().map(sent).collect()
}

pub(crate) fn way_back(before: &Row, after: &Row) -> WayBack {
    let lost = before.get(PASSWORD).is_some_and(|value| value == HIDDEN) && before != after;
    if lost {
        WayBack::Partly(format!("castoff keeps no passwords: it takes its own out, and `{PASSWORD}` must be put back by hand"))
    } else {
        WayBack::Whole
    }
}

/// What differs, one parameter a line.
pub(crate) fn sides(before: &Row, after: &Row) -> (String, String) {
    let side = |of: &Row, other: &Row| -> String {
        let differing = of.iter().filter(|(name, value)| other.get(*name) != Some(value));
        differing.flat_map(|(name, value)| [name.as_str(), " = ", value.to_string().as_str(), "\n"].map(str::to_owned)).collect()
    };
    (side(before, after), side(after, before))
}

pub(crate) fn requests(uuid: &str, from: &Row, sent: &Row) -> Vec<String> {
    let url = from.get("customRegistryUrl").and_then(Value::as_str);
    let was = url.map_or_else(|| "there has to be no mirror yet".to_owned(), |url| format!("its mirror has to be {url} still"));
    vec![
        format!("{PLACE}: GET /clusters/{uuid}: {was}"),
        format!("{PLACE}: PUT /clusters/{uuid} with {}", Value::Object(sent.clone())),
        format!("{PLACE}: GET /clusters/{uuid}: the parameters have to be those that were sent"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(value: &Value) -> Row {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn what_an_answer_does_not_hold_is_not_set_and_no_password_is_read() {
        let unset = fields(&row(&json!({ "name": "prod", "customRegistryUrl": "" })));
        assert_eq!(unset.len(), 7);
        assert!(unset["customRegistryUrl"].is_null() && unset[PASSWORD].is_null());
        assert_eq!(unset["customRegistrySkipTls"], false);
        let told = fields(&row(&json!({ "customRegistryUsername": "kim", "customRegistryPassword": "hunter2" })));
        assert_eq!(told[PASSWORD], HIDDEN);
        let masked = fields(&row(&json!({ "customRegistryUsername": "kim", "customRegistryPassword": null })));
        assert_eq!(masked[PASSWORD], HIDDEN);
    }

    #[test]
    fn a_cluster_stands_before_after_or_neither() {
        let before = fields(&Row::new());
        let after = row(&super::super::tests::sound().body());
        let check = |found: Value, expected: &str| {
            let standing = format!("{:?}", standing(&before, &after, &fields(&row(&found))));
            assert!(standing.starts_with(expected), "{standing}");
        };
        check(json!({}), "Before");
        let mut there = Value::Object(after.clone());
        check(there.clone(), "After");
        there[PASSWORD] = json!("another");
        check(there.clone(), "After");
        there["customRegistryUrl"] = json!("https://other.example");
        check(there, "Neither(\"`customRegistryUrl` is \\\"https://other.example\\\"\")");
    }

    #[test]
    fn a_password_that_was_there_cannot_be_given_back() {
        let after = row(&super::super::tests::sound().body());
        let before = fields(&row(&json!({ "customRegistryUrl": "https://old.example", "customRegistryUsername": "lee" })));
        assert!(matches!(way_back(&before, &after), WayBack::Partly(_)));
        assert_eq!(way_back(&fields(&Row::new()), &after), WayBack::Whole);
        let back = taken_back(&before);
        assert!(back[PASSWORD].is_null() && back["customRegistryUsername"] == "lee");
    }
}
