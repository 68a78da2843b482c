//! Asks a process how it is, for whoever probes it from within its container.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use runloom_api::paths;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::HealthProbe;

/// How long the process may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer that is read.
const LONGEST: u64 = 1 << 20;

/// Prints the answer. An error if there is none, or if the answer is that it is not well.
pub(crate) async fn run(probe: &HealthProbe) -> anyhow::Result<()> {
    let url = url(probe);
    let answer = timeout(PATIENCE, get(&url)).await;
    let (status, body) = answer
        .unwrap_or_else(|_| bail!("no answer in time"))
        .with_context(|| url.clone())?;
    print(body.trim_end());
    if !(200..300).contains(&status) {
        bail!("{url} answers with {status}");
    }
    Ok(())
}

fn print(text: &str) {
    use std::io::Write as _;
    // Nobody may be reading: the exit code says it, too.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// What to ask.
fn url(probe: &HealthProbe) -> String {
    let path = if probe.ready { paths::READY } else { paths::OK };
    match (&probe.url, probe.monitor.monitor) {
        (Some(url), _) => url.clone(),
        (None, Some(address)) => format!("http://{}{path}", reachable(address)),
        (None, None) => {
            let (host, port) = (&probe.listen.host, probe.listen.port);
            match host.parse::<IpAddr>() {
                Ok(ip) => format!("http://{}{path}", reachable(SocketAddr::new(ip, port))),
                Err(_) => format!("http://{host}:{port}{path}"),
            }
        }
    }
}

/// Where a process that listens on `address` is reached from here.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The status and the body of an answer. In the oldest form of the protocol it ends with its connection,
/// so that nothing is needed to read it.
async fn get(url: &str) -> anyhow::Result<(u16, String)> {
    let place = url
        .strip_prefix("http://")
        .context("only http:// can be asked")?;
    let (host, path) = match place.find(['/', '?']) {
        Some(end) => place.split_at(end),
        None => (place, paths::OK),
    };
    let with_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if with_port {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let mut connection = TcpStream::connect(&address).await?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    let request = format!("GET {slash}{path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    connection.take(LONGEST).read_to_end(&mut answer).await?;
    read(&String::from_utf8_lossy(&answer)).context("this is no answer of HTTP")
}

fn read(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut words = head.split_ascii_whitespace();
    words
        .next()
        .filter(|version| version.starts_with("HTTP/"))?;
    Some((words.next()?.parse().ok()?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn asked(words: &[&str]) -> String {
        let words = ["runloom", "health"].iter().chain(words);
        let cli = Cli::try_parse_from(words).expect("a valid command line");
        let Command::Health(probe) = cli.command else {
            panic!("not health");
        };
        url(&probe)
    }

    #[test]
    fn the_process_with_the_same_settings_is_asked() {
        assert_eq!(asked(&[]), "http://127.0.0.1:8123/ok");
        let everywhere = ["--host", "0.0.0.0", "--port", "80"];
        assert_eq!(asked(&everywhere), "http://127.0.0.1:80/ok");
        let monitored = ["--ready", "--monitor", "[::]:9100", "--port", "80"];
        assert_eq!(asked(&monitored), "http://[::1]:9100/ready");
        assert_eq!(asked(&["--host", "name"]), "http://name:8123/ok");
        assert_eq!(asked(&["http://a/b"]), "http://a/b");
    }

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let answer = "HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\n{}\r\n\r\n";
        assert_eq!(read(answer), Some((503, "{}\r\n\r\n".to_owned())));
        assert_eq!(read("SSH-2.0\r\n\r\n"), None);
        assert_eq!(read("HTTP/1.1 200 OK"), None);
    }
}
