package resp

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid"
)

// openGrid returns a grid of one member in memory, until the end of the test.
func openGrid(t testing.TB) *grid.Grid {
	t.Helper()
	g, err := grid.Open(t.Context(), grid.Config{Name: "m1", Partitions: 16, RESP: "127.0.0.1:7379"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// startCommands runs a door to a new grid and returns its address.
func startCommands(t testing.TB, config CommandsConfig) (*Commands, string) {
	t.Helper()
	if config.Grid == nil {
		config.Grid = openGrid(t)
	}
	config.Logger = quiet()
	config.Self = "m1"
	h := NewCommands(config)
	_, address := start(t, Config{Handler: h, RequireAuth: config.Authenticate != nil})
	return h, address
}

// peer is a client that shows replies as text.
type peer struct {
	net.Conn
	r *bufio.Reader
}

func dialPeer(t testing.TB, address string) *peer {
	c := dial(t, address)
	return &peer{Conn: c, r: bufio.NewReader(c)}
}

// call sends a command and returns its reply.
func (p *peer) call(args ...string) (string, error) {
	if err := p.send(args...); err != nil {
		return "", err
	}
	return showReply(p.r)
}

func (p *peer) send(args ...string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	_, err := io.WriteString(p, b.String())
	return err
}

// showReply reads a reply and returns it as text: +status, -error, integers and
// doubles as they are, "strings" quoted, nil, [arrays], {maps} and ~[sets], which
// are sorted.
func showReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	kind, rest := line[0], line[1:]
	n, _ := strconv.Atoi(rest)
	switch kind {
	case '+', '-':
		return line, nil
	case ':', ',':
		return rest, nil
	case '_':
		return "nil", nil
	case '#':
		return rest, nil
	case '$', '=':
		if n < 0 {
			return "nil", nil
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return "", err
		}
		text := string(b[:n])
		if kind == '=' {
			text = text[len("txt:"):]
		}
		return strconv.Quote(text), nil
	case '*', '~', '%', '>':
		if n < 0 {
			return "nil", nil
		}
		if kind == '%' {
			n *= 2
		}
		items := make([]string, n)
		for i := range items {
			if items[i], err = showReply(r); err != nil {
				return "", err
			}
		}
		switch kind {
		case '~':
			slices.Sort(items)
			return "~[" + strings.Join(items, " ") + "]", nil
		case '%':
			pairs := make([]string, n/2)
			for i := range pairs {
				pairs[i] = items[2*i] + ": " + items[2*i+1]
			}
			return "{" + strings.Join(pairs, ", ") + "}", nil
		}
		return "[" + strings.Join(items, " ") + "]", nil
	}
	return "", fmt.Errorf("reply of kind %q", kind)
}

// Every command answers exactly what the scripts say. A script is lines of a
// command, as one would type it, and the reply behind it.
func TestCommandScripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/commands/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			script, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, address := startCommands(t, CommandsConfig{Version: "1.2.3"})
			p := dialPeer(t, address)
			for i, text := range strings.Split(string(script), "\n") {
				command, ok := strings.CutPrefix(text, "> ")
				switch {
				case ok:
					send(t, p, command+"\r\n")
				case text == "" || strings.HasPrefix(text, "#"):
				default:
					reply, err := showReply(p.r)
					if err != nil {
						t.Fatalf("line %d: %v", i+1, err)
					}
					// <n> stands for any number, <any> for any text.
					want := strings.ReplaceAll(regexp.QuoteMeta(text), "<n>", "[0-9]+")
					want = strings.ReplaceAll(want, "<any>", ".*")
					if ok, err := regexp.MatchString("^"+want+"$", reply); !ok || err != nil {
						t.Errorf("line %d: got %s, want %s", i+1, reply, text)
					}
				}
			}
			if reply, err := p.call("ECHO", "the end"); err != nil || reply != `"the end"` {
				t.Errorf("after the script: %s, %v", reply, err)
			}
		})
	}
}

// A pipeline is answered in its order, whatever its commands need, and a command
// sees what those before it on the same key have done.
func TestPipelineOrder(t *testing.T) {
	_, address := startCommands(t, CommandsConfig{})
	p := dialPeer(t, address)
	var want []string
	ask := func(reply string, args ...string) {
		if err := p.send(args...); err != nil {
			t.Fatal(err)
		}
		want = append(want, reply)
	}
	for i := range 50 {
		key := fmt.Sprint("k", i%7)
		old := "nil"
		if i >= 7 {
			old = strconv.Quote(fmt.Sprint("v", i-7))
		}
		ask(old, "GET", key)
		ask("+OK", "SET", key, fmt.Sprint("v", i))
		ask("+PONG", "PING")
		ask(strconv.Quote(fmt.Sprint("v", i)), "GET", key)
		ask("-ERR unknown command 'NOPE', with args beginning with: ", "NOPE")
		ask(strconv.Quote(fmt.Sprint("v", i)), "GETSET", key, fmt.Sprint("v", i))
		ask("2", "EXISTS", key, key)
	}
	for i, reply := range want {
		got, err := showReply(p.r)
		if err != nil || got != reply {
			t.Fatalf("reply %d: got %s, %v, want %s", i, got, err, reply)
		}
	}
}

// An entry is gone when its lease has ended, and not before.
func TestExpiry(t *testing.T) {
	_, address := startCommands(t, CommandsConfig{})
	p := dialPeer(t, address)
	must := func(want string, args ...string) {
		t.Helper()
		if got, err := p.call(args...); err != nil || got != want {
			t.Fatalf("%v: got %s, %v, want %s", args, got, err, want)
		}
	}
	must("+OK", "SET", "k", "v", "PX", "150")
	begun := time.Now()
	for {
		got, err := p.call("GET", "k")
		if err != nil {
			t.Fatal(err)
		}
		if got == "nil" {
			break
		}
		if time.Since(begun) > 5*time.Second {
			t.Fatal("the key does not expire")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if took := time.Since(begun); took < 140*time.Millisecond {
		t.Errorf("expired after %v", took)
	}
	must("-2", "TTL", "k")
	at := time.Now().Add(time.Hour).Unix()
	must("+OK", "SET", "k", "v", "EXAT", fmt.Sprint(at))
	must(fmt.Sprint(at), "EXPIRETIME", "k")
	must("1", "PERSIST", "k")
	must("-1", "TTL", "k")
}

// A door with users lets nobody do anything before they have shown who they are.
func TestAuthentication(t *testing.T) {
	_, address := startCommands(t, CommandsConfig{
		Authenticate: func(user, password string) bool { return user == "ada" && password == "x" || password == "y" },
	})
	p := dialPeer(t, address)
	for _, step := range [][]string{
		{"-NOAUTH Authentication required.", "PING"},
		{"-NOAUTH Authentication required.", "GET", "k"},
		{"-NOAUTH Authentication required.", "MULTI"},
		{"-WRONGPASS invalid username-password pair or user is disabled.", "AUTH", "ada", "z"},
		{"-WRONGPASS invalid username-password pair or user is disabled.", "HELLO", "3", "AUTH", "ada", "z"},
		{"+OK", "AUTH", "ada", "x"},
		{`"ada"`, "ACL", "WHOAMI"},
		{"+OK", "SET", "k", "v"},
		{"+RESET", "RESET"},
		{"-NOAUTH Authentication required.", "GET", "k"},
		{"+OK", "AUTH", "y"},
		{`"default"`, "ACL", "WHOAMI"},
	} {
		got, err := p.call(step[1:]...)
		if err != nil || got != step[0] {
			t.Fatalf("%v: got %s, %v, want %s", step[1:], got, err, step[0])
		}
	}
}
