//! The command line of Apache Kafka's tool. Flags win over the file of `--command-config`, as they do there.

use std::collections::BTreeMap;

use kafka_consumer::client::Properties;

pub(crate) const HELP: &str = "\
Consumes one topic and prints what happens (rebalances, records, commits) as JSON lines.

    --bootstrap-server HOST:PORT[,…]  required; --broker-list is an older name
    --topic TOPIC                     required
    --group-id GROUP                  required
    --group-protocol classic          consumer (KIP-848) is not possible
    --group-remote-assignor NAME      only used with the group protocol consumer
    --group-instance-id ID            makes the member a static one
    --max-messages N                  end after N records; -1, the default: never
    --session-timeout MS              session.timeout.ms
    --verbose                         also print each record
    --enable-autocommit               commit every auto.commit.interval.ms instead of after each report
    --reset-policy POLICY             earliest (the default), latest or none
    --assignment-strategy NAME        Kafka's class or short name; the default is range
    --command-config FILE             a properties file; --consumer.config is an older name
    --help
";

/// What the command line asks for.
pub(crate) enum Asked {
    Help,
    Run(Box<Options>),
}

/// A consumer to run.
pub(crate) struct Options {
    pub(crate) topic: String,
    /// The file with the flags over it.
    pub(crate) properties: Properties,
    pub(crate) max_messages: Option<u64>,
    pub(crate) verbose: bool,
    pub(crate) autocommit: bool,
}

/// Flags that need a value.
const VALUED: &[&str] = &[
    "--bootstrap-server",
    "--broker-list",
    "--topic",
    "--group-id",
    "--group-protocol",
    "--group-remote-assignor",
    "--group-instance-id",
    "--max-messages",
    "--session-timeout",
    "--reset-policy",
    "--assignment-strategy",
    "--command-config",
    "--consumer.config",
];

/// Flags that stand alone.
const SWITCHES: &[&str] = &["--verbose", "--enable-autocommit"];

pub(crate) fn read(args: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut args = args.peekable();
    if args.peek().is_none() {
        return Ok(Asked::Help);
    }
    let mut given: BTreeMap<String, String> = BTreeMap::new();
    while let Some(arg) = args.next() {
        if arg == "--help" || arg == "-h" {
            return Ok(Asked::Help);
        }
        let (flag, inline) = match arg.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (arg, None),
        };
        let value = if VALUED.contains(&flag.as_str()) {
            inline.or_else(|| args.next()).ok_or_else(|| format!("{flag} needs a value"))?
        } else if SWITCHES.contains(&flag.as_str()) && inline.is_none() {
            String::new()
        } else {
            return Err(format!("{flag} is not an option; --help lists them"));
        };
        given.insert(flag, value);
    }
    options(&given).map(|options| Asked::Run(Box::new(options)))
}

fn options(given: &BTreeMap<String, String>) -> Result<Options, String> {
    let get = |flag: &str| given.get(flag).map(String::as_str);
    let required = |flag: &str| get(flag).ok_or_else(|| format!("{flag} is missing; --help lists the options"));
    let mut properties = file(get("--command-config"), get("--consumer.config"))?;
    match get("--group-protocol").map(str::to_ascii_lowercase).as_deref() {
        None | Some("classic") => {}
        Some("consumer") => {
            return Err("--group-protocol consumer (KIP-848) is not possible with this client; use classic".to_owned());
        }
        Some(other) => return Err(format!("--group-protocol {other} is neither classic nor consumer")),
    }
    let servers = match (get("--bootstrap-server"), get("--broker-list")) {
        (Some(_), Some(_)) => return Err("--bootstrap-server and --broker-list exclude each other".to_owned()),
        (Some(servers), None) | (None, Some(servers)) => servers,
        (None, None) => return Err("--bootstrap-server is missing; --help lists the options".to_owned()),
    };
    let autocommit = get("--enable-autocommit").is_some();
    properties.set("bootstrap.servers", servers);
    properties.set("group.id", required("--group-id")?);
    properties.set("enable.auto.commit", autocommit.to_string());
    properties.set("auto.offset.reset", get("--reset-policy").unwrap_or("earliest"));
    properties.set("partition.assignment.strategy", get("--assignment-strategy").unwrap_or("range"));
    if let Some(session) = get("--session-timeout") {
        properties.set("session.timeout.ms", session);
    }
    if let Some(instance) = get("--group-instance-id").filter(|id| !id.is_empty()) {
        properties.set("group.instance.id", instance);
    }
    Ok(Options {
        topic: required("--topic")?.to_owned(),
        properties,
        max_messages: get("--max-messages").map(max_messages).transpose()?.flatten(),
        verbose: get("--verbose").is_some(),
        autocommit,
    })
}

/// A negative number is no limit.
fn max_messages(text: &str) -> Result<Option<u64>, String> {
    let number: i64 = text.parse().map_err(|_| format!("--max-messages {text} is not a number"))?;
    Ok(u64::try_from(number).ok())
}

fn file(command: Option<&str>, consumer: Option<&str>) -> Result<Properties, String> {
    let path = match (command, consumer) {
        (Some(_), Some(_)) => return Err("--command-config and --consumer.config exclude each other".to_owned()),
        (None, None) => return Ok(Properties::default()),
        (Some(path), None) => path,
        (None, Some(path)) => {
            eprintln!("--consumer.config is an older name of --command-config");
            path
        }
    };
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    Properties::parse(&text).map_err(|error| format!("{path}: {error}"))
}
