//! What the process says to the person who started it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;

/// What the first run is asked.
const INPUT: &str = r#"{"messages":[{"role":"human","content":"what is the weather in sf?"}]}"#;

/// What there is to say.
pub(crate) struct Sheet<'a> {
    /// Where clients are answered.
    pub(crate) serves: Option<SocketAddr>,
    /// Where monitoring tools are answered.
    pub(crate) monitor: Option<SocketAddr>,
    pub(crate) graphs: &'a [String],
    /// More about the graphs, a label and a text each.
    pub(crate) about: &'a [(&'static str, String)],
    /// Where everything is kept.
    pub(crate) data: &'a str,
}

/// Says where the process is, what it serves, where its data is, and what to try next.
pub(crate) fn print(sheet: &Sheet<'_>) {
    // Nobody may be reading any more; the server does not depend on it.
    let _ = std::io::stdout().write_all(sheet.text().as_bytes());
    let _ = std::io::stdout().flush();
}

impl Sheet<'_> {
    fn text(&self) -> String {
        let mut text = format!("\n  runloom {}\n\n", env!("CARGO_PKG_VERSION"));
        let mut line = |name: &str, what: &str| {
            let _ = writeln!(text, "  {name:<8} {what}");
        };
        if let Some(address) = self.serves {
            line("url", &format!("http://{address}"));
        }
        if let Some(address) = self.monitor {
            line("monitor", &format!("http://{address}"));
        }
        line("graphs", &self.graphs.join(", "));
        for (name, what) in self.about {
            line(name, what);
        }
        line("data", self.data);
        if let Some(address) = self.serves {
            line("docs", &format!("http://{address}/docs"));
            text.push_str(&self.trial(address));
        }
        text.push_str("\n  Ctrl-C stops in order; runs that are not finished go on ");
        text.push_str("elsewhere, or at the next start.\n");
        text
    }

    fn trial(&self, address: SocketAddr) -> String {
        let agent = self.graphs.iter().find(|graph| *graph == "agent");
        let graph = agent.or(self.graphs.first());
        let graph = graph.map_or("agent", String::as_str);
        let body = format!(
            r#"{{"assistant_id":"{graph}","stream_mode":"messages-tuple","input":{INPUT}}}"#
        );
        format!(
            r"
  try      curl -N http://{address}/runs/stream -H 'content-type: application/json' \
             -d '{body}'
"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_names_only_where_it_is_watched() {
        let sheet = Sheet {
            serves: None,
            monitor: Some(([127, 0, 0, 1], 9090).into()),
            graphs: &["agent".to_owned()],
            about: &[("broken", "b: no module".to_owned())],
            data: "postgres",
        };
        let text = sheet.text();
        assert!(text.contains("monitor  http://127.0.0.1:9090"));
        assert!(text.contains("broken   b: no module"));
        assert!(!text.contains("curl"));
    }
}
