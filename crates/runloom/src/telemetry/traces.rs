//! Traces: spans of this process, sent to a receiver that speaks OTLP over HTTP.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _,
    TraceFlags, TraceId, TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};
use runloom_core::clock::{Clock as _, SystemClock};
use runloom_core::ids::random_id;
use runloom_core::trace::{self, Kind, LiveSpan, Start, TraceContext, TraceParent, Value};
use tokio::runtime::Handle;

use super::sender::{Patient, Sender};

/// How long a process that stops may take to send what is left.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// The most bytes of an error's text that go along.
const LONGEST_ERROR: usize = 1_000;

/// The sending of spans. Ends with [`Sending::stop`].
pub(crate) struct Sending(SdkTracerProvider);

/// Sends spans as `service` from now on, if somebody is named who takes them: by `flag`, or by the
/// variables of OpenTelemetry.
pub(crate) fn start(
    flag: Option<&str>,
    service: &'static str,
    runtime: &Handle,
) -> anyhow::Result<Option<Sending>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the variables are OpenTelemetry's own"
    )]
    let variable = |name: &str| std::env::var(name).ok();
    let Some(endpoint) = endpoint(flag, variable) else {
        return Ok(None);
    };
    if let Some(why) = odd_sampler(variable) {
        tracing::warn!(why, "sampling is not what was meant");
    }
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&endpoint)
        .with_http_client(Sender::new(runtime.clone())?)
        .build()
        .with_context(|| format!("cannot send traces to {}", without_password(&endpoint)))?;
    let provider = SdkTracerProvider::builder()
        .with_resource(resource(service))
        .with_batch_exporter(Patient::new(exporter))
        .build();
    let tracer = provider.tracer("runloom");
    if !trace::install(Recorder(tracer)) {
        return Ok(None);
    }
    tracing::info!(to = without_password(&endpoint), "sending traces");
    Ok(Some(Sending(provider)))
}

impl Sending {
    /// Sends what is left, for a while.
    pub(crate) fn stop(self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST_WORDS) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Where spans go. What the variables mean is the specification's business, not ours.
fn endpoint(flag: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let set = |name| variable(name).filter(|value| !value.trim().is_empty());
    if set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || set("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none")
    {
        return None;
    }
    let of_all = |base: String| format!("{}/v1/traces", base.trim_end_matches('/'));
    let flag = flag.map(str::to_owned).map(of_all);
    flag.or_else(|| set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
        .or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT").map(of_all))
}

/// Why the library cannot do what the variables say about sampling. It would keep that to itself.
fn odd_sampler(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let sampler = variable("OTEL_TRACES_SAMPLER").filter(|name| !name.is_empty())?;
    match sampler.as_str() {
        "always_on" | "always_off" | "parentbased_always_on" | "parentbased_always_off" => None,
        "traceidratio" | "parentbased_traceidratio" => {
            let ratio = variable("OTEL_TRACES_SAMPLER_ARG").unwrap_or_default();
            let fine = ratio
                .parse()
                .is_ok_and(|ratio: f64| (0.0..=1.0).contains(&ratio));
            (!fine).then(|| format!("OTEL_TRACES_SAMPLER_ARG is no number from 0 to 1: `{ratio}`"))
        }
        _ => Some(format!("OTEL_TRACES_SAMPLER is not known: `{sampler}`")),
    }
}

/// Who we are: what the variables say, or the role's name.
fn resource(service: &'static str) -> Resource {
    let of_variables = Resource::builder().build();
    let named = of_variables
        .get(&"service.name".into())
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let own = Resource::builder().with_attributes([
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", random_id()),
    ]);
    if named {
        own.build()
    } else {
        own.with_service_name(service).build()
    }
}

/// An address as people may see it.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let rest = rest.split('?').next().unwrap_or_default();
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    format!("{scheme}://{place}")
}

/// Makes spans by the library. It decides by the sampler of `OTEL_TRACES_SAMPLER`, which unless told
/// otherwise does as whoever is above.
struct Recorder(SdkTracer);

impl trace::Tracer for Recorder {
    fn start(&self, start: Start<'_>) -> Box<dyn LiveSpan> {
        let builder = SpanBuilder::from_name(start.name)
            .with_kind(match start.kind {
                Kind::Internal => SpanKind::Internal,
                Kind::Server => SpanKind::Server,
                Kind::Client => SpanKind::Client,
                Kind::Consumer => SpanKind::Consumer,
            })
            .with_start_time(before(start.ago));
        let above = match start.parent {
            Some(parent) => Context::new().with_remote_span_context(remote(parent.parent)),
            None => Context::new(),
        };
        Box::new(Recorded {
            span: self.0.build_with_context(builder, &above),
            above: start.parent.cloned(),
        })
    }
}

/// So long ago.
fn before(ago: Duration) -> SystemTime {
    SystemTime::from(SystemClock.now()) - ago
}

fn remote(parent: TraceParent) -> SpanContext {
    SpanContext::new(
        TraceId::from(parent.trace_id.0),
        SpanId::from(parent.span_id),
        TraceFlags::new(parent.flags),
        true,
        TraceState::NONE,
    )
}

struct Recorded {
    span: Span,
    above: Option<TraceContext>,
}

impl LiveSpan for Recorded {
    fn context(&self) -> TraceContext {
        let own = self.span.span_context();
        TraceContext {
            parent: TraceParent {
                trace_id: trace::TraceId(u128::from_be_bytes(own.trace_id().to_bytes())),
                span_id: u64::from_be_bytes(own.span_id().to_bytes()),
                flags: own.trace_flags().to_u8(),
            },
            state: self.above.as_ref().and_then(|above| above.state.clone()),
        }
    }

    fn set(&mut self, key: &'static str, value: Value) {
        if !self.span.is_recording() {
            return;
        }
        self.span.set_attribute(match value {
            Value::Text(text) => KeyValue::new(key, text),
            Value::Number(number) => KeyValue::new(key, number),
        });
    }

    fn link(&mut self, to: TraceParent) {
        self.span.add_link(remote(to), Vec::new());
    }

    fn fail(&mut self, mut why: String) {
        let end = why.floor_char_boundary(LONGEST_ERROR);
        why.truncate(end);
        self.span.set_status(Status::error(why));
    }

    fn end(&mut self, ago: Duration) {
        self.span.end_with_timestamp(before(ago));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(flag: Option<&str>, variables: &[(&str, &str)]) -> Option<String> {
        endpoint(flag, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_is_sent_unless_somebody_is_named_and_the_flag_is_heard_first() {
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318/");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces/in");
        assert_eq!(with(None, &[]), None);
        assert_eq!(with(None, &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), None);
        assert_eq!(with(None, &[all]).unwrap(), "http://all:4318/v1/traces");
        assert_eq!(with(None, &[all, traces]).unwrap(), "http://traces/in");
        let flag = with(Some("http://flag:4318"), &[all, traces]);
        assert_eq!(flag.unwrap(), "http://flag:4318/v1/traces");
        for off in [
            ("OTEL_SDK_DISABLED", "true"),
            ("OTEL_TRACES_EXPORTER", "none"),
        ] {
            assert_eq!(with(Some("http://flag:4318"), &[off]), None);
        }
    }

    #[test]
    fn a_sampler_that_does_not_do_what_was_meant_is_named() {
        let said = |sampler: &str, ratio: &str| {
            odd_sampler(|name| match name {
                "OTEL_TRACES_SAMPLER" => Some(sampler.to_owned()),
                "OTEL_TRACES_SAMPLER_ARG" => Some(ratio.to_owned()),
                _ => None,
            })
        };
        for (sampler, ratio) in [
            ("", ""),
            ("always_off", ""),
            ("parentbased_always_on", "x"),
            ("traceidratio", "1"),
            ("parentbased_traceidratio", "0.1"),
        ] {
            assert_eq!(said(sampler, ratio), None, "{sampler}");
        }
        assert!(said("sometimes", "").unwrap().contains("`sometimes`"));
        for ratio in ["", "10%", "7", "-0.1", "NaN"] {
            assert!(
                said("traceidratio", ratio).unwrap().contains("_ARG"),
                "{ratio}"
            );
        }
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        let shown = without_password("https://me:hidden@receiver:4318/v1/traces?key=hidden");
        assert_eq!(shown, "https://receiver:4318/v1/traces");
    }
}
