//! Go's own TLS, in static programs without symbols.

use crate::sdk::is_streamed;

use super::asked_as_usual;

/// Runs a program of `go/`, streamed or not.
fn check(program: &str, mode: &str, count: usize, streamed: bool) {
    let (scene, calls) = super::seen("go", |scene| scene.go(program, mode, count));
    assert!(asked_as_usual(&calls));
    assert!(calls.iter().all(|call| is_streamed(call) == streamed));
    let http2 = program == "sdk" || mode == "http2";
    let exchanges = scene.server.exchanges();
    assert!(exchanges.iter().all(|exchange| exchange.http2 == http2));
}

#[test]
fn openai() {
    check("sdk", "openai", 2, false);
}

#[test]
fn openai_streamed() {
    check("sdk", "openai_stream", 5, true);
}

#[test]
fn http1() {
    check("plain", "http1", 5, true);
}

#[test]
fn http2() {
    check("plain", "http2", 5, true);
}

#[test]
fn unary() {
    check("plain", "unary", 3, false);
}

/// The stack, and the buffer on it, is elsewhere when the function returns.
#[test]
fn a_buffer_on_a_stack_that_moves() {
    check("plain", "stack", 5, true);
}

#[test]
fn a_connection_of_the_programs_own_making() {
    check("plain", "wrapped", 3, false);
}

#[test]
fn position_independent() {
    check("plain-pie", "http1", 3, true);
    check("plain-pie", "http2", 3, true);
}

#[test]
fn the_oldest_version() {
    check("plain-1.19", "http1", 3, true);
    check("plain-1.19", "http2", 3, true);
    check("plain-1.19", "stack", 3, true);
}
