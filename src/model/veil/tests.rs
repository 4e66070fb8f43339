use super::*;
use proptest::prelude::*;

fn nothing(_: &str) -> Option<String> {
    None
}

/// What is hidden of a text, in order; and that it comes back.
fn hidden(text: &str) -> Vec<String> {
    let veiled = veil(text);
    assert_eq!(unveil(&veiled.text, &veiled.values, nothing).as_deref(), Ok(text), "{}", veiled.text);
    veiled.values
}

#[test]
fn values_of_keys_that_name_a_secret_are_hidden() {
    for (text, expected) in [
        (r#"{"auths": {"https://index.docker.io/v1/": {"auth": "a2ltOnB3", "email": "k@x.example"}}}"#, &["a2ltOnB3"][..]),
        (r#"{"identitytoken": "t1", "Registry-Token":"t2", "b": {"x_password" : "p"}}"#, &["t1", "t2", "p"]),
        (r#"{"password": "a\"b\\", "user": "kim"}"#, &[r#"a\"b\\"#]),
        (r#"{"p\u0061ssword": "x1"}"#, &["x1"]),
        ("\u{feff}{\r\n  \"token\":\r\n    \"t\"\r\n}\r\n", &["t"]),
        ("{\"token\": [\"a\", \"b\"], \"auth\": 12, \"secret\": true}", &["a", "b", "12"]),
        (r#"{"credential": {"username": "kim", "pw": ["x", {"y": "z"}]}, "n": "m"}"#, &["x", "z"]),
        (r#"{"credHelpers": {"a.example": "ecr-login"}, "credsStore": "pass", "authorization-plugins": ["opa"]}"#, &[]),
        (r#"{"tlskey": "/k.pem", "token-file": "/run/token", "tokenfile": "s3cret"}"#, &["s3cret"]),
        (r#"{"labels": ["api_token=abc", "b"], "registry-mirrors": ["https://auth.example:5000", "https://token/"]}"#, &["abc"]),
        (r#"{"insecure-registries": ["secret-store.example:5000"], "env": "{\"password\": \"x\"}"}"#, &[r#"\"x\"}"#]),
        ("[host.\"https://m.example\".header]\n  Authorization = [\"Basic eA==\"]\n  X-Api-Key = 'k'\n", &["Basic eA==", "k"]),
        (
            "[a.configs.\"auth.example\".tls]\nca_file = \"/c\"\n[a.configs.\"h\".auth]\nusername = \"kim\"\npw = \"x\"\n[b]\nc = \"d\"\n",
            &["x"],
        ),
        ("a.\"h\".auth.password = \"\"\"\none\ntwo\\\"\"\"\"\nb = 1\n", &["\none\ntwo\\\""]),
        ("a = 1 # it's \"\n# old password = \"x\" # y\nb = 'c'\n", &["\"x\" # y"]),
        ("credential-helpers = [\"secretservice\"]\nauth-file = \"/run/auth.json\"\n", &[]),
        ("p = { secret = \"x\", n = 1 }\n", &["x"]),
        ("[Service]\nEnvironment=\"API_TOKEN=abc\" \\\n  X=y\nOTHER=1\n", &["abc\" \\\n  X=y"]),
        ("password = hun\"ter\"2 # no\nuser = kim\n", &["hun\"ter\"2 # no"]),
        ("x\npassword=#hunter2\r\nuser=kim\r\n", &["#hunter2"]),
        ("{\"password\": \"hun\"ter2\", \"a\": 1}\n\"b\": 2", &["hun\"ter2\", \"a\": 1}"]),
        ("{\"password\" \"x\" }", &["x"]),
        ("{\"password\": // why\n \"x\", }", &["// why", "x"]),
        ("{\"password\": \"never closed", &["never closed"]),
        // The one key stands in what may be the value of the other.
        ("password:['\n\"password\":'a]b'", &["\n\"password\":", "'a]b'"]),
        ("{\"password\":", &[]),
        ("password", &[]),
    ] {
        assert_eq!(hidden(text), expected, "{text}");
    }
}

#[test]
fn passwords_in_urls_are_hidden() {
    for (text, expected) in [
        (r#"{"m": "https://kim:pw@h.example/v2/"}"#, &["pw"][..]),
        (r#"{"m": "https:\/\/kim:pw@h.example"}"#, &["pw"]),
        (r#"{"m": ["http://kim:p@/w#@h", "https://ghp@h"]}"#, &["p@/w#", "ghp"]),
        ("HTTP_PROXY=http://kim:pw@proxy:3128 NO_PROXY=x\n", &["pw"]),
        ("m = \"http://kim:it's@h\"\n", &["it's"]),
        ("m = \"ssh://kim@h\"\ni = \"https://h:5000/a@sha256:00\"\nu = \"https://h:443/v2\"\n", &[]),
    ] {
        assert_eq!(hidden(text), expected, "{text}");
    }
    assert_eq!(veil(r#"["https://kim:pw@h"]"#).text, r#"["https://kim:(hidden 1)@h"]"#, "the rest stays");
}

#[test]
fn what_reads_like_a_marker_survives() {
    let text = "# (hidden 3) and (secret hub) and (basic \npassword = \"x(hidden 1)\"\n";
    let veiled = veil(text);
    assert_eq!(veiled.text, "# (hidden 1) and (hidden 2) and (hidden 3)\npassword = \"(hidden 4)\"\n");
    assert_eq!(unveil(&veiled.text, &veiled.values, |_| Some("no".to_owned())).as_deref(), Ok(text));
}

#[test]
fn markers_are_filled_as_their_place_needs() {
    let secret = |name: &str| match name {
        "odd" => Some("a\"b\\c\n".to_owned()),
        "quote" => Some("a'b".to_owned()),
        "hub-1.x" => Some("pw".to_owned()),
        _ => None,
    };
    let user = basic("robot$a:b) %/é", "hub-1.x");
    assert_eq!(user, "(basic robot$a%3Ab%29%20%25%2F%C3%A9 hub-1.x)");
    let with = |text: &str| unveil(text, &["v\\\"".to_owned()], secret);
    for (text, expected) in [
        (r#"{"a": "(hidden 1)(secret hub-1.x)"}"#, Ok(r#"{"a": "v\"pw"}"#)),
        (r#"{"a": "(secret odd)"}"#, Ok(r#"{"a": "a\"b\\c\u000A"}"#)),
        ("a = \"(secret quote)\"", Ok("a = \"a'b\"")),
        ("a = '(secret quote)'", Err("`(secret quote)` cannot be filled: the secret holds `'` and stands in single quotes")),
        ("a=(secret quote)", Ok("a=a'b")),
        (
            "a=(secret odd)",
            Err(
                "`(secret odd)` cannot be filled: the secret holds a control character, which only a text in double quotes can write",
            ),
        ),
        ("a = \"(basic kim hub-1.x)\"", Ok("a = \"Basic a2ltOnB3\"")),
        ("a = \"(basic robot$x%2Fy hub-1.x)\"", Ok("a = \"Basic cm9ib3QkeC95OnB3\"")),
        (
            &user,
            Err(
                "`(basic robot$a%3Ab%29%20%25%2F%C3%A9 hub-1.x)` cannot be filled: a user name with `:` and a password from `hub-1.x` cannot be told apart",
            ),
        ),
        ("(hidden 2)", Err("`(hidden 2)` stands for nothing: the file hides 1")),
        ("(hidden 0)", Err("`(hidden 0)` is no marker that is known")),
        ("(secret nope)", Err("no secret is named `nope`, as `(secret nope)` asks")),
        ("(secret a b)", Err("`(secret a b)` is no marker that is known")),
        ("(hidden, (secretly", Ok("(hidden, (secretly")),
    ] {
        assert_eq!(with(text).as_ref().map(String::as_str).map_err(String::as_str), expected, "{text}");
    }
}

#[test]
fn texts_are_the_same_but_for_their_secrets() {
    let written = "[host.\"https://m\".header]\nAuthorization = \"Bearer (secret hub)\"\n";
    let read = veil(&unveil(written, &[], |_| Some("x".to_owned())).unwrap()).text;
    assert!(read.contains("\"(hidden 1)\""), "{read}");
    assert!(same(written, &read));
    assert!(same("a (hidden 1) (secret b)", "a (hidden 7) (basic k%3A b)"));
    assert!(!same("a (hidden 1)", "b (hidden 1)"));
    assert!(!same("a = \"x\"", "a = \"(hidden 1)\""));
}

#[test]
fn a_veiled_text_shows_no_value_when_it_is_debugged() {
    let shown = format!("{:?}", veil("password = \"hunter2\""));
    assert!(!shown.contains("hunter2") && shown.contains("(hidden 1)"), "{shown}");
}

/// Something of everything that is read.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[\"'\\\\ \\n\\r\\t:=,{}\\[\\]#;/@()]{1,3}",
        "(\"\"\"|'''|://|\\\\u0061|\\\\/|\u{feff}|//|/\\*|\\\\\"|\\(hidden |\\(hidden 1\\)|\\(basic )",
        "(\"?[a-z]{0,2}(password|Token|auth|user|a\\.secret)[\"']?)( ?[:=] ?)?",
        "\\PC{0,4}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn anything_comes_back_as_it_was(pieces in prop::collection::vec(piece(), 0..24)) {
        let text = pieces.concat();
        hidden(&text);
        let veiled = veil(&text);
        prop_assert!(same(&veiled.text, &veiled.text));
    }

    #[test]
    fn no_secret_is_left(
        before in prop::collection::vec(piece(), 0..6),
        key in "(\"password\"|token|x\\.auth|'secret'|\"A-Secret_Key\")",
        separator in "( ?: ?| ?= ?)",
        style in 0usize..4,
        value in "[a-z0-9!$%&*+/<>?@^_`{|}~.\u{e9} ,:=\\]\\[#;-]{0,10}",
        after in prop::collection::vec(piece(), 0..6),
    ) {
        const MARK: &str = "Zhunter2Z";
        let value = format!("{MARK}{value}{MARK}");
        let value = match style {
            0 => format!("\"{value}\""),
            1 => format!("'{value}'"),
            2 => format!("[\"x\", \"{value}\"]"),
            _ => value,
        };
        // Alone on its line; whatever stands above and below, whole or broken.
        let text = format!("{}\n{key}{separator}{value}\n{}", before.concat(), after.concat());
        let veiled = veil(&text);
        prop_assert!(!veiled.text.contains(MARK), "{}\n---\n{}", text, veiled.text);
        prop_assert_eq!(unveil(&veiled.text, &veiled.values, nothing), Ok(text));
    }

    #[test]
    fn no_secret_is_left_of_a_document(secret in "[ -~\u{e9}\n]{1,12}", user in "[a-z\"\\\\]{1,4}", note in "\\PC{0,8}") {
        let secret = format!("Zhunter2Z{secret}Zhunter2Z");
        let value = serde_json::json!({ "note": note, "auths": { "h.example": { "auth": secret, "username": user } }, "token": [secret], "n": 1 });
        let toml: toml::Table = serde_json::from_value(value.clone()).unwrap();
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap(), toml.to_string()] {
            let veiled = veil(&text);
            prop_assert!(!veiled.text.contains("Zhunter2Z"), "{}", veiled.text);
            let back = unveil(&veiled.text, &veiled.values, nothing);
            let readable = serde_json::from_str::<serde_json::Value>(&veiled.text).is_ok() || toml::from_str::<toml::Table>(&veiled.text).is_ok();
            prop_assert!(readable, "{}", veiled.text);
            prop_assert_eq!(back, Ok(text));
        }
    }
}
