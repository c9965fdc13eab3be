package workload

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxReply bounds what a door may answer with: values here are short texts.
const maxReply = 1 << 20

// doorConn is a connection to a member's RESP or HTTP door, used for one request
// after the other.
type doorConn struct {
	conn net.Conn
	in   *bufio.Reader
	host string
}

func (d *doorConn) close() { _ = d.conn.Close() } // it may be broken: that is what is tried

// door carries out an operation through another door than the Go client's, and
// records it. f returns an error of sent for a connection that cannot be used
// again. It returns nil if the member has no such door or cannot be reached.
func (c *client) door(ctx context.Context, kind string, op Op, f func(context.Context, *doorConn, *Op) error) *Op {
	c.mayMove()
	d := c.doors[kind]
	if d == nil {
		addr := c.place.Door(kind, c.member)
		if addr == "" {
			return nil
		}
		dial, cancel := context.WithTimeout(ctx, opTime)
		defer cancel()
		conn, err := c.place.Conn(dial, c.id, addr)
		if err != nil {
			pause(ctx, redialPause)
			if c.home < 0 {
				c.move()
			}
			return nil
		}
		d = &doorConn{conn: conn, in: bufio.NewReader(conn), host: addr}
		c.doors[kind] = d
	}
	op.Door = kind
	done := c.carryOut(ctx, op, func(ctx context.Context, op *Op) error {
		if deadline, ok := ctx.Deadline(); ok {
			if err := d.conn.SetDeadline(deadline); err != nil {
				return err
			}
		}
		return f(ctx, d, op)
	})
	if done.Error != "" || done.Hung {
		d.close()
		delete(c.doors, kind)
	}
	return done
}

// reply is an answer in the protocol of Redis: a text, or nothing, or many.
type reply struct {
	text  string
	null  bool
	items []reply
}

// command sends one command and returns the answer. Errors are those of outcomeOf.
func (d *doorConn) command(ctx context.Context, args ...string) (reply, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := d.conn.Write(b.Bytes()); err != nil {
		return reply{}, sent(ctx, err)
	}
	r, err := d.reply(0)
	var known *knownError
	if err != nil && !errors.As(err, &known) {
		err = sent(ctx, err)
	}
	return r, err
}

// maxReplyDepth and maxReplyItems bound answers: those of a transaction have one
// list of a few.
const (
	maxReplyDepth = 3
	maxReplyItems = 64
)

func (d *doorConn) reply(depth int) (reply, error) {
	line, err := d.in.ReadString('\n')
	if err != nil {
		return reply{}, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return reply{}, errors.New("an empty line")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+', ':':
		return reply{text: rest}, nil
	case '-':
		return reply{}, refusalOf(rest)
	case '_':
		return reply{null: true}, nil
	}
	n, err := strconv.Atoi(rest)
	switch {
	case err != nil:
		return reply{}, fmt.Errorf("an answer that begins with %.20q", line)
	case n < 0:
		return reply{null: true}, nil
	case kind == '$' && n <= maxReply:
		b, err := readBytes(d.in, n+2)
		if err != nil {
			return reply{}, err
		}
		return reply{text: string(b[:n])}, nil
	case kind == '*' && n <= maxReplyItems && depth < maxReplyDepth:
		var r reply
		for range n {
			item, err := d.reply(depth + 1)
			if err != nil {
				return reply{}, err
			}
			r.items = append(r.items, item)
		}
		return r, nil
	}
	return reply{}, fmt.Errorf("an answer that begins with %.20q", line)
}

// readBytes reads so many bytes. It holds no more than have arrived.
func readBytes(in io.Reader, n int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(in, int64(n)))
	if err == nil && len(b) < n {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

// harmless are the first words of errors that say that nothing was changed.
var harmless = []string{"CLUSTERDOWN", "TRYAGAIN", "CONFLICT", "WRONGTYPE", "NOSPACE", "CLAIMED", "UNMET", "LOADING"}

func refusalOf(text string) error {
	word, _, _ := strings.Cut(text, " ")
	if slices.Contains(harmless, word) {
		return refusedf("%s", text)
	}
	return unknownf("%s", text)
}

// webAnswer is an HTTP answer.
type webAnswer struct {
	status  int
	version uint64
	body    string
}

// web sends a request about an entry of bytes and returns the answer. What the
// door said had no effect is an error of refusedf, but for what is not found and
// a failed condition, which are answers.
func (d *doorConn) web(ctx context.Context, method, space, key, body string, headers ...string) (webAnswer, error) {
	path := "http://" + d.host + "/v1/spaces/" + url.PathEscape(space) + "/entries/" + url.PathEscape(key)
	r, err := http.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	if err != nil {
		return webAnswer{}, refusedf("%w", err)
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if err := r.Write(d.conn); err != nil {
		return webAnswer{}, sent(ctx, err)
	}
	response, err := http.ReadResponse(d.in, r)
	if err != nil {
		return webAnswer{}, sent(ctx, err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(io.LimitReader(response.Body, maxReply))
	if err != nil {
		return webAnswer{}, sent(ctx, err)
	}
	a := webAnswer{status: response.StatusCode, body: string(b)}
	// Without a version there is none: what needs it finds 0.
	a.version, _ = strconv.ParseUint(strings.Trim(response.Header.Get("ETag"), `"`), 10, 64)
	switch {
	case a.status < 300, a.status == http.StatusNotFound, a.status == http.StatusPreconditionFailed:
		return a, nil
	case strings.Contains(a.body, `"indeterminate":true`), a.status == http.StatusInternalServerError, a.status == http.StatusGatewayTimeout:
		return a, unknownf("status %d: %.200s", a.status, b)
	}
	return a, refusedf("status %d: %.200s", a.status, b)
}
