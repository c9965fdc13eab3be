package resp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// demo is a handler with a few commands that show each part of a session.
type demo struct {
	mu     sync.Mutex
	closed []uint64
	block  chan struct{} // BLOCK waits for it
}

func (d *demo) Serve(ctx context.Context, s *Session, commands []Command) {
	for _, c := range commands {
		if d.serve(ctx, s, c); s.Closing() {
			return
		}
	}
}

func (d *demo) serve(ctx context.Context, s *Session, c Command) {
	name := strings.ToUpper(string(c.Name()))
	if s.Queue != nil && name != "EXEC" {
		if s.Queue.Add(c) {
			s.Out.Status("QUEUED")
		} else {
			s.Out.Error("ERR the transaction is too large")
		}
		return
	}
	if !s.Authenticated() && name != "AUTH" {
		s.Out.Error("NOAUTH Authentication required.")
		return
	}
	switch name {
	case "PING":
		s.Out.Status("PONG")
	case "AUTH":
		s.Authenticate(string(c.Args[1]))
		s.Out.OK()
	case "RESET":
		s.Deauthenticate()
		s.Out.Status("RESET")
	case "HELLO":
		version, _ := strconv.Atoi(string(c.Args[1]))
		s.SetProto(version)
		s.Out.Map(1)
		s.Out.BulkString("proto")
		s.Out.Int(int64(version))
	case "NAME":
		s.Describe(func(c2 *Client) { c2.Name = string(c.Args[1]) })
		s.Out.BulkString(s.Client().Name)
	case "SELECT":
		db, _ := strconv.Atoi(string(c.Args[1]))
		s.Select(db)
		s.Out.Int(int64(s.DB()))
	case "MULTI":
		s.Multi()
		s.Out.OK()
	case "EXEC":
		queue := s.Queue
		s.Queue = nil
		if queue.Failed {
			s.Out.Error("EXECABORT Transaction discarded because of previous errors.")
			return
		}
		s.Out.Array(len(queue.Commands()))
		for _, queued := range queue.Commands() {
			d.serve(ctx, s, queued)
		}
	case "TYPES":
		writeEveryType(s.Out)
	case "BIG":
		n, _ := strconv.Atoi(string(c.Args[1]))
		s.Out.Bulk(bytes.Repeat([]byte("v"), n))
	case "BLOCK":
		select {
		case <-d.block:
			s.Out.OK()
		case <-ctx.Done():
			s.Out.Error("ERR closing")
		}
	case "MUTE": // breaks the promise of one reply
	case "HALF": // breaks the promise of a whole reply
		s.Out.Array(2)
		s.Out.Int(1)
	case "PANIC":
		panic("demo")
	case "QUIT":
		s.Out.OK()
		s.Close()
	case "ERROR":
		s.Out.Error("ERR " + string(c.Args[1]))
	default:
		s.Out.Array(len(c.Args))
		for _, arg := range c.Args {
			s.Out.Bulk(arg)
		}
	}
}

func writeEveryType(w *Writer) {
	w.Array(8)
	w.Null()
	w.NullArray()
	w.Bool(true)
	w.Double(1.5)
	w.Set(1)
	w.Int(10)
	w.BigNumber("123")
	w.Verbatim("txt", "hi")
	w.Map(0)
}

func (d *demo) Closed(s *Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = append(d.closed, s.ID())
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// start runs a server on loopback until the end of the test.
func start(t testing.TB, config Config) (*Server, string) {
	t.Helper()
	if config.Handler == nil {
		config.Handler = &demo{block: make(chan struct{})}
	}
	if config.Logger == nil {
		config.Logger = quiet()
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := New(config)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return server, listener.Addr().String()
}

func dial(t testing.TB, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	// A test that waits longer than this is stuck.
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func send(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// expect reads exactly the bytes wanted.
func expect(t testing.TB, c io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(c, got)
	if string(got[:n]) != want {
		t.Fatalf("got %q, %v; want %q", got[:n], err, want)
	}
}

// expectEnd reads the end of the stream.
func expectEnd(t testing.TB, c io.Reader) {
	t.Helper()
	rest, err := io.ReadAll(c)
	if len(rest) > 0 || err != nil {
		t.Fatalf("instead of the end: %q, %v", rest, err)
	}
}

// until waits for the server's counters, which may be behind what a client has
// seen.
func until(t testing.TB, server *Server, done func(Stats) bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(server.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", server.Stats())
		}
	}
}

// step is one line of a session script: bytes to send, to expect, or the end.
type step struct {
	verb, text string
	line       int
}

func readScript(t *testing.T, path string) []step {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var steps []step
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		verb, rest, _ := strings.Cut(lines.Text(), " ")
		if verb == "" || verb == "#" {
			continue
		}
		text := ""
		if rest != "" {
			if text, err = strconv.Unquote(rest); err != nil {
				t.Fatalf("%s:%d: %v", path, n, err)
			}
		}
		steps = append(steps, step{verb, text, n})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return steps
}

// The sessions of testdata go byte for byte as written, sent a line at a time
// and sent byte by byte. In a script ">" sends, "<" expects, "end" expects the
// server to close, and a first line "auth" asks for authentication.
func TestSessions(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.session")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range scripts {
		for _, whole := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/whole=%t", filepath.Base(path), whole), func(t *testing.T) {
				steps := readScript(t, path)
				config := Config{}
				if steps[0].verb == "auth" {
					config.RequireAuth = true
					steps = steps[1:]
				}
				_, address := start(t, config)
				runScript(t, dial(t, address), steps, whole)
			})
		}
	}
}

func runScript(t *testing.T, c net.Conn, steps []step, whole bool) {
	for _, step := range steps {
		t.Logf("line %d", step.line)
		switch step.verb {
		case ">":
			if whole {
				send(t, c, step.text)
				continue
			}
			for i := range len(step.text) {
				send(t, c, step.text[i:i+1])
			}
		case "<":
			expect(t, c, step.text)
		case "end":
			expectEnd(t, c)
		default:
			t.Fatalf("line %d: unknown verb %q", step.line, step.verb)
		}
	}
}

// A pipeline is served as one batch and its replies come in order.
func TestServerBatchesPipelines(t *testing.T) {
	server, address := start(t, Config{})
	c := dial(t, address)
	var in, want strings.Builder
	for i := range 500 {
		fmt.Fprintf(&in, "ECHO %d\r\n", i)
		text := strconv.Itoa(i)
		fmt.Fprintf(&want, "*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n", len(text), text)
	}
	send(t, c, in.String())
	expect(t, c, want.String())
	until(t, server, func(s Stats) bool { return s.BytesOut == int64(want.Len()) })
	if stats := server.Stats(); stats.Commands != 500 || stats.Batches > 50 || stats.BytesIn != int64(in.Len()) {
		t.Errorf("%+v", stats)
	}
}

// Connections beyond the limit are told so; a place is free again as soon as
// one has left.
func TestServerRefusesConnections(t *testing.T) {
	server, address := start(t, Config{MaxConns: 1})
	first := dial(t, address)
	send(t, first, "PING\r\n")
	expect(t, first, "+PONG\r\n")
	second := dial(t, address)
	expect(t, second, "-ERR max number of clients reached\r\n")
	expectEnd(t, second)
	send(t, first, "QUIT\r\n")
	expect(t, first, "+OK\r\n")
	expectEnd(t, first)
	until(t, server, func(s Stats) bool { return s.Open == 0 })
	third := dial(t, address)
	send(t, third, "PING\r\n")
	expect(t, third, "+PONG\r\n")
	if stats := server.Stats(); stats.Accepted != 2 || stats.Refused != 1 || stats.Open != 1 {
		t.Errorf("%+v", stats)
	}
}

// One remote address cannot use up the connections; loopback may.
func TestServerCountsConnectionsByAddress(t *testing.T) {
	for address, want := range map[string]bool{"127.0.0.1:1": false, "[::1]:1": false, "10.0.0.1:1": true, "[::ffff:10.0.0.1]:1": true, "[2001:db8::1]:1": true} {
		tcp, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := countedAddr(tcp); got.IsValid() != want {
			t.Errorf("%s is counted as %v", address, got)
		}
	}
	server := New(Config{Handler: &demo{}, Logger: quiet(), MaxConnsPerAddr: 2})
	listener := newPipeListener(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	var conns []net.Conn
	for range 3 {
		conns = append(conns, listener.dial())
	}
	expectEnd(t, conns[2])
	send(t, conns[1], "PING\r\n")
	expect(t, conns[1], "+PONG\r\n")
	conns[0].Close()
	until(t, server, func(s Stats) bool { return s.Open == 1 })
	again := listener.dial()
	send(t, again, "PING\r\n")
	expect(t, again, "+PONG\r\n")
	if err := errors.Join(server.Close(), <-served); err != nil {
		t.Error(err)
	}
}

// Drain answers the command in hand, closes, and lets no one else in.
func TestServerDrains(t *testing.T) {
	handler := &demo{block: make(chan struct{})}
	server, address := start(t, Config{Handler: handler})
	idle, busy := dial(t, address), dial(t, address)
	send(t, idle, "PING\r\n")
	expect(t, idle, "+PONG\r\n")
	send(t, busy, "BLOCK\r\nPING\r\n")
	until(t, server, func(s Stats) bool { return s.BytesIn == int64(len("PING\r\nBLOCK\r\nPING\r\n")) })
	drained := make(chan error, 1)
	go func() { drained <- server.Drain(context.Background()) }()
	expectEnd(t, idle)
	close(handler.block)
	expect(t, busy, "+OK\r\n+PONG\r\n")
	expectEnd(t, busy)
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("a drained server accepts")
	}
	handler.mu.Lock()
	defer handler.mu.Unlock()
	if len(handler.closed) != 2 {
		t.Errorf("Closed was called for %v", handler.closed)
	}
}

// Drain waits no longer than it is told to; handlers learn of it by their context.
func TestServerDrainsInTime(t *testing.T) {
	server, address := start(t, Config{})
	c := dial(t, address)
	send(t, c, "BLOCK\r\n")
	until(t, server, func(s Stats) bool { return s.BytesIn > 0 })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := server.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if open := server.Stats().Open; open != 0 {
		t.Errorf("%d connections are open", open)
	}
}

// A connection can be listed and cut from elsewhere, also while it waits.
func TestServerKillsConnections(t *testing.T) {
	server, address := start(t, Config{})
	c := dial(t, address)
	send(t, c, "NAME worker\r\nSELECT 3\r\nHELLO 3\r\nBLOCK\r\n")
	until(t, server, func(s Stats) bool { return s.BytesIn > 0 })
	var client Client
	for client.Proto != 3 { // the commands are under way
		clients := server.Clients()
		if len(clients) != 1 {
			t.Fatalf("clients: %+v", clients)
		}
		client = clients[0]
	}
	if client.Name != "worker" || client.DB != 3 || client.Remote.String() != c.LocalAddr().String() || client.Since.IsZero() {
		t.Errorf("%+v", client)
	}
	if !server.Kill(client.ID) || server.Kill(client.ID+1) {
		t.Error("Kill does not know its connections")
	}
	if _, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("got %v", err)
	}
}

// A bug met by one connection ends that one only.
func TestServerSurvivesHandlers(t *testing.T) {
	server, address := start(t, Config{})
	for _, in := range []string{"PANIC\r\n", "MUTE\r\n", "HALF\r\n"} {
		c := dial(t, address)
		send(t, c, in)
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("%q: %v", in, err)
		}
	}
	c := dial(t, address)
	send(t, c, "PING\r\n")
	expect(t, c, "+PONG\r\n")
	until(t, server, func(s Stats) bool { return s.Panics == 1 })
}

// Close may come at any time and more than once; afterwards nothing is served.
func TestServerCloses(t *testing.T) {
	server, address := start(t, Config{})
	c := dial(t, address)
	send(t, c, "BLOCK\r\n")
	var closing sync.WaitGroup
	for range 3 {
		closing.Go(func() { _ = server.Close() })
	}
	closing.Wait()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(listener); err != nil {
		t.Error(err)
	}
	if _, err := listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
}

// selfSigned returns a certificate for the length of a test.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A listener may speak TLS; who does not complete the handshake is cut, though
// no authentication is asked for.
func TestServerOverTLS(t *testing.T) {
	certificate := selfSigned(t)
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := New(Config{Handler: &demo{}, Logger: quiet(), AuthTimeout: 500 * time.Millisecond})
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(tls.NewListener(plain, &tls.Config{Certificates: []tls.Certificate{certificate}}))
	}()
	silent := dial(t, plain.Addr().String())

	roots := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(leaf)
	c := tls.Client(dial(t, plain.Addr().String()), &tls.Config{RootCAs: roots, ServerName: "localhost"})
	send(t, c, "PING\r\n*1\r\n:1\r\n")
	expect(t, c, "+PONG\r\n-ERR Protocol error: expected '$', got ':'\r\n")
	expectEnd(t, c)
	expectEnd(t, silent)
	if err := errors.Join(server.Close(), <-served); err != nil {
		t.Error(err)
	}
}
