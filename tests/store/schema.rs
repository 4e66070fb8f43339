//! A small schema in the manner of Backend.AI's, and rows with everything that is easily lost on the way.

pub const REGISTRY: &str = "00000000-0000-4000-8000-000000000001";
pub const PYTHON: &str = "00000000-0000-4000-8000-00000000000a";
pub const TENSORFLOW: &str = "00000000-0000-4000-8000-00000000000b";
pub const NEW_PYTHON: &str = "00000000-0000-4000-8000-00000000000c";
pub const ALIAS: &str = "00000000-0000-4000-8000-0000000000aa";

/// As 25.x has it.
pub const TABLES: &str = r#"
CREATE TYPE imagetype AS ENUM ('COMPUTE', 'SYSTEM', 'SERVICE');
CREATE TABLE domains (
    name varchar(64) PRIMARY KEY, description varchar(512), allowed_docker_registries varchar[] NOT NULL, dotfiles bytea NOT NULL
);
CREATE TABLE container_registries (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), url varchar(512) NOT NULL, registry_name varchar(50) NOT NULL,
    type varchar(64) DEFAULT 'docker' NOT NULL, project varchar(255), username varchar(255), password varchar,
    ssl_verify boolean DEFAULT true, is_global boolean DEFAULT true, extra json
);
CREATE TABLE images (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name varchar NOT NULL, project varchar, image varchar NOT NULL,
    created_at timestamptz DEFAULT now(), tag text, registry varchar NOT NULL,
    registry_id uuid NOT NULL REFERENCES container_registries (id) ON DELETE RESTRICT, architecture varchar NOT NULL,
    config_digest char(72) NOT NULL, size_bytes bigint NOT NULL, is_local boolean DEFAULT false NOT NULL,
    type imagetype NOT NULL, accelerators varchar, labels json NOT NULL, resources jsonb NOT NULL,
    status varchar(64) DEFAULT 'ALIVE' NOT NULL, "odd ""column""" double precision, UNIQUE (registry, project, name, tag, architecture)
);
CREATE TABLE image_aliases (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), alias varchar UNIQUE, image uuid NOT NULL REFERENCES images (id)
);
"#;

pub const ROWS: &str = r#"
INSERT INTO domains VALUES ('default', 'of all', '{index.docker.io,cr.corp:5000,"a \"b\" \\, c"}', '\x90'), ('empty', NULL, '{}', '\x');
INSERT INTO container_registries VALUES
    ('00000000-0000-4000-8000-000000000001', 'https://registry-1.docker.io', 'index.docker.io', 'docker', 'lablup', 'me', NULL, true, true,
     '{"b": 1,  "a": 2, "b": 3}'),
    ('00000000-0000-4000-8000-000000000002', 'https://cr.backend.ai', 'cr.backend.ai', 'harbor2', 'stable', 'robot$x', 'hunter2', false,
     NULL, NULL),
    ('00000000-0000-4000-8000-000000000003', 'https://ecr.aws', 'ecr.aws', 'ecr', NULL, NULL, NULL, NULL, true,
     '{"access_key": "AKIA-hunter2"}');
INSERT INTO images VALUES
    ('00000000-0000-4000-8000-00000000000a', 'index.docker.io/lablup/python:3.6', 'lablup', 'lablup/python', '2021-03-04 05:06:07.123456+09',
     '3.6', 'index.docker.io', '00000000-0000-4000-8000-000000000001', 'x86_64', 'sha256:' || repeat('a', 64), 9007199254740993, false,
     'COMPUTE', NULL, E'{"ai.backend.kernelspec": "1",  "z": 1.10,\n "한글": "\\u00e9\\\\", "z": 12345678901234567890123}',
     '{"cpu": {"min": "1"}, "mem": 1.10, "big": 12345678901234567890123}', 'ALIVE', 0.1),
    ('00000000-0000-4000-8000-00000000000b', 'index.docker.io/lablup/tensorflow:2.4', 'lablup', 'lablup/tensorflow', NULL, NULL,
     'index.docker.io', '00000000-0000-4000-8000-000000000001', 'x86_64', 'sha256:' || repeat('b', 64), 1, true, 'SYSTEM', 'cuda',
     '{}', '{}', 'DELETED', 'NaN'),
    ('00000000-0000-4000-8000-00000000000c', 'cr.backend.ai/stable/python:3.6', 'stable', 'stable/python', '2024-01-01Z', '3.6', 'cr.backend.ai',
     '00000000-0000-4000-8000-000000000002', 'x86_64', 'sha256:' || repeat('c', 64), 2, false, 'COMPUTE', '', '[]', '"x"', 'ALIVE', 1e300);
INSERT INTO image_aliases VALUES ('00000000-0000-4000-8000-0000000000aa', 'python:3.6', '00000000-0000-4000-8000-00000000000a');
"#;

/// Every row of the four tables as the server itself writes it.
pub const DUMP: &str = "SELECT row_to_json(t)::text FROM images t UNION ALL SELECT row_to_json(t)::text FROM image_aliases t \
    UNION ALL SELECT row_to_json(t)::text FROM container_registries t UNION ALL SELECT row_to_json(t)::text FROM domains t ORDER BY 1";

/// `kernels` and what belongs to it, as 20.03, 23.09 and 25.x have it: names and types of columns differ.
pub const KERNELS: [&str; 3] = [
    "CREATE TYPE kernelstatus AS ENUM ('PENDING', 'RUNNING', 'ERROR', 'TERMINATED', 'CANCELLED');
     CREATE TABLE users (uuid uuid PRIMARY KEY, email varchar(64));
     CREATE TABLE kernels (id uuid PRIMARY KEY, sess_id varchar(64), user_uuid uuid, access_key varchar(20), agent varchar(64),
         image varchar(512), registry varchar(512), created_at timestamptz, status kernelstatus NOT NULL);",
    "CREATE TYPE kernelstatus AS ENUM ('PENDING', 'SCHEDULED', 'RUNNING', 'ERROR', 'TERMINATED', 'CANCELLED');
     CREATE TABLE users (uuid uuid PRIMARY KEY, email varchar(64));
     CREATE TABLE kernels (id uuid PRIMARY KEY, session_name varchar(64), user_uuid uuid, access_key varchar(20), agent varchar(64),
         image varchar(512), registry varchar(512), created_at timestamptz, status kernelstatus NOT NULL);",
    "CREATE TABLE users (uuid uuid PRIMARY KEY, email varchar(64));
     CREATE TABLE kernels (id uuid PRIMARY KEY, session_name varchar(64), user_uuid uuid, access_key varchar(20), agent varchar(64),
         image varchar(512), registry varchar(512), created_at timestamptz, status varchar(64) NOT NULL);",
];

pub const KERNEL_ROWS: &str = "
INSERT INTO users VALUES ('00000000-0000-4000-8000-0000000000e1', 'user@lablup.com');
INSERT INTO kernels VALUES
    ('00000000-0000-4000-8000-000000000011', 'train', '00000000-0000-4000-8000-0000000000e1', 'AKIA', 'i-gpu-2',
     'index.docker.io/lablup/python:3.6', 'index.docker.io', '2024-01-01 00:00:00.5Z', 'RUNNING'),
    ('00000000-0000-4000-8000-000000000012', NULL, '00000000-0000-4000-8000-0000000000e2', 'AKIA', NULL,
     'lablup/python:3.6', 'index.docker.io', '2024-01-02Z', 'ERROR'),
    ('00000000-0000-4000-8000-000000000013', 'old', NULL, 'AKIA', 'i', 'x', 'y', '2024-01-01Z', 'TERMINATED'),
    ('00000000-0000-4000-8000-000000000014', 'old', NULL, 'AKIA', 'i', 'x', 'y', '2024-01-01Z', 'CANCELLED');";
