//! Requests to whichever gateway, and what becomes of them.

use std::time::Duration;

use serde_json::Value;

/// How long to wait for an answer. A gateway may be stopped in its tracks for longer.
const PATIENCE: Duration = Duration::from_secs(8);

/// Speaks to all gateways.
#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    gateways: Vec<String>,
}

/// Why there is no answer.
pub type Lost = String;

impl Http {
    /// A client of the gateways with these base URLs.
    pub fn new(gateways: Vec<String>) -> Self {
        let client = reqwest::Client::builder()
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_secs(2))
            .build()
            .expect("a client");
        Self { client, gateways }
    }

    /// Sends a request and waits for the head of the answer.
    pub async fn send(
        &self,
        gateway: usize,
        path: &str,
        body: Option<&Value>,
        last_event_id: Option<&str>,
    ) -> Result<reqwest::Response, Lost> {
        let url = format!("{}{path}", self.gateways[gateway % self.gateways.len()]);
        let mut request = match body {
            Some(body) => self.client.post(url).json(body),
            None => self.client.get(url),
        };
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let answer = tokio::time::timeout(PATIENCE, request.send()).await;
        answer
            .map_err(|_| "no answer in time".to_owned())?
            .map_err(|error| format!("{error:?}"))
    }

    /// Sends a request and reads the whole answer: its status and its JSON, if it is any.
    pub async fn ask(
        &self,
        gateway: usize,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), Lost> {
        let response = self.send(gateway, path, body, None).await?;
        let code = response.status().as_u16();
        let text = tokio::time::timeout(PATIENCE, response.text()).await;
        let text = text
            .map_err(|_| "half an answer in time".to_owned())?
            .map_err(|error| format!("{error:?}"))?;
        Ok((code, serde_json::from_str(&text).unwrap_or_default()))
    }

    /// Asks one gateway after the other until one answers with success; `None` if none does in time.
    pub async fn insist(&self, path: &str, body: Option<&Value>) -> Option<Value> {
        for gateway in 0..60 {
            if let Ok((200..300, value)) = self.ask(gateway, path, body).await {
                return Some(value);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        None
    }
}
