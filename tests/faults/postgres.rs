//! Rows and aliases of a real PostgreSQL, which itself counts how often they were written.

use crate::{
    proxy::{At, Fault, Proxy},
    scene::{Case, Marks, Phase, Scene},
    support::postgres::{Database, TRUSTED},
};
use castoff::{
    cluster::{config, config::ClusterFile, live::Live},
    model::{Change, Part, RowDiff},
};
use serde_json::json;
use sqlx::Connection;
use std::{sync::Arc, time::Duration};

const SCHEMA: &str = "
CREATE TABLE domains (name varchar(64) PRIMARY KEY, allowed_docker_registries varchar[] NOT NULL);
CREATE TABLE images (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name varchar NOT NULL, registry varchar NOT NULL,
    architecture varchar NOT NULL, config_digest char(72) NOT NULL);
CREATE TABLE image_aliases (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), alias varchar UNIQUE,
    image uuid NOT NULL REFERENCES images (id));
CREATE TABLE written (of text);
CREATE FUNCTION write_down_alias() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO written VALUES (NEW.alias); RETURN NEW; END $$;
CREATE TRIGGER counted AFTER UPDATE ON image_aliases FOR EACH ROW EXECUTE FUNCTION write_down_alias();
CREATE FUNCTION write_down_domain() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO written VALUES (NEW.name); RETURN NEW; END $$;
CREATE TRIGGER counted AFTER UPDATE ON domains FOR EACH ROW EXECUTE FUNCTION write_down_domain();
INSERT INTO images (name, registry, architecture, config_digest) VALUES
    ('index.docker.io/lablup/python:3.6', 'index.docker.io', 'x86_64', 'sha256:a'),
    ('cr.backend.ai/stable/python:3.6', 'cr.backend.ai', 'x86_64', 'sha256:a');
INSERT INTO domains SELECT 'domain-' || n, '{index.docker.io}' FROM generate_series(0, 199) n;
INSERT INTO image_aliases (alias, image) SELECT 'alias-' || n, i.id FROM generate_series(0, 199) n, images i WHERE i.name LIKE 'index%';
";

pub async fn database() -> Database {
    let database = Database::with(SCHEMA).await;
    database.execute(&format!("GRANT ALL ON ALL TABLES IN SCHEMA public TO {TRUSTED}")).await;
    database
}

/// A row that castoff updates.
pub async fn rows(database: Arc<Database>, n: usize, case: Case) -> Scene {
    let name = format!("domain-{n}");
    let columns = |registry: &str| json!({ "allowed_docker_registries": [registry] }).as_object().cloned();
    let (before, after) = (columns("index.docker.io"), columns("cr.backend.ai"));
    let change = Change::Rows { diffs: vec![RowDiff { table: "domains".to_owned(), key: name.clone(), before, after }] };
    scene(database, &case, change, name, ["FROM domains", "UPDATE domains"]).await
}

/// An alias that castoff points at another image.
pub async fn alias(database: Arc<Database>, n: usize, case: Case) -> Scene {
    let alias = format!("alias-{n}");
    let change = Change::Alias {
        alias: alias.clone(),
        architecture: "x86_64".to_owned(),
        before: "index.docker.io/lablup/python:3.6".to_owned(),
        after: "cr.backend.ai/stable/python:3.6".to_owned(),
    };
    scene(database, &case, change, alias, ["FROM image_aliases", "UPDATE image_aliases"]).await
}

async fn scene(database: Arc<Database>, case: &Case, change: Change, of: String, [read, write]: [&str; 2]) -> Scene {
    let config = database.config();
    let port = crate::etcd::port_of(config.url.rsplit_once('/').unwrap().0);
    let proxy = Proxy::tcp(At::Tcp(port)).await;
    let url = config.url.replace(&format!(":{port}/"), &format!(":{}/", proxy.port()));
    // SCRAM takes long in a debug build: one case is about it, in the soak, the others about what comes before it.
    let by_password = case.phase == Phase::Login && case.fault == Fault::Stall;
    let trusted = |url: &str| url.replace("//postgres@", &format!("//{TRUSTED}@"));
    let url = if by_password { url } else { trusted(&url) };
    let directly = trusted(&config.url);
    let subject = url.rsplit('@').next().unwrap().to_owned();
    let mut file: ClusterFile = toml::from_str("name = 'faults'").unwrap();
    file.postgres = Some(config::Postgres { url: format!("{url}?sslmode=disable"), ..config });
    Scene {
        live: Live::new(file, || 0).unwrap(),
        proxy: Arc::new(proxy),
        change,
        marks: Marks {
            login: "application_name".into(),
            read: read.into(),
            write: write.into(),
            commit: "COMMIT".into(),
            undo: write.into(),
        },
        subject: format!("PostgreSQL `{subject}`"),
        part: Part::Tables,
        // The whole call 30 s, and 2 s to tell why there was no connection.
        deadline: Duration::from_secs(33),
        effects: Box::new(move || {
            let (url, of) = (directly.clone(), of.clone());
            Box::pin(async move {
                let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
                let counting = sqlx::query_scalar("SELECT count(*) FROM written WHERE of = $1").bind(of);
                let counted: i64 = counting.fetch_one(&mut connection).await.unwrap();
                usize::try_from(counted).unwrap()
            })
        }),
        causes: |_| None,
        kept: Box::new(database),
    }
}
