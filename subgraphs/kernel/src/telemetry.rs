//! Logs, metrics and traces. One trace follows a request from the router through the API and the
//! log to the projector and the writer.

use crate::config::{LogFormat, TelemetryConfig};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use opentelemetry::{
    global,
    propagation::{Extractor, Injector},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    runtime::Tokio,
    trace::{Sampler, SdkTracerProvider, span_processor_with_async_runtime::BatchSpanProcessor},
};
use std::time::Duration;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// What keeps telemetry going; dropping it hands over what is still unsent.
pub struct Telemetry {
    /// Renders the metrics for Prometheus.
    pub metrics: PrometheusHandle,
    traces: Option<SdkTracerProvider>,
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(traces) = self.traces.take() {
            // At the end of a process there is nobody left to tell.
            drop(traces.shutdown());
        }
    }
}

/// What histograms have taken in is put away this often, whether anybody reads them or not: until then each
/// value is kept by itself.
const UPKEEP_PAUSE: Duration = Duration::from_secs(5);

async fn keep_up(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP_PAUSE).await;
        metrics.run_upkeep();
    }
}

/// Starts telemetry for this process, within its runtime.
pub fn start(config: &TelemetryConfig, service: &'static str) -> anyhow::Result<Telemetry> {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let traces =
        config.otlp_endpoint.as_deref().map(|endpoint| provider(endpoint, config.trace_ratio, service)).transpose()?;
    let trace_layer =
        traces.as_ref().map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer(service)));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match config.log_format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.boxed(),
    };
    tracing_subscriber::registry()
        .with(EnvFilter::try_new(&config.log_filter)?)
        .with(lines)
        .with(trace_layer)
        .try_init()?;
    let metrics = PrometheusBuilder::new()
        .set_buckets(&[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0])?
        .install_recorder()?;
    tokio::spawn(keep_up(metrics.clone()));
    Ok(Telemetry { metrics, traces })
}

fn provider(endpoint: &str, ratio: f64, service: &'static str) -> anyhow::Result<SdkTracerProvider> {
    let endpoint = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_http().with_endpoint(endpoint).build()?;
    let resource = opentelemetry_sdk::Resource::builder().with_service_name(service).build();
    // The exporter's client needs the runtime, which the plain batch processor's thread does not have.
    let batches = BatchSpanProcessor::builder(exporter, Tokio).build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
    Ok(SdkTracerProvider::builder().with_span_processor(batches).with_sampler(sampler).with_resource(resource).build())
}

struct Parent(Option<String>);

impl Injector for Parent {
    fn set(&mut self, key: &str, value: String) {
        if key == "traceparent" {
            self.0 = Some(value);
        }
    }
}

impl Extractor for Parent {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0.as_deref()).flatten()
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

/// The current trace in W3C's form, for the headers of what is sent on.
pub fn traceparent() -> Option<String> {
    let mut parent = Parent(None);
    let context = Span::current().context();
    global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut parent));
    parent.0
}

/// Makes a span a part of the trace that a header names.
pub fn follow(span: &Span, traceparent: Option<&str>) {
    if let Some(traceparent) = traceparent {
        let parent = Parent(Some(traceparent.to_owned()));
        let context = global::get_text_map_propagator(|propagator| propagator.extract(&parent));
        // Without a trace layer there is nothing to follow.
        drop(span.set_parent(context));
    }
}

/// Makes the span of a batch a part of the first trace among its records that is sampled: a span has one parent.
pub fn follow_first<'a>(span: &Span, traceparents: impl Iterator<Item = Option<&'a str>>) {
    follow(span, traceparents.flatten().find(|traceparent| is_sampled(traceparent)));
}

/// The lowest bit of the last field says so (W3C Trace Context §3.2.2.5).
fn is_sampled(traceparent: &str) -> bool {
    let flags = traceparent.rsplit_once('-').and_then(|(_, flags)| u8::from_str_radix(flags, 16).ok());
    flags.is_some_and(|flags| flags & 1 == 1)
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_sampled_when_its_flags_say_so() {
        let id = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
        assert!(is_sampled(&format!("00-{id}-01")));
        assert!(is_sampled(&format!("00-{id}-03")));
        for unsampled in [format!("00-{id}-00"), format!("00-{id}-"), id.to_owned(), String::new()] {
            assert!(!is_sampled(&unsampled), "{unsampled}");
        }
    }
}
