//! Calls a model server over TLS by rustls: `client PROVIDER TLS HTTP COUNT [stream]`, with
//! PROVIDER `ring` or `aws-lc`, TLS `1.2` or `1.3`, HTTP `1` or `2`. All calls are made at
//! once; each reply is printed as a line of JSON. With `stepped` instead of HTTP and COUNT
//! see [`stepped`].

use std::error::Error;
use std::sync::Arc;

use reqwest::Client;
use rustls::crypto::{CryptoProvider, aws_lc_rs, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, version};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

mod stepped;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let [provider, tls, "stepped"] = &arguments[..] {
        return stepped::run(config(provider, tls)?);
    }
    let [provider, tls, http, count, rest @ ..] = &arguments[..] else {
        return Err("client PROVIDER TLS HTTP COUNT [stream]".into());
    };
    let client = client(provider, tls, http)?;
    let streamed = *rest == ["stream"];
    let calls = (0..count.parse()?).map(|_| tokio::spawn(call(client.clone(), streamed)));
    for call in calls.collect::<Vec<_>>() {
        println!("{}", call.await??);
    }
    Ok(())
}

fn config(provider: &str, tls: &str) -> Result<ClientConfig> {
    let provider: CryptoProvider = match provider {
        "ring" => ring::default_provider(),
        _ => aws_lc_rs::default_provider(),
    };
    let versions = match tls {
        "1.2" => &[&version::TLS12],
        _ => &[&version::TLS13],
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(std::env::var("SSL_CERT_FILE")?)? {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn client(provider: &str, tls: &str, http: &str) -> Result<Client> {
    let mut config = config(provider, tls)?;
    config.alpn_protocols = vec![match http {
        "2" => b"h2".to_vec(),
        _ => b"http/1.1".to_vec(),
    }];
    let builder = Client::builder().tls_backend_preconfigured(config);
    let builder = match http {
        "2" => builder.http2_prior_knowledge(),
        _ => builder.http1_only(),
    };
    Ok(builder.build()?)
}

fn body(streamed: bool) -> Value {
    json!({
        "model": "gpt-4o-mini",
        "stream": streamed,
        "stream_options": if streamed { json!({"include_usage": true}) } else { Value::Null },
        // Longer than one record.
        "messages": [{"role": "user", "content": "Grüße ".repeat(4000)}],
    })
}

async fn call(client: Client, streamed: bool) -> Result<Value> {
    let body = body(streamed);
    let url = format!("{}/chat/completions", std::env::var("OPENAI_BASE_URL")?);
    let request = client
        .post(url)
        .bearer_auth(std::env::var("CANARY")?)
        .header("content-type", "application/json")
        .header("x-test-words", "5000")
        .body(body.to_string());
    let reply = request.send().await?.error_for_status()?.text().await?;
    if streamed { told(&reply) } else { whole(&reply) }
}

fn whole(reply: &str) -> Result<Value> {
    let reply: Value = serde_json::from_str(reply)?;
    Ok(json!({
        "id": reply["id"], "text": reply["choices"][0]["message"]["content"],
        "input": reply["usage"]["prompt_tokens"], "output": reply["usage"]["completion_tokens"],
    }))
}

/// What the events of a stream come to.
fn told(reply: &str) -> Result<Value> {
    let (mut id, mut text, mut usage) = (Value::Null, String::new(), Value::Null);
    for event in reply.lines().filter_map(|line| line.strip_prefix("data: ")) {
        if event == "[DONE]" {
            continue;
        }
        let event: Value = serde_json::from_str(event)?;
        id = event["id"].clone();
        text += event["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
        if !event["usage"].is_null() {
            usage = event["usage"].clone();
        }
    }
    Ok(json!({
        "id": id, "text": text,
        "input": usage["prompt_tokens"], "output": usage["completion_tokens"],
    }))
}
