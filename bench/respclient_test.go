package bench

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// scripted serves one connection: it reads exactly the bytes expected and then
// answers with the bytes given, cut into pieces. What went wrong on its side is
// sent to the channel that it returns.
func scripted(t *testing.T, expect, answer string) (addr string, finished <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			conn, err := l.Accept()
			if err != nil {
				return err
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			got := make([]byte, len(expect))
			if _, err := io.ReadFull(conn, got); err != nil {
				return err
			}
			if string(got) != expect {
				return errors.New("got " + string(got))
			}
			for len(answer) > 0 {
				n := min(len(answer), 7)
				if _, err := io.WriteString(conn, answer[:n]); err != nil {
					return err
				}
				answer = answer[n:]
			}
			return nil
		}()
	}()
	return l.Addr().String(), done
}

// A pipeline is sent as one request, and each reply is judged: found, absent,
// refused, and of another length than was written.
func TestClientJudgesReplies(t *testing.T) {
	addr, done := scripted(t,
		"*3\r\n$3\r\nSET\r\n$2\r\nka\r\n$3\r\nxyz\r\n"+"*2\r\n$3\r\nGET\r\n$2\r\nka\r\n"+"*2\r\n$3\r\nGET\r\n$2\r\nkb\r\n"+
			"*3\r\n$3\r\nSET\r\n$2\r\nkc\r\n$3\r\nxyz\r\n"+"*2\r\n$3\r\nGET\r\n$2\r\nkd\r\n",
		"+OK\r\n"+"$3\r\nxyz\r\n"+"$-1\r\n"+"-OOM no room\r\n"+"$4\r\nlong\r\n")
	c, err := DialRESP(addr)(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	value := []byte("xyz")
	out, err := c.Do(t.Context(), []Op{
		{Key: []byte("ka"), Value: value}, {Read: true, Key: []byte("ka"), Value: value}, {Read: true, Key: []byte("kb"), Value: value},
		{Key: []byte("kc"), Value: value}, {Read: true, Key: []byte("kd"), Value: value},
	})
	if err != nil {
		t.Fatal(err)
	}
	if out.Failed != 2 || out.Missed != 1 || !strings.Contains(out.Err.Error(), "4 bytes") {
		t.Errorf("%+v", out)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What no Redis server answers ends the client, with an error that says so.
func TestClientRefusesNonsense(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 400 Bad Request\r\n", ":1\r\n", "$3\r\nxyz\r\n", "*1\r\n+OK\r\n", "+OK\n\n\n", "\r\n",
		"+" + strings.Repeat("x", 2*replyLineMax) + "\r\n",
	} {
		addr, _ := scripted(t, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n", answer)
		c, err := DialRESP(addr)(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Do(t.Context(), []Op{{Key: []byte("k"), Value: []byte("v")}}); !errors.Is(err, ErrReply) {
			t.Errorf("answer %.20q: %v", answer, err)
		}
		c.Close()
	}
}

// A context that has ended does not reach into the next one: what is read
// beforehand has its own.
func TestClientOutlivesContext(t *testing.T) {
	request := "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
	addr, _ := scripted(t, request+request, "$-1\r\n$-1\r\n")
	c, err := DialRESP(addr)(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	get := []Op{{Read: true, Key: []byte("k")}}
	if _, err := c.Do(ctx, append(get, get...)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := c.Do(t.Context(), get); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("behind an ended context: %v, want the end of the connection", err)
	}
}

// A reply that stops half way is an error, and the end of the context ends the
// wait for one that never comes.
func TestClientDoesNotWaitForEver(t *testing.T) {
	addr, _ := scripted(t, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "$10\r\nabc")
	c, err := DialRESP(addr)(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Do(t.Context(), []Op{{Read: true, Key: []byte("k")}}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}

	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	silent, err := DialRESP(l.Addr().String())(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := silent.Do(ctx, []Op{{Read: true, Key: []byte("k")}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// Whatever a server sends, reading a reply ends, takes no more than was sent, and
// keeps nothing of a string.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{"+OK\r\n", "-ERR x\r\n", ":12\r\n", "$3\r\nabc\r\n", "$-1\r\n", "$0\r\n\r\n", "$999999999999999999999\r\n", "$536870912\r\nx", "*2\r\n", "\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(strings.NewReader(string(b)))
		for range 1000 {
			reply, err := readReply(r)
			if err != nil {
				return
			}
			if len(reply.text) > replyLineMax || reply.size > len(b) || reply.size < -1 {
				t.Fatalf("%+v from %d bytes", reply, len(b))
			}
		}
	})
}
