//! Languages whose TLS is the host's OpenSSL.

use llmtap_e2e::{Client, Scene, script};

use crate::sdk::is_streamed;

use super::asked_as_usual;

fn check(interpreter: &str, name: &str, mode: &str) {
    let client = |scene: &Scene| {
        let mut command = scene.command(interpreter.into());
        command.arg(script(name)).args([mode, "3"]);
        Client::new(command)
    };
    let (_, calls) = super::seen("openssl", client);
    assert!(asked_as_usual(&calls));
    let streamed = mode.ends_with("stream");
    assert!(calls.iter().all(|call| is_streamed(call) == streamed));
}

#[test]
fn ruby() {
    check("ruby", "chat.rb", "unary");
    check("ruby", "chat.rb", "stream");
}

#[test]
fn php() {
    check("php", "chat.php", "streams");
    check("php", "chat.php", "curl");
    check("php", "chat.php", "curl_stream");
}

#[test]
fn perl() {
    check("perl", "chat.pl", "unary");
    check("perl", "chat.pl", "stream");
}
