// Package web is the door for everything that speaks HTTP: entries and spaces as
// resources, subscriptions over WebSocket, health, metrics, and the description
// of all of it as OpenAPI.
//
// A [Server] is an http.Handler, to be mounted in an application's own mux, and
// can serve a listener by itself. [Metrics] holds what is published under
// /metrics; other doors of the process report into it. [Problem] is what every
// error looks like, over HTTP and over WebSocket alike.
//
// # Entries
//
// An entry of fields is a JSON object; integers stay integers, and what JSON has
// no word for is said by the reserved objects of internal/msgp. An entry of
// opaque bytes is application/octet-stream, and {"$bytes": "…"} inside JSON. An
// entry's version is its ETag, so If-Match and If-None-Match make a write
// conditional. A key is one percent-encoded segment of the path.
//
// # Subscriptions
//
// The protocol is grid.v1: a hello, a snapshot, then changes without a gap. The
// client grants credit and the server never sends more, a command aside, which
// is not split. A cursor continues on any member. A client that does not keep
// up is told so by a reset and starts from a snapshot again; what it holds of
// the server's memory is bounded all the while, and the grid never waits for it.
//
// # Promises
//
// Nothing is allocated from a declared length. Every limit is a field of
// [Limits]. A request from a page of a foreign origin is refused, and so is one
// that reaches a loopback address under a foreign name. What became of a request
// is one of three: done, not done, or, with indeterminate set, unknown.
//
// # What it does not do
//
// It does not authenticate and does not speak TLS by itself: Serve takes a
// listener that does.
package web
