//! The running service, asked over its own HTTP listener: who holds the ledger also answers for it.
//!
//! Only the address of the configuration is asked, in this network namespace, without TLS, as probes do. Changing needs the
//! token, which is read from the same file as the service reads it.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::config::Config;
use crate::http::ask;

use super::{Refused, cannot};

/// For one question, from the connection to the last byte.
const PATIENCE: Duration = Duration::from_secs(30);

/// A service that answers.
pub(super) struct Asked {
    address: SocketAddr,
    token_file: Option<PathBuf>,
    runtime: Runtime,
}

impl Asked {
    /// The service of this configuration, if it answers.
    pub(super) fn find(config: &Config) -> Result<Self, Refused> {
        let mut address = config.http.listen;
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        let asked = Self { address, token_file: config.http.admin_token_file.clone(), runtime };
        asked.get("/api/v1/health", &[])?;
        Ok(asked)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks; the answer must be JSON.
    pub(super) fn get(&self, path: &str, parameters: &[(&str, String)]) -> Result<Value, Refused> {
        self.ask(path, parameters, None)
    }

    /// Changes something, with the token.
    pub(super) fn post(&self, path: &str, parameters: &[(&str, String)]) -> Result<Value, Refused> {
        let Some(file) = &self.token_file else {
            return Err(cannot(
                "the service runs, and changes go through it, but http.admin_token_file is not configured: add it and restart \
                 the service; or stop the service and call this again",
            ));
        };
        let token = std::fs::read_to_string(file).map_err(|error| {
            cannot(format_args!("the token of the running service cannot be read from {}: {error}", file.display()))
        })?;
        self.ask(path, parameters, Some(token.trim()))
    }

    fn ask(&self, path: &str, parameters: &[(&str, String)], token: Option<&str>) -> Result<Value, Refused> {
        let failed = |why: &dyn Display| cannot(format_args!("the service at {}: {why}", self.address));
        let url = Url::parse_with_params(&format!("http://{}{path}", self.address), parameters);
        let url = url.map_err(|error| failed(&error))?;
        let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let asked = async { tokio::time::timeout(PATIENCE, ask(self.address, &target, token)).await };
        let answer =
            self.runtime.block_on(asked).map_err(|_| failed(&format_args!("no answer within {PATIENCE:?}")))?;
        let (status, body) = answer.map_err(|why| failed(&why))?;
        let read: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status == 200 {
            return Ok(read);
        }
        Err(failed(&read["error"].as_str().map_or_else(|| format!("it answers {status}"), str::to_owned)))
    }
}
