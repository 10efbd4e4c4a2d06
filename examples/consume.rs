//! Reads topics in a consumer group and prints what arrives and what is committed.
//!
//! Uses the public API of `kafka_consumer::client` alone:
//!
//! ```text
//! cargo run --example consume --no-default-features -- --bootstrap 127.0.0.1:9092 --topic incidents --group demo
//! ```

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kafka_consumer::client::{
    AssignorKind, AutoOffsetReset, Commit, Consumer, Event, IsolationLevel, PasswordError, PasswordSource, Records,
    SaslMechanism, SaslSettings, Secret, Security, TlsSettings,
};

const HELP: &str = "\
Reads topics in a consumer group and prints records and commits.

    --bootstrap HOST:PORT[,HOST:PORT]   required
    --topic TOPIC[,TOPIC]               required
    --group GROUP                       required
    --security plaintext|ssl|sasl_plaintext|sasl_ssl   default: plaintext
    --mechanism scram-sha-512|plain     default: scram-sha-512
    --username NAME --password-file FILE   with sasl_plaintext and sasl_ssl
    --password PASSWORD                 the same, visible to everyone on this machine
    --ca FILE                           certificates to trust beside the public web's (PEM)
    --reset latest|earliest|none|SECONDS   without a committed offset; default: latest
    --isolation read_committed|read_uncommitted   default: read_committed
    --assignor range|sticky|cooperative-sticky    default: range
    --instance ID                       group.instance.id
    --session SECONDS                   session.timeout.ms; default: 45
    --max N                             end after N records
    --for SECONDS                       end after so long
    --quiet                             print totals instead of records
    --help
";

struct Options {
    bootstrap: Vec<String>,
    topics: Vec<String>,
    group: String,
    security: String,
    mechanism: SaslMechanism,
    username: String,
    password: Option<PasswordSource>,
    ca: Option<PathBuf>,
    reset: AutoOffsetReset,
    isolation: IsolationLevel,
    assignor: AssignorKind,
    instance: Option<String>,
    session: Duration,
    max: u64,
    duration: Duration,
    quiet: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            eprintln!("{mistake}; --help lists the options");
            return ExitCode::from(2);
        }
    };
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What was read so far, and what is to be committed next.
struct Reader {
    commit: Commit,
    records: u64,
    bytes: u64,
    quiet: bool,
}

async fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let (end, max, quiet) = (Instant::now() + options.duration, options.max, options.quiet);
    let mut consumer = build(options)?;
    let handle = consumer.handle();
    let mut reader = Reader { commit: Commit::new(), records: 0, bytes: 0, quiet };
    let mut committed_at = Instant::now();
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    while reader.records < max && Instant::now() < end {
        tokio::select! {
            event = consumer.next() => reader.take(event?).await,
            // Nothing happened for a while: time to commit, and to look at the clock.
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            _ = &mut interrupt => break,
        }
        if committed_at.elapsed() >= Duration::from_secs(1) && !reader.commit.is_empty() {
            report(&handle.commit(std::mem::take(&mut reader.commit)).await);
            committed_at = Instant::now();
        }
    }
    if !reader.commit.is_empty() {
        report(&handle.commit(std::mem::take(&mut reader.commit)).await);
    }
    println!("read {} records, {} bytes", reader.records, reader.bytes);
    if reader.quiet {
        println!("{:#?}", handle.snapshot());
    }
    consumer.close(Duration::from_secs(10)).await?;
    Ok(())
}

impl Reader {
    async fn take(&mut self, event: Event) {
        match event {
            Event::Records(records) => self.read(&records),
            Event::Assigned { partitions } => println!("assigned {partitions:?}"),
            Event::Revoking(revocation) => {
                println!("revoking {:?}", revocation.ownerships());
                if !self.commit.is_empty() {
                    report(&revocation.commit(std::mem::take(&mut self.commit)).await);
                }
            }
            Event::Lost { partitions, cause } => {
                let names: Vec<_> = partitions.iter().map(ToString::to_string).collect();
                println!("lost {}: {cause}", names.join(", "));
            }
            Event::OffsetReset { partition, from, to, cause } => {
                println!("reset {partition} from {from:?} to {to}: {cause:?}");
            }
            Event::Truncated { partition, position, diverged_at } => {
                println!("truncated {partition}: was at {position}, the log differs from {diverged_at} on");
            }
            Event::Skipped { partition, first, last, cause } => {
                println!("skipped {partition} {first}..={last}: {cause:?}");
            }
        }
    }

    fn read(&mut self, records: &Records) {
        for record in records {
            self.records += 1;
            self.bytes += record.value.map_or(0, |value| value.len() as u64);
            if !self.quiet {
                let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                let (key, value) = (text(record.key), text(record.value));
                println!("{} {} {key:?} {value:?}", records.partition(), record.offset);
            }
        }
        self.commit.processed(records);
    }
}

fn report<R: std::fmt::Debug, E: std::fmt::Display>(outcome: &Result<R, E>) {
    match outcome {
        Ok(report) => println!("committed {report:?}"),
        Err(error) => println!("not committed: {error}"),
    }
}

fn build(options: Options) -> Result<Consumer, Box<dyn std::error::Error>> {
    let tls = options.ca.map(TlsSettings::with_ca).unwrap_or_default();
    let sasl = |password: Option<PasswordSource>| {
        let password = password.ok_or("--username needs --password-file or --password")?;
        Ok::<_, &str>(SaslSettings { mechanism: options.mechanism, username: options.username.clone(), password })
    };
    let security = match options.security.as_str() {
        "plaintext" => Security::Plaintext,
        "ssl" => Security::Ssl(tls),
        "sasl_plaintext" => Security::SaslPlaintext(sasl(options.password)?),
        "sasl_ssl" => Security::SaslSsl(sasl(options.password)?, tls),
        other => return Err(format!("--security {other} is not known").into()),
    };
    let mut builder = Consumer::builder()
        .bootstrap_servers(options.bootstrap)
        .group_id(options.group)
        .topics(options.topics)
        .security(security)
        .auto_offset_reset(options.reset)
        .isolation_level(options.isolation)
        .session_timeout(options.session)
        .configure(|config| config.heartbeat_interval = config.heartbeat_interval.min(config.session_timeout / 3))
        .partition_assignment_strategy([options.assignor]);
    if let Some(instance) = options.instance {
        builder = builder.group_instance_id(instance);
    }
    Ok(builder.build()?)
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options {
        bootstrap: Vec::new(),
        topics: Vec::new(),
        group: String::new(),
        security: "plaintext".to_owned(),
        mechanism: SaslMechanism::ScramSha512,
        username: String::new(),
        password: None,
        ca: None,
        reset: AutoOffsetReset::Latest,
        isolation: IsolationLevel::ReadCommitted,
        assignor: AssignorKind::Range,
        instance: None,
        session: Duration::from_secs(45),
        max: u64::MAX,
        duration: Duration::from_hours(365 * 24),
        quiet: false,
    };
    while let Some(flag) = args.next() {
        if flag == "--help" {
            return Ok(None);
        }
        if flag == "--quiet" {
            options.quiet = true;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        set(&mut options, &flag, value)?;
    }
    let required = [(options.bootstrap.is_empty(), "--bootstrap"), (options.topics.is_empty(), "--topic")];
    match required.into_iter().chain([(options.group.is_empty(), "--group")]).find(|(missing, _)| *missing) {
        Some((_, flag)) => Err(format!("{flag} is missing")),
        None => Ok(Some(options)),
    }
}

fn set(options: &mut Options, flag: &str, value: String) -> Result<(), String> {
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{flag} {text}: {error}"));
    let unknown = |text: &str| format!("{flag} {text} is not known");
    match flag {
        "--bootstrap" => options.bootstrap = list(&value),
        "--topic" => options.topics = list(&value),
        "--group" => options.group = value,
        "--security" => options.security = value,
        "--mechanism" => {
            options.mechanism = match value.as_str() {
                "scram-sha-512" => SaslMechanism::ScramSha512,
                "plain" => SaslMechanism::Plain,
                other => return Err(unknown(other)),
            }
        }
        "--username" => options.username = value,
        "--password" => options.password = Some(PasswordSource::from(value.as_str())),
        "--password-file" => options.password = Some(password_in(PathBuf::from(value))),
        "--ca" => options.ca = Some(PathBuf::from(value)),
        "--reset" => {
            options.reset = match value.as_str() {
                "latest" => AutoOffsetReset::Latest,
                "earliest" => AutoOffsetReset::Earliest,
                "none" => AutoOffsetReset::None,
                age => AutoOffsetReset::ByDuration(Duration::from_secs(number(age)?)),
            }
        }
        "--isolation" => {
            options.isolation = match value.as_str() {
                "read_committed" => IsolationLevel::ReadCommitted,
                "read_uncommitted" => IsolationLevel::ReadUncommitted,
                other => return Err(unknown(other)),
            }
        }
        "--assignor" => options.assignor = AssignorKind::from_name(&value).ok_or_else(|| unknown(&value))?,
        "--instance" => options.instance = Some(value),
        "--session" => options.session = Duration::from_secs(number(&value)?),
        "--max" => options.max = number(&value)?,
        "--for" => options.duration = Duration::from_secs(number(&value)?),
        other => return Err(format!("{other} is not an option")),
    }
    Ok(())
}

/// The password is read again for every connection, so that a rotated one is taken without a restart.
fn password_in(file: PathBuf) -> PasswordSource {
    PasswordSource::from_fn(move || {
        let text =
            std::fs::read_to_string(&file).map_err(|error| PasswordError(format!("{}: {error}", file.display())))?;
        Ok(Secret::new(text.trim_end()))
    })
}
