//! An index that is built from the streams, beside one that followed them.

use std::process::Command;

use taskq_e2e::{PostgresServer, program, run};

fn bench(tasks: &str, database: Option<&PostgresServer>) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_gateway"));
    command.args(["bench-index", "--rebuild", "--tasks", tasks]);
    if let Some(server) = database {
        command.env("TASKQ_DATABASE_URL", server.url());
    }
    command
}

#[test]
fn an_index_built_from_the_streams_answers_as_the_one_that_followed() {
    let file = run(&mut bench("3000", None));
    assert_eq!(file.code(), 0, "{file:?}");
    assert!(
        file.stdout.contains("answers compared, 0 differ"),
        "{file:?}"
    );
}

#[test]
fn a_database_built_from_the_streams_answers_as_the_one_that_followed() {
    let Some(server) = PostgresServer::start() else {
        eprintln!("skipped: no PostgreSQL");
        return;
    };
    let database = run(&mut bench("500", Some(&server)));
    assert_eq!(database.code(), 0, "{database:?}");
    assert!(
        database.stdout.contains("answers compared, 0 differ"),
        "{database:?}"
    );
}
