//! Somebody who talks on one thread.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::follow::{Follower, look};
use super::http::Http;
use crate::history::{Answer, Cancel, Creation, History, Strategy, now};

/// How many runs a user remembers.
const MEMORY: usize = 6;

/// When everybody stops, and what runs are like.
#[derive(Clone)]
pub(crate) struct Habits {
    /// Nobody asks for more.
    pub(crate) stop: CancellationToken,
    /// Nobody waits any longer.
    pub(crate) last_call: CancellationToken,
    /// The average time between two acts, in seconds.
    pub(crate) pause: f64,
}

/// Somebody who talks on one thread, perhaps not alone.
pub(crate) struct User {
    http: Http,
    habits: Habits,
    thread: String,
    name: String,
    dice: fastrand::Rng,
    count: usize,
    recent: VecDeque<String>,
    history: History,
    followers: JoinSet<History>,
}

/// How the client takes part in the run.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Background,
    Stream,
    Wait,
}

impl User {
    pub(crate) fn new(http: &Http, habits: &Habits, thread: &str, name: String, seed: u64) -> Self {
        Self {
            http: http.clone(),
            habits: habits.clone(),
            thread: thread.to_owned(),
            name,
            dice: fastrand::Rng::with_seed(seed),
            count: 0,
            recent: VecDeque::new(),
            history: History::default(),
            followers: JoinSet::new(),
        }
    }

    /// Talks until everybody stops, then waits for what is under way.
    pub(crate) async fn live(mut self) -> History {
        let stop = self.habits.stop.clone();
        while stop
            .run_until_cancelled(tokio::time::sleep(self.pause()))
            .await
            .is_some()
        {
            self.act().await;
            while let Some(seen) = self.followers.try_join_next() {
                self.history.extend(seen.expect("a follower"));
            }
        }
        while let Some(seen) = self.followers.join_next().await {
            self.history.extend(seen.expect("a follower"));
        }
        self.history
    }

    /// Mostly short, sometimes long: what many independent people do.
    fn pause(&mut self) -> Duration {
        let uniform = 1.0 - self.dice.f64();
        Duration::from_secs_f64((-uniform.ln() * self.habits.pause).min(10.0))
    }

    async fn act(&mut self) {
        match self.dice.u32(0..100) {
            0..45 => self.create(Form::Background).await,
            45..65 => self.create(Form::Stream).await,
            65..70 => self.create(Form::Wait).await,
            70..74 => {
                for _ in 0..self.dice.usize(2..6) {
                    self.create(Form::Background).await;
                }
            }
            74..80 => self.cancel().await,
            80..85 => self.follow_again(),
            85..95 => self.look().await,
            _ => self.read_state().await,
        }
    }

    fn gateway(&mut self) -> usize {
        self.dice.usize(0..64)
    }

    fn strategy(&mut self) -> Strategy {
        match self.dice.u32(0..100) {
            0..58 => Strategy::Enqueue,
            58..80 => Strategy::Interrupt,
            80..92 => Strategy::Rollback,
            _ => Strategy::Reject,
        }
    }

    async fn create(&mut self, form: Form) {
        self.count += 1;
        let mark = format!("{}-{}", self.name, self.count);
        let strategy = self.strategy();
        let (steps, delay) = match self.dice.u32(0..20) {
            0 => (20, 0.1),
            1..5 => (2, 0.005),
            _ => (self.dice.usize(2..6), self.dice.f64().mul_add(0.05, 0.01)),
        };
        let body = json!({
            "assistant_id": "witness",
            "input": {
                "messages": [{"role": "human", "content": mark}],
                "count": steps,
                "delay": delay,
            },
            "metadata": {"mark": mark},
            "multitask_strategy": <&str>::from(strategy),
            "stream_mode": ["updates", "custom", "messages-tuple"],
            "stream_resumable": true,
        });
        let gateway = self.gateway();
        let asked = now();
        let (answer, response) = self.submit(gateway, form, &body).await;
        let answered = now();
        if let Answer::Accepted(run) = &answer {
            self.recent.push_back(run.clone());
            if self.recent.len() > MEMORY {
                self.recent.pop_front();
            }
            let follower = self.follower(run.clone(), gateway + 1);
            match form {
                Form::Background => {}
                Form::Stream => {
                    self.followers.spawn(follower.stream(response));
                }
                Form::Wait => {
                    self.followers.spawn(follower.join(response));
                }
            }
        }
        self.history.creations.push(Creation {
            thread: self.thread.clone(),
            mark,
            strategy,
            steps,
            asked,
            answered,
            answer,
        });
    }

    async fn submit(
        &self,
        gateway: usize,
        form: Form,
        body: &Value,
    ) -> (Answer, Option<reqwest::Response>) {
        let end = match form {
            Form::Background => "",
            Form::Stream => "/stream",
            Form::Wait => "/wait",
        };
        let path = format!("/threads/{}/runs{end}", self.thread);
        let response = match self.http.send(gateway, &path, Some(body), None).await {
            Ok(response) => response,
            Err(lost) => return (Answer::Unknown(lost), None),
        };
        let code = response.status().as_u16();
        match code {
            200..300 => {}
            400..500 => return (Answer::Refused(code), None),
            // Whoever answers so may not know what became of it.
            _ => return (Answer::Unknown(code.to_string()), None),
        }
        let place = response.headers().get("content-location");
        let run = place
            .and_then(|place| place.to_str().ok()?.rsplit('/').next())
            .map(str::to_owned);
        match run {
            Some(run) => (Answer::Accepted(run), Some(response)),
            None => (Answer::Unknown("no location".to_owned()), None),
        }
    }

    fn follower(&self, run: String, gateway: usize) -> Follower {
        Follower {
            http: self.http.clone(),
            thread: self.thread.clone(),
            run,
            gateway,
            last_call: self.habits.last_call.clone(),
        }
    }

    fn remembered(&mut self) -> Option<String> {
        if self.recent.is_empty() {
            return None;
        }
        let at = self.dice.usize(0..self.recent.len());
        Some(self.recent[at].clone())
    }

    async fn cancel(&mut self) {
        let Some(run) = self.recent.back().cloned() else {
            return;
        };
        let action = if self.dice.u32(0..10) < 7 {
            Strategy::Interrupt
        } else {
            Strategy::Rollback
        };
        let action_name = <&str>::from(action);
        let path = format!(
            "/threads/{}/runs/{run}/cancel?action={action_name}",
            self.thread
        );
        let asked = now();
        let gateway = self.gateway();
        let answer = self.http.ask(gateway, &path, Some(&json!({}))).await;
        self.history.cancels.push(Cancel {
            run,
            action,
            asked,
            answered: now(),
            code: answer.ok().map(|(code, _)| code),
        });
    }

    /// Reads a known run from its start, or waits for it.
    fn follow_again(&mut self) {
        let Some(run) = self.remembered() else {
            return;
        };
        let gateway = self.gateway();
        let follower = self.follower(run, gateway);
        if self.dice.bool() {
            self.followers.spawn(follower.stream(None));
        } else {
            self.followers.spawn(follower.join(None));
        }
    }

    async fn look(&mut self) {
        if let Some(run) = self.remembered() {
            let gateway = self.gateway();
            let seen = look(&self.http, gateway, &self.thread, &run).await;
            self.history.sightings.extend(seen);
        }
    }

    /// Loads the servers as readers do; what they show is compared when all is quiet.
    async fn read_state(&mut self) {
        let gateway = self.gateway();
        let state = format!("/threads/{}/state", self.thread);
        let history = format!("/threads/{}/history", self.thread);
        let limit = json!({"limit": 20});
        let _ = self.http.ask(gateway, &state, None).await;
        let _ = self.http.ask(gateway + 1, &history, Some(&limit)).await;
    }
}
