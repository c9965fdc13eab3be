package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

const (
	// replyLineMax is the longest line of a reply: a status, an error text or a
	// length.
	replyLineMax = 4 << 10
	// replyBulkMax is the longest string that a reply may hold; Redis takes
	// values of up to so much.
	replyBulkMax = 512 << 20
	// replyTextMax is the longest reply whose text is kept.
	replyTextMax = 1 << 20
	// replyBuffer is the read buffer of a connection. It holds a pipeline's
	// replies of usual values, so that they cost one read.
	replyBuffer = 64 << 10
)

// ErrReply is returned when a server answers with what no Redis server would
// answer to the command.
var ErrReply = errors.New("bench: the server does not speak RESP as expected (is it the right port?)")

// respClient is one connection to a server that speaks RESP2. It sends all
// operations of a Do in one write, before it reads the first reply.
type respClient struct {
	conn net.Conn
	r    *bufio.Reader
	out  []byte

	// ctx is the context of the last Do; when it ends, reads and writes do. stop
	// undoes that; it is safe to call when ctx has ended.
	ctx  context.Context
	stop func()
}

var _ Client = (*respClient)(nil)

// DialRESP returns a Dial for the server at a TCP address, such as
// 127.0.0.1:6379: a read becomes GET, a write SET.
func DialRESP(addr string) Dial {
	return func(ctx context.Context, _ int) (Client, error) { return dialRESP(ctx, addr) }
}

func dialRESP(ctx context.Context, addr string) (*respClient, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &respClient{conn: conn, r: bufio.NewReaderSize(conn, replyBuffer)}, nil
}

// Do sends GET and SET commands in one write and reads as many replies.
func (c *respClient) Do(ctx context.Context, ops []Op) (Outcome, error) {
	c.follow(ctx)
	c.out = c.out[:0]
	for i := range ops {
		if ops[i].Read {
			c.out = appendCommand(c.out, "GET", ops[i].Key)
		} else {
			c.out = appendCommand(c.out, "SET", ops[i].Key, ops[i].Value)
		}
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return Outcome{}, c.cause(err)
	}
	var out Outcome
	for i := range ops {
		if err := c.answer(&ops[i], &out); err != nil {
			return out, c.cause(err)
		}
	}
	return out, nil
}

// Close closes the connection.
func (c *respClient) Close() error {
	c.unfollow()
	return c.conn.Close()
}

// follow ties the connection's deadlines to ctx. That is done once for a
// context and not for every Do, as many clients share one.
func (c *respClient) follow(ctx context.Context) {
	if ctx == c.ctx {
		return
	}
	c.unfollow()
	_ = c.conn.SetDeadline(time.Time{}) // fails only if the connection is closed, as does what follows
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.conn.SetDeadline(time.Unix(1, 0)) // likewise
		close(cut)
	})
	c.ctx = ctx
	c.stop = func() {
		if !stop() {
			<-cut
		}
	}
}

// unfollow returns when the last context has no more hold on the connection.
func (c *respClient) unfollow() {
	if c.stop != nil {
		c.stop()
		c.stop = nil
	}
}

// cause prefers the end of the context to the time-out that it brought about.
func (c *respClient) cause(err error) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return err
}

// answer reads the reply to one operation and judges it.
func (c *respClient) answer(op *Op, out *Outcome) error {
	reply, err := readReply(c.r)
	if err != nil {
		return err
	}
	switch {
	case reply.kind == '-':
		out.Failed++
		out.Err = fmt.Errorf("bench: the server refused: %s", reply.text)
	case op.Read && reply.kind == '$' && reply.size < 0:
		out.Missed++
	case op.Read && reply.kind == '$':
		if reply.size != len(op.Value) {
			out.Failed++
			out.Err = fmt.Errorf("bench: read %d bytes where %d were written (other data under these keys?)", reply.size, len(op.Value))
		}
	case !op.Read && reply.kind == '+':
	default:
		return fmt.Errorf("%w: a reply of type %q", ErrReply, reply.kind)
	}
	return nil
}

// call sends a command and returns the text of its reply.
func (c *respClient) call(ctx context.Context, name string, args ...string) (string, error) {
	c.follow(ctx)
	rest := make([][]byte, len(args))
	for i, a := range args {
		rest[i] = []byte(a)
	}
	c.out = appendCommand(c.out[:0], name, rest...)
	if _, err := c.conn.Write(c.out); err != nil {
		return "", c.cause(err)
	}
	line, err := readLine(c.r)
	if err != nil {
		return "", c.cause(err)
	}
	switch line[0] {
	case '-':
		return "", fmt.Errorf("bench: the server refused: %s", line[1:])
	case '+', ':':
		return string(line[1:]), nil
	case '$':
		n, err := replyLength(line[1:])
		if err == nil && n > replyTextMax {
			err = fmt.Errorf("%w: a text of %d bytes", ErrReply, n)
		}
		if err != nil || n < 0 {
			return "", err
		}
		// What is kept follows what arrives, not what was announced.
		text, err := io.ReadAll(io.LimitReader(c.r, int64(n)))
		if err == nil && len(text) < n {
			err = io.ErrUnexpectedEOF
		}
		if err == nil {
			err = readEnd(c.r)
		}
		if err != nil {
			return "", c.cause(err)
		}
		return string(text), nil
	}
	return "", fmt.Errorf("%w: a reply of type %q", ErrReply, line[0])
}

// appendCommand appends a command as an array of strings.
func appendCommand(dst []byte, name string, args ...[]byte) []byte {
	dst = append(dst, '*')
	dst = strconv.AppendInt(dst, int64(len(args)+1), 10)
	dst = append(dst, "\r\n$"...)
	dst = strconv.AppendInt(dst, int64(len(name)), 10)
	dst = append(dst, "\r\n"...)
	dst = append(dst, name...)
	for _, a := range args {
		dst = append(dst, "\r\n$"...)
		dst = strconv.AppendInt(dst, int64(len(a)), 10)
		dst = append(dst, "\r\n"...)
		dst = append(dst, a...)
	}
	return append(dst, "\r\n"...)
}

// respReply is a reply without the bytes of a string, which are read past.
type respReply struct {
	kind byte   // '+', '-', ':' or '$'
	text string // of an error
	size int    // of a string; -1 if it is null
}

// readReply reads one reply that is not an array. Nothing is allocated for a
// string, however long it says it is.
func readReply(r *bufio.Reader) (respReply, error) {
	line, err := readLine(r)
	if err != nil {
		return respReply{}, err
	}
	reply := respReply{kind: line[0]}
	switch line[0] {
	case '+', ':':
	case '-':
		reply.text = string(line[1:])
	case '$':
		if reply.size, err = replyLength(line[1:]); err != nil || reply.size < 0 {
			return reply, err
		}
		if _, err := r.Discard(reply.size); err != nil {
			return reply, unexpected(err)
		}
		return reply, readEnd(r)
	default:
		return reply, fmt.Errorf("%w: a reply of type %q", ErrReply, line[0])
	}
	return reply, nil
}

// readLine reads a line, without its end, of at least one byte and at most
// replyLineMax. It is valid until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull) || len(line) > replyLineMax:
		return nil, fmt.Errorf("%w: a line of more than %d bytes", ErrReply, replyLineMax)
	case errors.Is(err, io.EOF) && len(line) > 0:
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	case len(line) < 3 || line[len(line)-2] != '\r':
		return nil, fmt.Errorf("%w: the line %.40q", ErrReply, line)
	}
	return line[:len(line)-2], nil
}

// replyLength parses the length of a string; -1 is null.
func replyLength(b []byte) (int, error) {
	if len(b) == 2 && b[0] == '-' && b[1] == '1' {
		return -1, nil
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' || n > replyBulkMax {
			return 0, fmt.Errorf("%w: a string of length %.20q", ErrReply, b)
		}
		n = 10*n + int(c-'0')
	}
	if len(b) == 0 || n > replyBulkMax {
		return 0, fmt.Errorf("%w: a string of length %.20q", ErrReply, b)
	}
	return n, nil
}

// readEnd reads the end of a line behind a string.
func readEnd(r *bufio.Reader) error {
	for _, want := range []byte("\r\n") {
		got, err := r.ReadByte()
		if err != nil {
			return unexpected(err)
		}
		if got != want {
			return fmt.Errorf("%w: no line end behind a string", ErrReply)
		}
	}
	return nil
}

// unexpected turns an end inside a reply into an error.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
