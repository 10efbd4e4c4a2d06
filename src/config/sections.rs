//! The small sections: logs, certificate, metrics, HTTP, `BigPanda`, TLS, dead letters, limits, mode.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::Storage;
use crate::guard;
use crate::secret::SecretText;
use crate::yaml::Reader;

/// Whether actions are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They are.
    #[default]
    Live,
    /// Everything but the action itself happens.
    Shadow,
}

/// Where and how logs are written, as far as the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// A file beside stdout.
    pub file: Option<PathBuf>,
    /// How large that may become before it is rotated, bytes.
    pub file_bytes_max: Option<u64>,
    /// How many older files are kept.
    pub files_kept: Option<u32>,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: Option<String>,
    /// The form of a line.
    pub format: Option<LogFormat>,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// The predecessor's `[PID][LEVEL][TIMESTAMP]...`.
    Text,
}

/// The service's own certificate and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Athenz {
    /// PEM.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
    /// Whose the certificate must be, `<domain>.<service>`; `None`: whose it is at the start.
    pub common_name: Option<String>,
}

/// Metrics as embedded-metric-format lines on stdout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudWatch {
    /// They are written.
    pub metrics_enabled: bool,
    /// Their namespace.
    pub namespace: String,
    /// The region they are meant for.
    pub region: Option<String>,
}

/// Probes, page and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The file with the token that administrative requests carry; without it there are none.
    pub admin_token_file: Option<PathBuf>,
    /// Names that a request's `Host` may carry, beside addresses, `localhost` and this machine's name.
    pub hosts: Vec<String>,
}

/// The API of `BigPanda`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BigPanda {
    /// Without a slash at the end.
    pub base_url: String,
    /// The environment's id.
    pub environment_id: String,
    /// The key, sent as a bearer token.
    pub api_key: SecretText,
    /// The user to whom incidents are assigned while they are worked on.
    pub service_account_id: Option<String>,
    /// Which steps the flow takes by itself.
    pub flow: FlowSteps,
}

/// The steps that the flow takes by itself, unless they are switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowSteps {
    /// Assigning to the service's account, and giving back.
    pub assign: bool,
    /// Splitting off alerts that no condition supports.
    pub split: bool,
    /// Resolving when everything has succeeded.
    pub resolve: bool,
}

/// Where records go that are no incidents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetter {
    /// JSON lines.
    File(PathBuf),
    /// A topic.
    Topic(String),
}

/// Bounds on concurrency and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Actions at a time, over all incidents.
    pub max_concurrent_actions: usize,
    /// Incidents at a time.
    pub max_concurrent_incidents: usize,
    /// A larger record is a dead letter.
    pub max_record_bytes: usize,
    /// A record that holds no text which any condition requires is passed over unread, even if it is no incident.
    pub pass_over_unread: bool,
}

pub(super) fn mode(root: &Reader<'_, '_>) -> Mode {
    root.choice("mode", &[("live", Mode::Live), ("shadow", Mode::Shadow)]).unwrap_or_default()
}

pub(super) fn log(root: &Reader<'_, '_>) -> Log {
    let Some(reader) = root.child("global") else { return Log::default() };
    reader.ignored("aws_shared_credentials_file", "nothing here talks to AWS with credentials of its own");
    let levels = ["error", "warn", "info", "debug", "trace"].map(|level| (level, level));
    let aliases = [("warning", "warn"), ("critical", "error")];
    let choices: Vec<_> = levels.into_iter().chain(aliases).collect();
    let log = Log {
        file: reader.string("logfile").map(PathBuf::from),
        file_bytes_max: file_size(&reader),
        files_kept: reader.integer("logfiles_kept"),
        level: reader.choice("log_level", &choices).map(str::to_owned),
        format: reader.choice("log_format", &[("json", LogFormat::Json), ("text", LogFormat::Text)]),
    };
    reader.close();
    log
}

/// Below this a rotation would not keep what happened just now.
const FILE_BYTES_MIN: u64 = 64 * 1024;

fn file_size(reader: &Reader<'_, '_>) -> Option<u64> {
    let bytes = reader.bytes("logfile_max_size")?;
    if bytes < FILE_BYTES_MIN {
        reader.wrong("logfile_max_size", "must be at least 64KiB");
    }
    Some(bytes)
}

pub(super) fn athenz(root: &Reader<'_, '_>) -> Athenz {
    let mut athenz = Athenz {
        certificate: "/var/run/athenz/service.cert.pem".into(),
        key: "/var/run/athenz/service.key.pem".into(),
        common_name: None,
    };
    let Some(reader) = root.child("athenz") else { return athenz };
    athenz.certificate = reader.string("certificate").map_or(athenz.certificate, PathBuf::from);
    athenz.key = reader.string("key").map_or(athenz.key, PathBuf::from);
    athenz.common_name = reader.string("common_name");
    if reader.boolean("use_iam_auth") == Some(true) {
        reader.wrong("use_iam_auth", "IAM authentication is not supported yet; use msk_auth with auth_method: scram");
    }
    reader.close();
    athenz
}

pub(super) fn cloudwatch(root: &Reader<'_, '_>) -> CloudWatch {
    let mut cloudwatch = CloudWatch { metrics_enabled: false, namespace: "SRE/KafkaConsumer".to_owned(), region: None };
    let Some(reader) = root.child("cloudwatch") else { return cloudwatch };
    cloudwatch.metrics_enabled = reader.boolean("metrics_enabled").unwrap_or(false);
    cloudwatch.namespace = reader.string("namespace").unwrap_or(cloudwatch.namespace);
    cloudwatch.region = reader.string("region");
    if reader.boolean("stdout_only") == Some(false) {
        let path = reader.path_of("stdout_only");
        root.mistakes().warn(path, reader.at(), "has no effect: metrics are written to stdout only");
    }
    reader.close();
    cloudwatch
}

pub(super) fn http(root: &Reader<'_, '_>) -> Http {
    let mut http = Http { listen: SocketAddr::from(([127, 0, 0, 1], 4080)), admin_token_file: None, hosts: Vec::new() };
    let Some(reader) = root.child("http") else { return http };
    let listen = reader.read("listen", "an address such as 127.0.0.1:4080", |node| node.text()?.parse().ok());
    http.listen = listen.unwrap_or(http.listen);
    http.admin_token_file = reader.string("admin_token_file").map(PathBuf::from);
    let names = |node: &crate::yaml::Node| node.as_list()?.iter().map(|item| item.text().map(str::to_owned)).collect();
    http.hosts = reader.read("hosts", "a list of host names", names).unwrap_or_default();
    reader.close();
    http
}

pub(super) fn bigpanda(root: &Reader<'_, '_>) -> Option<BigPanda> {
    let reader = root.child("bigpanda")?;
    let base_url = reader.string("base_url").unwrap_or_else(|| "https://api.bigpanda.io".to_owned());
    if !base_url.starts_with("https://") && !base_url.starts_with("http://") {
        reader.wrong("base_url", "expected a URL that begins with https://");
    }
    let (environment_id, api_key) = (reader.required_string("environment_id"), reader.required_string("api_key"));
    let service_account_id = reader.string("service_account_id");
    let flow = flow(&reader);
    reader.close();
    Some(BigPanda {
        base_url: base_url.trim_end_matches('/').to_owned(),
        environment_id: environment_id?,
        api_key: SecretText::new(api_key?),
        service_account_id,
        flow,
    })
}

fn flow(parent: &Reader<'_, '_>) -> FlowSteps {
    let Some(reader) = parent.child("flow") else { return FlowSteps { assign: true, split: true, resolve: true } };
    let on = |key| reader.boolean(key).unwrap_or(true);
    let flow = FlowSteps { assign: on("assign"), split: on("split"), resolve: on("resolve") };
    reader.close();
    flow
}

pub(super) fn tls(root: &Reader<'_, '_>) -> Option<PathBuf> {
    let reader = root.child("tls")?;
    let file = reader.string("ca_file").map(PathBuf::from);
    reader.close();
    file
}

pub(super) fn dead_letter(root: &Reader<'_, '_>, storage: &Storage) -> DeadLetter {
    let beside_the_ledger = DeadLetter::File(storage.path.with_file_name("dead_letter.jsonl"));
    let Some(reader) = root.child("dead_letter") else { return beside_the_ledger };
    let (file, topic) = (reader.string("file"), reader.string("topic"));
    let dead_letter = match (file, topic) {
        (Some(file), None) => DeadLetter::File(file.into()),
        (Some(_), Some(_)) => {
            reader.wrong("topic", "there is a file already; keep one");
            beside_the_ledger
        }
        (None, Some(topic)) => DeadLetter::Topic(topic),
        (None, None) => beside_the_ledger,
    };
    reader.close();
    dead_letter
}

pub(super) fn limits(root: &Reader<'_, '_>) -> (Limits, guard::Rules) {
    let mut limits = Limits {
        max_concurrent_actions: 16,
        max_concurrent_incidents: 64,
        max_record_bytes: 8 * 1024 * 1024,
        pass_over_unread: false,
    };
    let Some(reader) = root.child("limits") else { return (limits, guard::Rules::default()) };
    let count = |key: &str, otherwise: usize| {
        let wanted = "a whole number from 1 to 100000";
        let found = reader.read(key, wanted, |node| node.text()?.parse().ok().filter(|n| (1..=100_000).contains(n)));
        found.unwrap_or(otherwise)
    };
    limits.max_concurrent_actions = count("max_concurrent_actions", limits.max_concurrent_actions);
    limits.max_concurrent_incidents = count("max_concurrent_incidents", limits.max_concurrent_incidents);
    let bytes = reader.bytes("max_record_bytes").and_then(|bytes| usize::try_from(bytes).ok());
    limits.max_record_bytes = bytes.unwrap_or(limits.max_record_bytes);
    limits.pass_over_unread = reader.boolean("pass_over_unread").unwrap_or(limits.pass_over_unread);
    let guards = guard::Rules::read(&reader);
    reader.close();
    (limits, guards)
}
