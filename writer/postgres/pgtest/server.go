package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	startLimit = 30 * time.Second // for a server to accept connections, recovery included
	stopLimit  = 20 * time.Second // for a server to end after it was told to
	probePause = 10 * time.Millisecond
	logTail    = 4096 // bytes of the server's log in an error
)

// Server is a running PostgreSQL. Its methods may be called concurrently, those
// that stop and start it from one goroutine at a time.
type Server struct {
	dir   string // holds data/, the socket and log
	bin   string
	owner *owner
	port  int
	next  atomic.Int64 // number of the next database

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// Start runs a new server and fails if it does not accept connections soon. The
// caller closes it. Settings are lines of postgresql.conf, such as
// "max_connections = 10", that come after those of this package.
func Start(settings ...string) (*Server, error) {
	ctx := context.Background() // go test ends the process when it has had its time
	bin, err := programs(ctx)
	if err != nil {
		return nil, err
	}
	as, err := unprivileged()
	if err != nil {
		return nil, err
	}
	// Not below a test's own folder, which only the test's user may enter; and
	// short, because a socket's path is limited to about a hundred bytes.
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin, owner: as}
	if err := s.create(ctx, settings); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.Restart(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }
func (s *Server) log() string  { return filepath.Join(s.dir, "log") }

// create makes the server's folder and its configuration.
func (s *Server) create(ctx context.Context, settings []string) error {
	if s.owner != nil {
		if err := os.Chown(s.dir, int(s.owner.uid), int(s.owner.gid)); err != nil {
			return err
		}
	}
	//nolint:gosec // a program of PostgreSQL, and arguments of our own
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "initdb"), "--pgdata", s.data(), "--username", "postgres",
		"--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync")
	s.prepare(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pgtest: initdb: %w\n%s", err, out)
	}
	var err error
	if s.port, err = freePort(ctx); err != nil {
		return err
	}
	var conf bytes.Buffer
	for _, line := range append([]string{
		"listen_addresses = '127.0.0.1'",
		"port = " + strconv.Itoa(s.port),
		"unix_socket_directories = '" + s.dir + "'",
		"shared_buffers = 64MB",
		"max_connections = 50",
		"autovacuum_naptime = 5s",
	}, settings...) {
		fmt.Fprintln(&conf, line)
	}
	f, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(conf.Bytes())
	return errors.Join(err, f.Close())
}

// freePort returns a port of the loopback address that nobody uses now.
func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// prepare makes cmd run as the server's user and end with the test's process.
func (s *Server) prepare(cmd *exec.Cmd) {
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	endWithParent(cmd.SysProcAttr)
	if s.owner != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: s.owner.uid, Gid: s.owner.gid}
	}
}

// Restart starts a server that was stopped and waits until it accepts
// connections; what it finds after a crash it recovers first.
func (s *Server) Restart() error {
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	// It is ended by Kill, Stop or Close.
	cmd := exec.CommandContext(context.Background(), filepath.Join(s.bin, "postgres"), "-D", s.data()) //nolint:gosec // as in create
	s.prepare(cmd)
	cmd.Stdout, cmd.Stderr = log, log
	started, done := make(chan error), make(chan struct{})
	go func() {
		// A child that is to end with its parent ends with the thread that
		// started it: the thread has to stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	s.cmd, s.done = cmd, done
	return s.ready()
}

// ready waits until the server accepts connections.
func (s *Server) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.DSN("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.done:
			return fmt.Errorf("pgtest: the server ended at once:\n%s", s.logEnd())
		case <-ctx.Done():
			return fmt.Errorf("pgtest: the server does not answer: %w\n%s", err, s.logEnd())
		case <-time.After(probePause):
		}
	}
}

func (s *Server) logEnd() []byte {
	b, err := os.ReadFile(s.log())
	if err != nil {
		return []byte(err.Error())
	}
	return b[max(0, len(b)-logTail):]
}

// DSN returns the connection string of a database of the server, through its
// socket.
func (s *Server) DSN(database string) string {
	return fmt.Sprintf("host=%s port=%d user=postgres dbname=%s sslmode=disable", s.dir, s.port, database)
}

// Address returns where the server listens on the loopback address.
func (s *Server) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Connect opens a connection to a database of the server: "postgres" is always
// there. The caller closes it.
func (s *Server) Connect(ctx context.Context, database string) (*pgx.Conn, error) {
	return pgx.Connect(ctx, s.DSN(database))
}

// NewDatabase creates an empty database for a test and returns its connection
// string. It stays until the server is closed.
func (s *Server) NewDatabase(tb testing.TB) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	name := fmt.Sprintf("test%d", s.next.Add(1))
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		tb.Fatal(err)
	}
	return s.DSN(name)
}

// Running reports whether the server has not ended.
func (s *Server) Running() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// Kill ends the server as a crash does: every connection is cut, transactions
// under way are lost, nothing is written that has not been written. Restart
// recovers.
func (s *Server) Kill() error { return s.stop(syscall.SIGQUIT) }

// Stop ends the server in good order: transactions under way are rolled back,
// connections closed.
func (s *Server) Stop() error { return s.stop(syscall.SIGINT) }

func (s *Server) stop(how syscall.Signal) error {
	if s.cmd == nil {
		return nil
	}
	select {
	case <-s.done:
		return nil
	default:
	}
	if err := s.cmd.Process.Signal(how); err != nil {
		return err
	}
	select {
	case <-s.done:
		return nil
	case <-time.After(stopLimit):
		return fmt.Errorf("pgtest: the server does not end:\n%s", s.logEnd())
	}
}

// Close ends the server and removes its folder. It is safe to call twice.
func (s *Server) Close() error {
	err := s.stop(syscall.SIGQUIT)
	return errors.Join(err, os.RemoveAll(s.dir))
}

// Shared starts one server for all tests of a package, with the first test that
// asks for it. A package keeps one in a variable and closes it in TestMain.
type Shared struct {
	Settings []string // as Start has them
	once     sync.Once
	server   *Server
	err      error
}

// Server returns the server, or fails the test if it cannot be started.
func (s *Shared) Server(tb testing.TB) *Server {
	tb.Helper()
	if s.once.Do(func() { s.server, s.err = Start(s.Settings...) }); s.err != nil {
		tb.Fatal(s.err)
	}
	return s.server
}

// Close ends the server if one was started.
func (s *Shared) Close() error {
	if s.server == nil {
		return nil
	}
	return s.server.Close()
}
