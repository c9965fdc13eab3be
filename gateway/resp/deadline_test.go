package resp

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipeListener is a listener in memory, for tests whose time is simulated.
type pipeListener struct {
	remote   net.Addr
	accepted chan net.Conn
	failures chan error
	closed   chan struct{}
	once     sync.Once
}

func newPipeListener(remote net.Addr) *pipeListener {
	return &pipeListener{remote: remote, accepted: make(chan net.Conn), failures: make(chan error, 8), closed: make(chan struct{})}
}

// pipeConn is one end of a pipe that tells where it claims to come from.
type pipeConn struct {
	net.Conn
	remote net.Addr
}

func (c pipeConn) RemoteAddr() net.Addr { return c.remote }

func (l *pipeListener) dial() net.Conn {
	client, server := net.Pipe()
	l.accepted <- pipeConn{server, l.remote}
	return client
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case err := <-l.failures:
		return nil, err
	default:
	}
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return l.remote }

// simulate runs f against a server whose time is simulated.
func simulate(t *testing.T, config Config, f func(t *testing.T, server *Server, listener *pipeListener)) {
	synctest.Test(t, func(t *testing.T) {
		config.Handler, config.Logger = &demo{}, quiet()
		server := New(config)
		listener := newPipeListener(&net.UnixAddr{Name: "test", Net: "unix"})
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		f(t, server, listener)
		if err := errors.Join(server.Close(), <-served); err != nil {
			t.Error(err)
		}
	})
}

// endsAfter reads to the end of the stream and checks when it came.
func endsAfter(t *testing.T, c net.Conn, want time.Duration) {
	t.Helper()
	start := time.Now()
	_, _ = io.Copy(io.Discard, c)
	if took := time.Since(start); took != want {
		t.Errorf("cut after %v, want %v", took, want)
	}
}

// Who does not authenticate in time is cut, however busy; who does is not.
func TestAuthDeadline(t *testing.T) {
	simulate(t, Config{RequireAuth: true}, func(t *testing.T, server *Server, listener *pipeListener) {
		silent := listener.dial()
		endsAfter(t, silent, 2*time.Second)

		busy := listener.dial()
		for range 19 {
			time.Sleep(100 * time.Millisecond)
			send(t, busy, "PING\r\n")
			expect(t, busy, "-NOAUTH Authentication required.\r\n")
		}
		endsAfter(t, busy, 100*time.Millisecond)

		honest := listener.dial()
		send(t, honest, "AUTH me\r\n")
		expect(t, honest, "+OK\r\n")
		time.Sleep(time.Hour)
		send(t, honest, "PING\r\n")
		expect(t, honest, "+PONG\r\n")
		send(t, honest, "RESET\r\n")
		expect(t, honest, "+RESET\r\n")
		endsAfter(t, honest, 2*time.Second)
		if stats := server.Stats(); stats.AuthTimeouts != 3 {
			t.Errorf("%+v", stats)
		}
	})
}

// A command that has begun must go on; a client between commands may take its time.
func TestStallDeadline(t *testing.T) {
	simulate(t, Config{}, func(t *testing.T, server *Server, listener *pipeListener) {
		c := listener.dial()
		send(t, c, "PING\r\n")
		expect(t, c, "+PONG\r\n")
		time.Sleep(time.Hour)
		send(t, c, "*1\r\n$4\r\nPI")
		time.Sleep(29 * time.Second)
		send(t, c, "N")
		time.Sleep(29 * time.Second)
		send(t, c, "G\r\n")
		expect(t, c, "+PONG\r\n")
		send(t, c, "*1\r\n")
		endsAfter(t, c, 30*time.Second)
		if stats := server.Stats(); stats.StallTimeouts != 1 {
			t.Errorf("%+v", stats)
		}
	})
}

// Idle connections are cut only if that is asked for.
func TestIdleDeadline(t *testing.T) {
	simulate(t, Config{IdleTimeout: time.Minute}, func(t *testing.T, _ *Server, listener *pipeListener) {
		endsAfter(t, listener.dial(), time.Minute)
	})
}

// A client that does not read its replies is cut, and holds little until then.
func TestSlowReaderIsCut(t *testing.T) {
	simulate(t, Config{}, func(t *testing.T, server *Server, listener *pipeListener) {
		c := listener.dial()
		start := time.Now()
		// The second half cannot be sent: the server waits for the client and
		// reads no more.
		_, err := io.WriteString(c, strings.Repeat("BIG 1000000\r\n", 100)+strings.Repeat(" ", 1<<20))
		if err == nil {
			t.Error("the server went on reading")
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("cut after %v", took)
		}
		synctest.Wait()
		if stats := server.Stats(); stats.SlowReaders != 1 || stats.Open != 0 || stats.BytesIn > readerMaxBuffer {
			t.Errorf("%+v", stats)
		}
	})
}

// A client that reads slowly but steadily gets all of a large reply.
func TestSteadyReaderIsServed(t *testing.T) {
	simulate(t, Config{}, func(t *testing.T, server *Server, listener *pipeListener) {
		c := listener.dial()
		send(t, c, "BIG 1000000\r\n")
		expect(t, c, "$1000000\r\n")
		piece := make([]byte, 10_000)
		for range 100 {
			time.Sleep(time.Second)
			if _, err := io.ReadFull(c, piece); err != nil {
				t.Fatal(err)
			}
		}
		expect(t, c, "\r\n")
	})
}

// An idle connection gives its large buffers back and goes on afterwards.
func TestIdleConnectionGivesBuffersBack(t *testing.T) {
	simulate(t, Config{}, func(t *testing.T, server *Server, listener *pipeListener) {
		c := listener.dial()
		value := strings.Repeat("v", 100_000)
		go func() { _, _ = io.WriteString(c, "*1\r\n$100000\r\n"+value+"\r\n") }()
		expect(t, c, "*1\r\n$100000\r\n"+value+"\r\n")
		synctest.Wait()
		if held := server.Stats().BufferBytes; held < int64(len(value)) {
			t.Fatalf("%d bytes held", held)
		}
		time.Sleep(connTrimAfter)
		synctest.Wait()
		if held := server.Stats().BufferBytes; held > readerMinBuffer+writerKeep {
			t.Errorf("%d bytes held while idle", held)
		}
		send(t, c, "PING\r\n")
		expect(t, c, "+PONG\r\n")
		c.Close()
		synctest.Wait()
		if held := server.Stats().BufferBytes; held != 0 {
			t.Errorf("%d bytes held for no connection", held)
		}
	})
}

// Failed accepts are tried again after a growing pause.
func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := New(Config{Handler: &demo{}, Logger: quiet()})
		listener := newPipeListener(&net.UnixAddr{Name: "test", Net: "unix"})
		for range 3 {
			listener.failures <- errors.New("too many open files")
		}
		served := make(chan error, 1)
		start := time.Now()
		go func() { served <- server.Serve(listener) }()
		c := listener.dial()
		if waited := time.Since(start); waited != 35*time.Millisecond {
			t.Errorf("three failures took %v", waited)
		}
		send(t, c, "PING\r\n")
		expect(t, c, "+PONG\r\n")
		if stats := server.Stats(); stats.AcceptErrors != 3 {
			t.Errorf("%+v", stats)
		}
		if err := errors.Join(server.Close(), <-served); err != nil {
			t.Error(err)
		}
	})
}
