//! Which figures of a case are shown, and which of them is the one to compare.

/// A figure in a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) figure: &'static str,
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    /// What the figure is multiplied with to be in that unit.
    pub(super) scale: f64,
}

const fn column(figure: &'static str, title: &'static str, unit: &'static str) -> Column {
    Column {
        figure,
        title,
        unit,
        scale: 1.0,
    }
}

const fn scaled(column: Column, scale: f64) -> Column {
    Column { scale, ..column }
}

/// What is known of a scenario.
pub(super) struct Shown {
    pub(super) scenario: &'static str,
    pub(super) title: &'static str,
    pub(super) text: &'static str,
    /// The first one is compared.
    pub(super) columns: &'static [Column],
    /// Whether more of the first one is better.
    pub(super) more_is_better: bool,
}

/// All scenarios, in the order of the page.
pub(super) const SCENARIOS: &[Shown] = &[
    Shown {
        scenario: "wait",
        title: "Runs of one node, waited for",
        text: "So many clients, each creating a thread and waiting for a run on it, again and again.",
        columns: &[
            column("runs_per_s", "runs", "/s"),
            column("p50_ms", "p50", " ms"),
            column("p99_ms", "p99", " ms"),
            column("server_cpu_ms_per_run", "server CPU a run", " ms"),
            column("client_cpu_ms_per_run", "client CPU a run", " ms"),
            column("server_peak_mib", "peak memory", " MiB"),
        ],
        more_is_better: true,
    },
    Shown {
        scenario: "background",
        title: "Runs in the background",
        text: "Ten runs queued on each of many threads, created over 16 connections; from the first create \
            until the last is over. Wrong is a thread on which not all ten ended well, or whose state \
            lacks a message or has them out of order.",
        columns: &[
            column("runs_per_s", "runs", "/s"),
            column("creates_per_s", "creates", "/s"),
            column("runs", "runs in a round", ""),
            column("server_cpu_ms_per_run", "server CPU a run", " ms"),
            column("client_cpu_ms_per_run", "client CPU a run", " ms"),
            column("server_peak_mib", "peak memory", " MiB"),
        ],
        more_is_better: true,
    },
    Shown {
        scenario: "first-event",
        title: "From the request to the first event",
        text: "A streamed run of one node. 1: one after the other on an idle server. 50: fifty at the same \
            moment every second, whether the last ones are answered or not; time counts from the moment \
            at which a request was due. Content is the first event that is not `metadata`.",
        columns: &[
            column("first_p50_ms", "first p50", " ms"),
            column("first_p99_ms", "first p99", " ms"),
            column("content_p50_ms", "content p50", " ms"),
            column("content_p99_ms", "content p99", " ms"),
            column("server_cpu_ms_per_run", "server CPU a run", " ms"),
        ],
        more_is_better: false,
    },
    Shown {
        scenario: "interrupt",
        title: "One run takes the place of another",
        text: "A run whose node takes 0.4 s is under way; a second one is created with `interrupt`, on 1 or \
            50 threads at once. Times from sending the second request. Wrong is an outcome in which \
            the first run is not `interrupted`, a question is missing in the thread or out of order, or \
            the second run was under way before the first was over. Late are those whose first run \
            had ended by itself before the second was accepted.",
        columns: &[
            column("first_event_p50_ms", "second run's first event p50", " ms"),
            column("first_event_p99_ms", "p99", " ms"),
            column("content_p50_ms", "its content p50", " ms"),
            column("answer_p50_ms", "answer p50", " ms"),
            column("answer_p99_ms", "p99", " ms"),
            column("stopped_p50_ms", "first run seen over p50", " ms"),
            column("stopped_p99_ms", "p99", " ms"),
            column("late", "late", ""),
        ],
        more_is_better: false,
    },
    Shown {
        scenario: "fanout",
        title: "Many readers of one run",
        text: "So many readers of one run that says 50 tokens a second. A token's delay counts from when it \
            was due by the run's own schedule.",
        columns: &[
            column("delay_p99_ms", "delay p99", " ms"),
            column("delay_p50_ms", "delay p50", " ms"),
            column("delivered_per_s", "delivered", "/s"),
            column("lost", "lost", ""),
            column("attach_s", "all attached after", " s"),
            column("server_peak_mib", "peak memory", " MiB"),
            scaled(
                column("server_cpu_ms_per_event", "server CPU an event", " µs"),
                1e3,
            ),
            scaled(
                column("client_cpu_ms_per_event", "client CPU an event", " µs"),
                1e3,
            ),
        ],
        more_is_better: false,
    },
    Shown {
        scenario: "tokens",
        title: "One long token stream",
        text: "5,000 tokens as fast as they come, one reader. Wrong are tokens that are missing or out of \
            order.",
        columns: &[
            column("events_per_s", "events", "/s"),
            scaled(
                column("server_cpu_ms_per_event", "server CPU an event", " µs"),
                1e3,
            ),
        ],
        more_is_better: true,
    },
    Shown {
        scenario: "soak",
        title: "Many runs, one after the other",
        text: "Memory after a fifth of the runs and after all of them, and the speed of a burst at the \
            beginning and after twice as many.",
        columns: &[
            scaled(column("burst_kept", "speed kept", " %"), 100.0),
            column("burst_first_per_s", "first burst", "/s"),
            column("burst_last_per_s", "last burst", "/s"),
            column("memory_early_mib", "memory early", " MiB"),
            column("memory_late_mib", "memory late", " MiB"),
            scaled(column("memory_growth", "growth", " %"), 100.0),
            column("stored_kib_per_run", "stored a run", " KiB"),
            column("samples", "runs", ""),
        ],
        more_is_better: true,
    },
    Shown {
        scenario: "rest",
        title: "Memory at rest",
        text: "Before the first request.",
        columns: &[
            column("memory_mib", "all processes", " MiB"),
            column("memory_each_mib", "each process", " MiB"),
        ],
        more_is_better: false,
    },
    Shown {
        scenario: "sql",
        title: "Postgres: the two commits of a run",
        text: "",
        columns: &[
            column("runs_per_s", "runs", "/s"),
            column("p50_ms", "p50", " ms"),
            column("p99_ms", "p99", " ms"),
        ],
        more_is_better: true,
    },
    Shown {
        scenario: "nats",
        title: "NATS",
        text: "",
        columns: &[
            column("delivery_p50_ms", "delivery p50", " ms"),
            column("delivery_p99_ms", "delivery p99", " ms"),
            column("round_trip_p50_ms", "round trip p50", " ms"),
            column("round_trip_p99_ms", "round trip p99", " ms"),
        ],
        more_is_better: false,
    },
    Shown {
        scenario: "http",
        title: "HTTP: hello world",
        text: "",
        columns: &[
            column("requests_per_s", "requests", "/s"),
            column("p50_ms", "p50", " ms"),
            column("p99_ms", "p99", " ms"),
        ],
        more_is_better: true,
    },
];

/// The columns of a case, by its name.
pub(super) fn shown(case: &str) -> &'static [Column] {
    let scenario = case.split('/').next().unwrap_or_default();
    let found = SCENARIOS.iter().find(|shown| shown.scenario == scenario);
    found.map_or(&[], |shown| shown.columns)
}
