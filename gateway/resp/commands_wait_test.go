package resp

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The holder of a claim settles it by its token, from any connection.
func TestClaimsAreSettled(t *testing.T) {
	_, address := startCommands(t, CommandsConfig{})
	holder, other := dialPeer(t, address), dialPeer(t, address)
	must := func(p *peer, want string, args ...string) string {
		t.Helper()
		got, err := p.call(args...)
		if ok, _ := regexp.MatchString("^(?:"+want+")$", got); err != nil || !ok {
			t.Fatalf("%v: got %s, %v, want %s", args, got, err, want)
		}
		return got
	}
	token := func(reply string) string {
		_, rest, _ := strings.Cut(reply, `"token" "`)
		text, _, _ := strings.Cut(rest, `"`)
		return text
	}
	must(holder, `\[.*`, "SPACE.CREATE", "jobs", "SHAPE", "fields")
	must(holder, `\d+`, "SPACE.WRITE", "jobs", "KEY", "j1", "JSON", `{"n":1}`)
	first := token(must(holder, `\[\[.*"attempts" 0.*`, "SPACE.CLAIM", "jobs", "MATCH", "{}"))
	must(other, `\[\]`, "SPACE.CLAIM", "jobs", "MATCH", "{}")
	must(other, `\+OK`, "SPACE.EXTEND", "jobs", "j1", first, "LEASE", "60000")
	must(other, `\+OK`, "SPACE.NACK", "jobs", "j1", first)
	must(holder, `-FENCED .*`, "SPACE.ACK", "jobs", "j1", first)
	second := token(must(other, `\[.*"attempts" 1.*`, "SPACE.CLAIM", "jobs", "KEY", "j1"))
	must(other, `\+OK`, "SPACE.NACK", "jobs", "j1", second, "DELAY", "50", "UNCOUNTED")
	must(other, `nil`, "SPACE.READ", "jobs", "KEY", "j1")
	third := token(must(other, `\[\[.*"attempts" 1.*`, "SPACE.CLAIM", "jobs", "MATCH", "{}", "WAIT", "10000"))
	must(holder, `\+OK`, "SPACE.ACK", "jobs", "j1", third)
	must(holder, `0`, "SPACE.COUNT", "jobs")
}

// A take that waits gets the entry that is written meanwhile, holds up nobody
// else, and what its client sent after it is answered in order.
func TestTakesWait(t *testing.T) {
	_, address := startCommands(t, CommandsConfig{})
	waiter, writer := dialPeer(t, address), dialPeer(t, address)
	if err := waiter.send("SPACE.TAKE", "default", "KEY", "k", "WAIT", "20000"); err != nil {
		t.Fatal(err)
	}
	if err := waiter.send("ECHO", "behind"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // either order is right, this one is the one meant
	if got, err := writer.call("SET", "k", "v"); err != nil || got != "+OK" {
		t.Fatal(got, err)
	}
	got, err := showReply(waiter.r)
	if err != nil || !strings.Contains(got, `"value" "v"`) {
		t.Fatal(got, err)
	}
	if got, err = showReply(waiter.r); err != nil || got != `"behind"` {
		t.Fatal(got, err)
	}
	if got, err = waiter.call("GET", "k"); err != nil || got != "nil" {
		t.Fatal(got, err)
	}
}

// A wait ends with its connection: what is written afterwards stays.
func TestWaitsEndWithTheirConnection(t *testing.T) {
	h, address := startCommands(t, CommandsConfig{})
	waiter, writer := dialPeer(t, address), dialPeer(t, address)
	if got, err := waiter.call("PING"); err != nil || got != "+PONG" {
		t.Fatal(got, err)
	}
	if err := waiter.send("SPACE.CLAIM", "default", "KEY", "k", "WAIT", "600000"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	_ = waiter.Close()
	server := h.server.Load()
	for end := time.Now().Add(10 * time.Second); len(server.Clients()) > 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection is still there")
		}
	}
	if got, err := writer.call("SET", "k", "v"); err != nil || got != "+OK" {
		t.Fatal(got, err)
	}
	if got, err := writer.call("GET", "k"); err != nil || got != `"v"` {
		t.Fatal(got, err)
	}
	// A server that departs does not sit a wait out either.
	if err := writer.send("SPACE.TAKE", "default", "KEY", "other", "WAIT", "600000"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := server.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if got, err := showReply(writer.r); err != nil || !strings.HasPrefix(got, "-UNBLOCKED ") {
		t.Fatal(got, err)
	}
}
