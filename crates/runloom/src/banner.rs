//! What the server says to the person who started it.

use std::io::Write as _;
use std::net::SocketAddr;

use crate::cli::Dev;

/// What the first run is asked.
const INPUT: &str = r#"{"messages":[{"role":"human","content":"what is the weather in sf?"}]}"#;

/// Says where the server is, what it serves, where its data is, and what to try next.
pub(crate) fn print(dev: &Dev, address: SocketAddr, graphs: &[String]) {
    let url = format!("http://{address}");
    let data = if dev.memory {
        "in memory, gone at the end".to_owned()
    } else {
        std::path::absolute(&dev.data)
            .unwrap_or_else(|_| dev.data.clone())
            .display()
            .to_string()
    };
    let graph = graphs
        .iter()
        .find(|graph| *graph == "agent")
        .or(graphs.first());
    let graph = graph.map_or("agent", String::as_str);
    let body =
        format!(r#"{{"assistant_id":"{graph}","stream_mode":"messages-tuple","input":{INPUT}}}"#);
    let text = format!(
        r"
  runloom {version}

  url      {url}
  graphs   {graphs}
  data     {data}
  docs     {url}/docs

  try      curl -N {url}/runs/stream -H 'content-type: application/json' \
             -d '{body}'

  Ctrl-C stops in order; runs that are not finished go on at the next start.
",
        version = env!("CARGO_PKG_VERSION"),
        graphs = graphs.join(", "),
    );
    // Nobody may be reading any more; the server does not depend on it.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let _ = std::io::stdout().flush();
}
